//! The tree of the house beside `ct-merkle`: same roots, same proofs, and each believes what the other proves and
//! nothing else.

use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::merkle::{
    Frontier, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;
use sha2::Sha256;

/// Every pair of sizes up to this one is compared.
const ALL_PAIRS_SIZE: u64 = 130;

fn entry(number: u64) -> Vec<u8> {
    format!("entry number {number}").into_bytes()
}

/// The same entries in both houses.
struct Both {
    leaves: Vec<Hash>,
    ours: Hash,
    theirs: MemoryBackedTree<Sha256, Vec<u8>>,
}

impl Both {
    fn of(size: u64) -> Self {
        let (mut frontier, mut leaves, mut theirs) = (Frontier::new(), Vec::new(), MemoryBackedTree::new());
        for number in 0..size {
            leaves.push(frontier.push_entry(&entry(number)));
            theirs.push(entry(number));
        }
        Self { leaves, ours: frontier.root(), theirs }
    }

    fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    fn inclusion(&self, index: u64) -> Vec<Hash> {
        let proof: Result<_, Infallible> = inclusion_proof(index, self.size(), &self.leaves[..]);
        let Ok(proof) = proof;
        proof.expect("the index is below the size")
    }

    fn consistency(&self, old: u64) -> Vec<Hash> {
        let proof: Result<_, Infallible> = consistency_proof(old, self.size(), &self.leaves[..]);
        let Ok(proof) = proof;
        proof.expect("the old size is not above the size")
    }
}

fn bytes(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes.chunks(32).map(|chunk| Hash::from_slice(chunk).expect("32 bytes")).collect()
}

fn root(hash: Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new(hash.0.into(), size)
}

#[test]
fn roots_and_proofs_are_the_same_bytes() {
    for size in 1..=ALL_PAIRS_SIZE {
        let both = Both::of(size);
        assert_eq!(both.ours.0, <[u8; 32]>::from(*both.theirs.root().as_bytes()), "root of {size}");
        for index in 0..size {
            let theirs = both.theirs.prove_inclusion(index as usize);
            assert_eq!(bytes(&both.inclusion(index)), theirs.as_bytes(), "leaf {index} of {size}");
        }
        for old in 1..size {
            let theirs = both.theirs.prove_consistency((size - old) as usize);
            assert_eq!(bytes(&both.consistency(old)), theirs.as_bytes(), "{old} of {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each judges what the other proves in larger trees, and both refuse the same changes of it.
    #[test]
    fn each_believes_the_other_and_no_change(
        size in 2..1_500_u64, index: prop::sample::Index, at: prop::sample::Index, bit in 0..256_usize,
    ) {
        let both = Both::of(size);
        let index = index.index(both.leaves.len()) as u64;
        let item = entry(index);
        let theirs = both.theirs.root();

        let ours = both.inclusion(index);
        prop_assert!(theirs.verify_inclusion(&item, index, &InclusionProof::try_from_bytes(bytes(&ours)).unwrap()).is_ok());
        let proof = hashes(both.theirs.prove_inclusion(index as usize).as_bytes());
        prop_assert!(verify_inclusion(&leaf_hash(&item), index, size, &proof, &both.ours).is_ok());

        let mut changed = proof;
        let at_inclusion = at.index(changed.len());
        changed[at_inclusion].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_inclusion(&leaf_hash(&item), index, size, &changed, &both.ours).is_err());
        prop_assert!(theirs.verify_inclusion(&item, index, &InclusionProof::try_from_bytes(bytes(&changed)).unwrap()).is_err());

        let old = index.max(1);
        prop_assume!(old < size);
        let before = Both::of(old);
        let ours = both.consistency(old);
        prop_assert!(theirs.verify_consistency(&before.theirs.root(), &ConsistencyProof::try_from_bytes(bytes(&ours)).unwrap()).is_ok());
        let mut proof = hashes(both.theirs.prove_consistency((size - old) as usize).as_bytes());
        prop_assert!(verify_consistency(old, &before.ours, size, &both.ours, &proof).is_ok());
        let at = at.index(proof.len());
        proof[at].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_consistency(old, &before.ours, size, &both.ours, &proof).is_err());
        prop_assert!(theirs.verify_consistency(&before.theirs.root(), &ConsistencyProof::try_from_bytes(bytes(&proof)).unwrap()).is_err());
    }

    /// Whatever bytes stand where a proof should, both come to the same verdict.
    #[test]
    fn one_verdict_on_any_bytes(
        size in 1..80_u64, index in 0..90_u64, old in 1..90_u64, path in prop::collection::vec(any::<[u8; 32]>(), 0..9),
    ) {
        let both = Both::of(size);
        let path = path.into_iter().map(Hash).collect::<Vec<_>>();
        let ours = verify_inclusion(&leaf_hash(&entry(index)), index, size, &path, &both.ours).is_ok();
        let theirs = InclusionProof::try_from_bytes(bytes(&path)).is_ok_and(|proof| {
            root(both.ours, size).verify_inclusion(&entry(index), index, &proof).is_ok()
        });
        prop_assert_eq!(ours, theirs);
        // The proof between two equal sizes is empty, which ct-merkle has no proof object for where old = new.
        prop_assume!(old != size);
        let before = Both::of(old);
        let ours = verify_consistency(old, &before.ours, size, &both.ours, &path).is_ok();
        let theirs = ConsistencyProof::try_from_bytes(bytes(&path)).is_ok_and(|proof| {
            root(both.ours, size).verify_consistency(&root(before.ours, old), &proof).is_ok()
        });
        prop_assert_eq!(ours, theirs);
    }
}
