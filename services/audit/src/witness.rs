//! The witness protocol (C2SP tlog-witness v1.0.0): what a log asks of a witness, and how the witness judges.
//!
//! Pure. A witness remembers one thing of a log: the largest tree that it has cosigned. It cosigns a larger one only
//! after a proof that nothing before was changed. Whoever sees the cosignatures of several witnesses knows that the
//! log shows all of them one history.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, parse_decimal};
use crate::hash::{EMPTY_ROOT, Hash, sha256};
use crate::merkle::{ProofError, verify_consistency};
use crate::note::{NOTE_BYTES_MAX, Note, NoteError, VerifierKey};

/// The most hashes of a consistency proof in one request.
pub const PROOF_LINES_MAX: usize = 63;

/// The longest request body that is read, in bytes: a note and a proof.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * (PROOF_LINES_MAX + 1);

/// The media type of the answer that tells the size a witness has (tlog-witness, add-checkpoint, 409).
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

/// The path below a witness's submission prefix.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";

/// What a log sends to a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the last tree that the witness cosigned, as the log believes; 0: none.
    pub old_size: u64,
    /// Consistency proof from there (RFC 6962 section 2.1.2).
    pub proof: Vec<Hash>,
    /// The checkpoint, signed by its log.
    pub checkpoint: String,
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{OLD}{}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = Refusal;

    fn from_str(body: &str) -> Result<Self, Refusal> {
        let (head, checkpoint) =
            body.split_once("\n\n").ok_or(Refusal::Malformed("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix(OLD)).and_then(parse_decimal);
        let old_size =
            old_size.ok_or(Refusal::Malformed("line 1 is not \"old\" and a plain decimal number"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == PROOF_LINES_MAX {
                return Err(Refusal::Malformed("a proof of more than 63 lines"));
            }
            proof.push(
                Hash::from_base64(line)
                    .ok_or(Refusal::Malformed("a proof line is not base64 of 32 bytes"))?,
            );
        }
        Ok(Self { old_size, proof, checkpoint: checkpoint.to_owned() })
    }
}

/// A tree that a witness has cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl Head {
    /// Before the first checkpoint.
    pub const NONE: Self = Self { size: 0, root: EMPTY_ROOT };
}

/// A checkpoint that a witness may cosign, once it has made it durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its text with the log's verified signatures, and no others.
    pub note: Note,
}

impl Judged {
    /// The tree, as the witness remembers it.
    pub const fn head(&self) -> Head {
        Head { size: self.checkpoint.size, root: self.checkpoint.root }
    }
}

/// Reads who made a checkpoint and whether a known log signed it: all that can be judged without the witness's state.
/// `logs` are the keys of the logs that the witness serves; a key's name is its log's origin.
pub fn open(checkpoint: &str, logs: &[VerifierKey]) -> Result<Judged, Refusal> {
    let note =
        checkpoint.parse::<Note>().map_err(|_| Refusal::Malformed("the checkpoint is no signed note"))?;
    let checkpoint = note.text().parse::<Checkpoint>().map_err(Refusal::Checkpoint)?;
    let keys = logs.iter().filter(|key| key.name() == checkpoint.origin).collect::<Vec<_>>();
    if keys.is_empty() {
        return Err(Refusal::UnknownLog(checkpoint.origin));
    }
    let verified = note.verify(keys).map_err(Refusal::Signature)?;
    let mut kept = Note::new(note.text()).map_err(Refusal::Signature)?;
    let ours = |name: &str, id: u32| {
        verified.iter().any(|signature| signature.key.name() == name && signature.key.id() == id)
    };
    for signature in note.signatures().iter().filter(|signature| ours(&signature.name, signature.key_id)) {
        kept.add(signature.clone());
    }
    Ok(Judged { checkpoint, note: kept })
}

/// Judges whether a witness whose last head of this log is `latest` may cosign. Every rule of add-checkpoint, in the
/// order of the specification.
pub fn judge(request: &AddCheckpoint, opened: &Judged, latest: Head) -> Result<(), Refusal> {
    let Checkpoint { size, root, .. } = &opened.checkpoint;
    if request.old_size > *size {
        return Err(Refusal::OldBeyond { old: request.old_size, size: *size });
    }
    if request.old_size != latest.size {
        return Err(Refusal::Stale { latest: latest.size });
    }
    if *size == 0 && *root != EMPTY_ROOT {
        return Err(Refusal::EmptyRoot);
    }
    if request.old_size == 0 {
        return if request.proof.is_empty() { Ok(()) } else { Err(Refusal::NeedlessProof) };
    }
    verify_consistency(request.old_size, &latest.root, *size, root, &request.proof)
        .map_err(|fault| Refusal::Inconsistent { old: request.old_size, size: *size, fault })
}

/// Where a witness shows its last checkpoint of a log, below its monitoring prefix: `<hex SHA-256 of the origin>`.
pub fn origin_hash(origin: &str) -> String {
    hex::encode(sha256(origin.as_bytes()).0)
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Against the format of a request.
    #[error("not an add-checkpoint request: {0} (C2SP tlog-witness)")]
    Malformed(&'static str),
    /// The signed text is no checkpoint.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// A log that this witness does not serve.
    #[error("this witness does not know the log {0:?}; its operator adds the log's key to the configuration")]
    UnknownLog(String),
    /// Not signed by the log, or wrongly.
    #[error("the log's signature is missing or wrong: {0}")]
    Signature(NoteError),
    /// The old size is beyond the checkpoint.
    #[error("the old size {old} is beyond the checkpoint's {size}")]
    OldBeyond {
        /// Old size of the request.
        old: u64,
        /// Size of the checkpoint.
        size: u64,
    },
    /// The witness has another size.
    #[error("the last checkpoint cosigned here has {latest} entries; send a proof from there")]
    Stale {
        /// The size it has.
        latest: u64,
    },
    /// An empty tree with another root than the empty one.
    #[error("a tree without entries has the root of the empty string (RFC 6962 section 2.1)")]
    EmptyRoot,
    /// A proof where none is needed.
    #[error("from size 0 no proof is needed, and none may be sent")]
    NeedlessProof,
    /// The new tree does not contain the old one: the log was changed, or it is not one log.
    #[error("the tree of {size} entries does not continue the {old} cosigned here: {fault} (R-48)")]
    Inconsistent {
        /// Size of the tree that was cosigned.
        old: u64,
        /// Size of the checkpoint.
        size: u64,
        /// What the proof failed at.
        fault: ProofError,
    },
}

impl Refusal {
    /// The HTTP status that the specification gives to it.
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Checkpoint(_) | Self::OldBeyond { .. } => 400,
            Self::Signature(_) => 403,
            Self::UnknownLog(_) => 404,
            Self::Stale { .. } => 409,
            Self::EmptyRoot | Self::NeedlessProof | Self::Inconsistent { .. } => 422,
        }
    }

    /// Whether the request is a signed statement of a known log that contradicts what it signed before.
    pub const fn is_alarm(&self) -> bool {
        matches!(self, Self::EmptyRoot | Self::Inconsistent { .. })
    }
}

const OLD: &str = "old ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::leaf_hash;
    use crate::merkle::{consistency_proof, root_of};
    use crate::note::{KeyKind, SigningKey};

    const ORIGIN: &str = "log.example/1";

    fn key() -> SigningKey {
        SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32]).unwrap()
    }

    fn leaves(size: u64) -> Vec<Hash> {
        (0..size).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    fn head(size: u64) -> Head {
        Head { size, root: root_of(&leaves(size)) }
    }

    fn request(old_size: u64, size: u64) -> AddCheckpoint {
        let Ok(proof) = consistency_proof(old_size, size, &leaves(size)[..]);
        let checkpoint = Checkpoint::new(ORIGIN, size, head(size).root).sign(&key()).unwrap().to_string();
        AddCheckpoint { old_size, proof: proof.unwrap_or_default(), checkpoint }
    }

    fn status(request: &AddCheckpoint, latest: Head) -> u16 {
        let logs = [key().verifier().clone()];
        let judged = request
            .to_string()
            .parse::<AddCheckpoint>()
            .and_then(|read| open(&read.checkpoint, &logs).and_then(|opened| judge(&read, &opened, latest)));
        judged.map_or_else(|refusal| refusal.http_status(), |()| 200)
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let body = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let read: AddCheckpoint = body.parse().unwrap();
        assert_eq!((read.old_size, read.proof.len()), (20_852_014, 1));
        assert_eq!(read.to_string(), body);
        let unknown = open(&read.checkpoint, &[key().verifier().clone()]).unwrap_err();
        assert_eq!(unknown, Refusal::UnknownLog("example.com/behind-the-sofa".to_owned()));
        assert_eq!(unknown.http_status(), 404);
    }

    #[test]
    fn every_rule_has_its_status() {
        assert_eq!(status(&request(0, 0), Head::NONE), 200);
        assert_eq!(status(&request(0, 7), Head::NONE), 200);
        assert_eq!(status(&request(7, 20), head(7)), 200);
        assert_eq!(status(&request(7, 7), head(7)), 200);
        // Another size than the witness has, and one beyond the checkpoint.
        assert_eq!(status(&request(0, 20), head(7)), 409);
        assert_eq!(status(&request(8, 20), head(7)), 409);
        assert_eq!(status(&AddCheckpoint { old_size: 21, ..request(20, 20) }, head(21)), 400);
        // Another history of the same size, and one that grew from it.
        let fork = Head { size: 7, root: leaf_hash(b"fork") };
        assert_eq!(status(&request(7, 7), fork), 422);
        assert_eq!(status(&request(7, 20), fork), 422);
        // Proofs: missing, needless, changed.
        assert_eq!(status(&AddCheckpoint { proof: Vec::new(), ..request(7, 20) }, head(7)), 422);
        let needless = AddCheckpoint { proof: vec![EMPTY_ROOT], ..request(0, 20) };
        assert_eq!(status(&needless, Head::NONE), 422);
        let mut changed = request(7, 20);
        changed.proof[0] = EMPTY_ROOT;
        assert_eq!(status(&changed, head(7)), 422);
        // An empty tree with a root.
        let odd = Checkpoint::new(ORIGIN, 0, leaf_hash(b"")).sign(&key()).unwrap().to_string();
        assert_eq!(status(&AddCheckpoint { checkpoint: odd, ..request(0, 0) }, Head::NONE), 422);
        // Signatures: nobody's, and the log's own, broken.
        let stranger = SigningKey::generate(ORIGIN, KeyKind::Ed25519).unwrap();
        let forged = Checkpoint::new(ORIGIN, 7, head(7).root).sign(&stranger).unwrap().to_string();
        assert_eq!(status(&AddCheckpoint { checkpoint: forged, ..request(0, 7) }, Head::NONE), 403);
        let text = request(0, 7).checkpoint.replace("\n7\n", "\n8\n");
        assert_eq!(status(&AddCheckpoint { checkpoint: text, ..request(0, 7) }, Head::NONE), 403);
    }

    #[test]
    fn strangers_signatures_are_not_kept() {
        let witness = SigningKey::generate("w", KeyKind::CosignatureV1).unwrap();
        let mut note: Note = request(0, 7).checkpoint.parse().unwrap();
        note.add(witness.cosign(note.text(), 5).unwrap());
        let opened = open(&note.to_string(), &[key().verifier().clone()]).unwrap();
        assert_eq!(opened.note.to_string(), request(0, 7).checkpoint);
    }

    #[test]
    fn malformed_requests_are_refused() {
        let good = request(7, 20).to_string();
        for bad in [
            String::new(),
            good.replace("old 7", "old 07"),
            good.replace("old 7", "old +7"),
            good.replace("old 7", "Old 7"),
            good.replacen("\n\n", "\n", 1),
            good.replacen('=', "", 1),
            format!("old 7\n{}{good}", format!("{}\n", EMPTY_ROOT.to_base64()).repeat(64)),
        ] {
            let refused = bad.parse::<AddCheckpoint>().map(|read| open(&read.checkpoint, &[])).err();
            assert!(matches!(refused, Some(Refusal::Malformed(_))), "{bad:?}: {refused:?}");
        }
    }

    proptest! {
        #[test]
        fn a_witness_follows_any_honest_log(sizes in prop::collection::vec(0..90_u64, 1..8)) {
            let mut sizes = sizes;
            sizes.sort_unstable();
            let mut latest = Head::NONE;
            for size in sizes {
                prop_assert_eq!(status(&request(latest.size, size), latest), 200);
                latest = head(size);
            }
        }

        #[test]
        fn arbitrary_bodies_never_panic(junk in "\\PC{0,40}", at in 0..400_usize, cut in 0..400_usize) {
            let mut body = request(7, 20).to_string().into_bytes();
            let end = at.min(body.len());
            body.splice(end.min(cut)..end, junk.bytes());
            if let Ok(body) = String::from_utf8(body) && let Ok(read) = body.parse::<AddCheckpoint>() {
                prop_assert_eq!(read.to_string(), body);
            }
        }
    }
}
