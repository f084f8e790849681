//! An honest log keeps its promises; every kind of dishonest one is found out, with proof.

use lienthong_proto::lienthong::audit::v1::ReceiptProof;
use proptest::prelude::*;

use super::*;
use crate::hash::leaf_hash;
use crate::note::{KeyKind, Note, SigningKey};

const ORIGIN: &str = "log.example/1";

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32]).unwrap()
}

fn witness_key() -> SigningKey {
    SigningKey::from_seed("w", KeyKind::CosignatureV1, &[2; 32]).unwrap()
}

fn policy() -> Policy {
    let text = format!("log {}\nwitness w {}\nquorum w\n", log_key().verifier(), witness_key().verifier());
    Policy::parse(text.as_bytes()).unwrap()
}

/// A log; `fork` changes every entry from some index on.
#[derive(Clone, Copy)]
struct Log {
    fork: u64,
}

const HONEST: Log = Log { fork: u64::MAX };

impl Log {
    fn leaf(self, index: u64) -> Hash {
        leaf_hash(format!("{} {index}", index >= self.fork).as_bytes())
    }

    fn leaves(self, size: u64) -> Vec<Hash> {
        (0..size).map(|index| self.leaf(index)).collect()
    }

    fn signed(self, size: u64) -> String {
        let root = merkle::root_of(&self.leaves(size));
        Checkpoint::new(ORIGIN, size, root).sign(&log_key()).unwrap().to_string()
    }

    fn cosigned(self, size: u64) -> String {
        let mut note: Note = self.signed(size).parse().unwrap();
        note.add(witness_key().cosign(note.text(), 1_800_000_000).unwrap());
        note.to_string()
    }

    fn consistency(self, old: u64, new: u64) -> Vec<Vec<u8>> {
        let Ok(path) = merkle::consistency_proof(old, new, &self.leaves(new)[..]);
        path.unwrap_or_default().iter().map(|hash| hash.0.to_vec()).collect()
    }

    fn answer(self, size: u64, asked: &ProveReceiptsRequest) -> ProveReceiptsResponse {
        let prove = |receipt: &ReceiptToProve| {
            let Ok(path) = merkle::inclusion_proof(receipt.index, size, &self.leaves(size)[..]);
            ReceiptProof {
                consistency: self.consistency(receipt.size, size),
                inclusion: path.unwrap_or_default().iter().map(|hash| hash.0.to_vec()).collect(),
            }
        };
        ProveReceiptsResponse {
            checkpoint: self.cosigned(size),
            consistency: self.consistency(asked.held_size, size),
            proofs: asked.receipts.iter().filter(|receipt| receipt.size <= size).map(prove).collect(),
        }
    }

    fn probe(self, index: u64) -> Probe {
        Probe { index, leaf: self.leaf(index) }
    }
}

const NOW: Duration = Duration::from_secs(1000);

/// A node that holds a verified checkpoint of 10 entries and receipts of 12 and 15.
fn node() -> LightWitness {
    let mut node = LightWitness::new(policy(), Some(HONEST.cosigned(10)));
    node.receive(&HONEST.signed(12), 3, Some(HONEST.probe(11)), NOW).unwrap();
    node.receive(&HONEST.signed(15), 5, Some(HONEST.probe(13)), NOW).unwrap();
    node
}

#[test]
fn an_honest_log_settles_its_promises() {
    let mut node = node();
    let asked = node.question(Duration::from_secs(1));
    assert_eq!((asked.held_size, asked.receipts.len(), asked.wait_ms), (10, 2, 1000));
    // A checkpoint between the two settles the first one.
    assert_eq!(node.answer(&asked, &HONEST.answer(14, &asked), NOW), Ok(Some(3)));
    assert_eq!((node.waiting(), node.verified_size()), (1, 14));
    let asked = node.question(Duration::ZERO);
    assert_eq!(node.answer(&asked, &HONEST.answer(15, &asked), NOW), Ok(Some(5)));
    let asked = node.question(Duration::ZERO);
    assert_eq!(node.answer(&asked, &HONEST.answer(15, &asked), NOW), Ok(None));
    assert!(node.newest_held().unwrap().contains("\n15\n"));
    assert_eq!(node.overdue(NOW * 2), None);
}

#[test]
fn every_contradiction_is_found_with_two_signed_texts() {
    let forked = |fork: u64, size: u64| {
        let mut node = node();
        let asked = node.question(Duration::ZERO);
        let found = node.answer(&asked, &Log { fork }.answer(size, &asked), NOW).unwrap_err();
        assert_eq!(node.waiting(), 2, "what is not settled stays");
        found
    };
    // Before what was verified, before the first receipt, between the two, and at the very size of one.
    for (fork, size) in [(4, 30), (4, 10), (11, 30), (14, 30), (14, 15)] {
        let Unsettled::Trouble(trouble) = forked(fork, size) else { panic!("{fork} {size}") };
        assert_eq!((trouble.kind, trouble.checkpoints.len()), (FindingKind::LogForked, 2), "{trouble:?}");
        for note in &trouble.checkpoints {
            policy().judge_signer(note).unwrap();
        }
    }
    // A receipt for an entry that is not there.
    let mut node = LightWitness::new(policy(), None);
    node.receive(&HONEST.signed(12), 3, Some(Probe { index: 11, leaf: leaf_hash(b"mine") }), NOW).unwrap();
    let asked = node.question(Duration::ZERO);
    let found = node.answer(&asked, &HONEST.answer(20, &asked), NOW).unwrap_err();
    assert!(matches!(&found, Unsettled::Trouble(t) if t.detail.contains("entry 11")), "{found:?}");
    // Two receipts that differ need no answer at all.
    let twin = Log { fork: 5 }.signed(12);
    let found = node.receive(&twin, 4, None, NOW).unwrap_err();
    assert!(
        matches!(&found, Unsettled::Trouble(t) if t.checkpoints == [HONEST.signed(12), twin]),
        "{found:?}"
    );
}

#[test]
fn what_proves_nothing_is_no_accusation() {
    let mut node = node();
    let asked = node.question(Duration::ZERO);
    let good = HONEST.answer(20, &asked);
    let unproven = |node: &mut LightWitness, answer: ProveReceiptsResponse| {
        matches!(node.answer(&asked, &answer, NOW), Err(Unsettled::Unproven(_)))
    };
    assert!(unproven(&mut node, ProveReceiptsResponse { proofs: Vec::new(), ..good.clone() }));
    assert!(unproven(&mut node, ProveReceiptsResponse { checkpoint: "hello".to_owned(), ..good.clone() }));
    assert!(unproven(&mut node, ProveReceiptsResponse { consistency: vec![vec![1]], ..good.clone() }));
    assert!(unproven(&mut node, HONEST.answer(9, &asked)));
    let stranger = SigningKey::generate(ORIGIN, KeyKind::Ed25519).unwrap();
    let forged = Checkpoint::new(ORIGIN, 20, leaf_hash(b"x")).sign(&stranger).unwrap().to_string();
    assert!(unproven(&mut node, ProveReceiptsResponse { checkpoint: forged.clone(), ..good.clone() }));
    assert!(matches!(node.receive(&forged, 9, None, NOW), Err(Unsettled::Unproven(_))));
    assert!(matches!(node.receive(&HONEST.signed(11), 9, None, NOW), Err(Unsettled::Unproven(_))));
    // The log's, but no witness's.
    let alone = ProveReceiptsResponse { checkpoint: HONEST.signed(20), ..good.clone() };
    assert!(matches!(node.answer(&asked, &alone, NOW), Err(Unsettled::NotCosigned(_))));
    assert_eq!(node.answer(&asked, &good, NOW), Ok(Some(5)));
}

#[test]
fn an_outage_is_told_once_however_many_wait() {
    let mut node = node();
    assert_eq!(node.overdue(NOW + PROMISE_KEPT_WITHIN), None);
    let late = NOW + PROMISE_KEPT_WITHIN + Duration::from_secs(1);
    let told = node.overdue(late).unwrap();
    assert_eq!((told.kind, &told.checkpoints[0]), (FindingKind::LogUnwitnessed, &HONEST.signed(12)));
    assert!(told.detail.contains("2 receipts wait"), "{}", told.detail);
    for seq in 6..100 {
        node.receive(&HONEST.signed(15), seq, None, late).unwrap();
        assert_eq!(node.overdue(late * 2), None);
    }
    // They may still be kept. After that, the next outage is another one.
    let asked = node.question(Duration::ZERO);
    node.answer(&asked, &HONEST.answer(20, &asked), late).unwrap();
    node.receive(&HONEST.signed(21), 101, None, late).unwrap();
    let asked = node.question(Duration::ZERO);
    node.answer(&asked, &HONEST.answer(30, &asked), late).unwrap();
    node.receive(&HONEST.signed(31), 102, None, late).unwrap();
    assert!(node.overdue(late * 3).unwrap().detail.contains("receipt of 31 entries"));
}

type Answer<'a> = &'a dyn Fn(&ProveReceiptsRequest) -> ProveReceiptsResponse;

#[test]
fn a_log_that_is_rolled_back_or_gives_no_proof_is_told_once_it_goes_on_so() {
    let asked_of = |node: &LightWitness| node.question(Duration::ZERO);
    let silent = |asked: &ProveReceiptsRequest| ProveReceiptsResponse {
        consistency: Vec::new(),
        ..HONEST.answer(20, asked)
    };
    let unproving = |asked: &ProveReceiptsRequest| {
        let mut answer = HONEST.answer(20, asked);
        answer.proofs[1].inclusion.clear();
        answer
    };
    let older = |asked: &ProveReceiptsRequest| HONEST.answer(9, asked);
    let ways: [(&str, Answer); 3] =
        [("no proof", &silent), ("entry 13", &unproving), ("after it had shown 10", &older)];
    for (words, answer) in ways {
        let mut node = node();
        let asked = asked_of(&node);
        let later = NOW + PROMISE_KEPT_WITHIN;
        for now in [NOW, later] {
            assert!(matches!(node.answer(&asked, &answer(&asked), now), Err(Unsettled::Unproven(_))));
        }
        let found = node.answer(&asked, &answer(&asked), later + Duration::from_secs(1)).unwrap_err();
        let Unsettled::Trouble(trouble) = found else { panic!("{words}: {found:?}") };
        assert_eq!((trouble.kind, trouble.checkpoints.len()), (FindingKind::LogForked, 2));
        assert!(trouble.detail.contains(words), "{}", trouble.detail);
        assert!(
            matches!(node.answer(&asked, &answer(&asked), later * 2), Err(Unsettled::Unproven(_))),
            "once"
        );
        // A proof ends the doubt; the next one begins anew.
        node.answer(&asked, &HONEST.answer(20, &asked), later * 2).unwrap();
        let asked = asked_of(&node);
        assert!(matches!(node.answer(&asked, &older(&asked), later * 3), Err(Unsettled::Unproven(_))));
    }
    // Receipts that go back are doubted in the same way.
    let mut node = node();
    assert!(matches!(node.receive(&HONEST.signed(11), 9, None, NOW), Err(Unsettled::Unproven(_))));
    let found = node.receive(&HONEST.signed(11), 9, None, NOW * 2).unwrap_err();
    assert!(matches!(&found, Unsettled::Trouble(t) if t.kind == FindingKind::LogForked), "{found:?}");
}

#[test]
fn a_second_root_at_the_size_of_any_receipt_that_waits_is_found() {
    let mut node = LightWitness::new(policy(), Some(HONEST.cosigned(10)));
    for size in 11..200 {
        node.receive(&HONEST.signed(size), size, None, NOW).unwrap();
    }
    let asked = node.question(Duration::ZERO);
    // The first of 189 that wait, far behind those that are asked about, and the last.
    for size in [11, 150, 199] {
        let twin = Log { fork: 10 }.answer(size, &asked);
        let found = node.answer(&asked, &twin, NOW).unwrap_err();
        assert!(
            matches!(&found, Unsettled::Trouble(t) if t.detail.contains("two roots")),
            "{size}: {found:?}"
        );
    }
}

#[test]
fn promises_are_bounded() {
    let mut node = LightWitness::new(policy(), None);
    let receipt = HONEST.signed(3);
    for seq in 0..PROMISES_MAX as u64 + 10 {
        node.receive(&receipt, seq, None, NOW).unwrap();
    }
    assert_eq!(node.waiting(), PROMISES_MAX);
    assert_eq!(node.promises.back().unwrap().last_seq, PROMISES_MAX as u64 + 9);
    assert_eq!(node.question(Duration::ZERO).receipts.len(), RECEIPTS_ASKED_MAX);
}

proptest! {
    #[test]
    fn any_fork_before_what_was_promised_is_found(fork in 0..15_u64, size in 15..40_u64) {
        let mut node = node();
        let asked = node.question(Duration::ZERO);
        let found = node.answer(&asked, &Log { fork }.answer(size, &asked), NOW);
        prop_assert!(matches!(found, Err(Unsettled::Trouble(_))), "{found:?}");
    }

    #[test]
    fn any_growth_behind_what_was_promised_is_taken(fork in 15..40_u64, size in 15..40_u64) {
        let mut node = node();
        let asked = node.question(Duration::ZERO);
        prop_assert_eq!(node.answer(&asked, &Log { fork }.answer(size, &asked), NOW), Ok(Some(5)));
    }
}
