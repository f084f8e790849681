//! The Merkle tree against the definition of RFC 6962 §2.1, its published vectors, and itself.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::cast_possible_truncation, reason = "trees of a test fit in memory")]

use std::convert::Infallible;

use lienthong_audit::hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
use lienthong_audit::merkle::{
    Frontier, HashReader, ProofError, consistency_proof, inclusion_proof, root, root_of, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;

/// Every pair of sizes up to this one is tried.
const ALL_PAIRS_SIZE: u64 = 600;

/// MTH(D[n]) exactly as RFC 6962 §2.1 defines it: slow, recursive, obviously right.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// PATH(m, D[n]) exactly as RFC 6962 §2.1.1 defines it.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut rest, sibling) =
        if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
    rest.push(sibling);
    rest
}

/// SUBPROOF(m, D[n], b) exactly as RFC 6962 §2.1.2 defines it.
fn subproof(m: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if complete { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut rest, sibling) = if m <= k {
        (subproof(m, left, complete), mth(right))
    } else {
        (subproof(m - k, right, false), mth(left))
    };
    rest.push(sibling);
    rest
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

/// Every complete subtree of a tree, computed once, so that thousands of proofs can be taken from it.
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    fn new(leaves: &[Hash]) -> Self {
        let mut levels = vec![leaves.to_vec()];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            levels.push(level.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect());
        }
        Self(levels)
    }
}

impl HashReader for Levels {
    type Error = Infallible;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(level)][index as usize])
    }
}

fn inclusion(index: u64, leaves: &[Hash]) -> Vec<Hash> {
    let Ok(path) = inclusion_proof(index, leaves.len() as u64, leaves);
    path.unwrap()
}

fn consistency(old: u64, leaves: &[Hash]) -> Vec<Hash> {
    let Ok(path) = consistency_proof(old, leaves.len() as u64, leaves);
    path.unwrap()
}

/// The roots of the Certificate Transparency reference tests, trees of 1 to 8 leaves.
#[test]
fn published_roots() {
    let entries =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), EMPTY_ROOT);
    for (entry, root) in entries.iter().zip(roots) {
        frontier.push_entry(&hex::decode(entry).unwrap());
        assert_eq!(frontier.root().to_string(), root);
    }
}

#[test]
fn roots_of_all_sizes_follow_the_definition() {
    let all = leaves(ALL_PAIRS_SIZE);
    let mut frontier = Frontier::new();
    for size in 0..all.len() {
        assert_eq!(frontier.root(), mth(&all[..size]));
        assert_eq!(root_of(&all[..size]), mth(&all[..size]));
        assert_eq!(root(size as u64, &all[..]), Ok(mth(&all[..size])));
        assert_eq!(Frontier::read(size as u64, &all[..]), Ok(frontier.clone()));
        frontier.push(all[size]);
    }
}

#[test]
fn inclusion_of_all_pairs() {
    let all = leaves(ALL_PAIRS_SIZE);
    let levels = Levels::new(&all);
    for size in 1..=all.len() {
        let (tree, root) = (&all[..size], mth(&all[..size]));
        for index in 0..size as u64 {
            let Ok(proof) = inclusion_proof(index, size as u64, &levels);
            let proof = proof.unwrap();
            verify_inclusion(&all[index as usize], index, size as u64, &proof, &root).unwrap();
            // The definition itself is slow: compare with it at every size, but not at every index of large ones.
            if size < 70 || index % 61 == 0 && size % 7 == 0 {
                assert_eq!(proof, path(index as usize, tree), "leaf {index} of {size}");
            }
        }
        assert_eq!(inclusion_proof(size as u64, size as u64, tree), Ok(None));
    }
}

#[test]
fn consistency_of_all_pairs() {
    let all = leaves(ALL_PAIRS_SIZE);
    let levels = Levels::new(&all);
    let roots = (0..=all.len()).map(|size| mth(&all[..size])).collect::<Vec<_>>();
    for new in 0..=all.len() {
        for old in 0..=new {
            let Ok(proof) = consistency_proof(old as u64, new as u64, &levels);
            let proof = proof.unwrap();
            verify_consistency(old as u64, &roots[old], new as u64, &roots[new], &proof).unwrap();
            if old > 0 && (new < 70 || old % 61 == 0 && new % 7 == 0) {
                assert_eq!(proof, subproof(old, &all[..new], true), "{old} of {new}");
            }
        }
        assert_eq!(consistency_proof(new as u64 + 1, new as u64, &all[..new]), Ok(None));
    }
}

#[test]
fn the_edges_are_refused() {
    let all = leaves(7);
    let root = mth(&all);
    let beyond = ProofError::IndexBeyondTree { index: 7, size: 7 };
    assert_eq!(verify_inclusion(&all[6], 7, 7, &[], &root), Err(beyond));
    assert_eq!(
        verify_inclusion(&all[0], 0, 0, &[], &EMPTY_ROOT),
        Err(ProofError::IndexBeyondTree { index: 0, size: 0 })
    );
    assert_eq!(verify_consistency(8, &root, 7, &root, &[]), Err(ProofError::Shrunk { old: 8, new: 7 }));
    assert_eq!(verify_consistency(7, &root, 7, &root, &[root]), Err(ProofError::TooLong(1)));
    assert!(verify_consistency(7, &root, 7, &all[0], &[]).is_err());
    assert!(verify_consistency(0, &root, 7, &root, &[]).is_err());
    assert_eq!(verify_consistency(0, &EMPTY_ROOT, 7, &root, &[]), Ok(()));
    // The largest trees that a number can name neither overflow nor take long.
    assert!(verify_inclusion(&root, u64::MAX - 1, u64::MAX, &[root; 65], &root).is_err());
    assert!(verify_consistency(u64::MAX - 1, &root, u64::MAX, &root, &[root; 65]).is_err());
    assert!(verify_consistency(1 << 63, &root, u64::MAX, &root, &[root; 63]).is_err());
}

proptest! {
    #[test]
    fn large_random_trees(size in 1..20_000_u64, index: prop::sample::Index, old: prop::sample::Index) {
        let all = leaves(size);
        let (index, old) = (index.index(all.len()), old.index(all.len() + 1));
        let mut frontier = Frontier::new();
        all[..old].iter().for_each(|leaf| frontier.push(*leaf));
        let old_root = frontier.root();
        all[old..].iter().for_each(|leaf| frontier.push(*leaf));
        let new_root = frontier.root();
        prop_assert_eq!(verify_inclusion(&all[index], index as u64, size, &inclusion(index as u64, &all), &new_root), Ok(()));
        prop_assert_eq!(verify_consistency(old as u64, &old_root, size, &new_root, &consistency(old as u64, &all)), Ok(()));
    }

    /// No proof but the right one is believed: a changed, missing, surplus or moved hash, another index or size.
    #[test]
    fn changed_proofs_are_refused(size in 2..300_u64, index: prop::sample::Index, at: prop::sample::Index, bit in 0..256_usize) {
        let all = leaves(size);
        let index = index.index(all.len()) as u64;
        let (root, leaf, proof) = (mth(&all), all[index as usize], inclusion(index, &all));
        let at = at.index(proof.len());
        let mut flipped = proof.clone();
        flipped[at].0[bit / 8] ^= 1 << (bit % 8);
        let mut short = proof.clone();
        short.remove(at);
        let mut long = proof.clone();
        long.insert(at, proof[at]);
        for wrong in [flipped, short, long] {
            prop_assert!(verify_inclusion(&leaf, index, size, &wrong, &root).is_err());
        }
        for other in (0..size).filter(|other| *other != index) {
            prop_assert!(verify_inclusion(&leaf, other, size, &proof, &root).is_err());
        }

        let old = index + 1;
        let (old_root, proof) = (mth(&all[..old as usize]), consistency(old, &all));
        prop_assume!(!proof.is_empty());
        let at = at.min(proof.len() - 1);
        let mut flipped = proof.clone();
        flipped[at].0[bit / 8] ^= 1 << (bit % 8);
        let mut short = proof.clone();
        short.remove(at);
        let mut long = proof.clone();
        long.insert(at, proof[at]);
        for wrong in [flipped, short, long] {
            prop_assert!(verify_consistency(old, &old_root, size, &root, &wrong).is_err());
        }
        prop_assert!(verify_consistency(old, &root, size, &root, &proof).is_err());
        prop_assert!(verify_consistency(old, &old_root, size, &old_root, &proof).is_err());
    }

    #[test]
    fn arbitrary_proofs_never_panic(index: u64, size: u64, old: u64, path in prop::collection::vec(any::<[u8; 32]>(), 0..70)) {
        let path = path.into_iter().map(Hash).collect::<Vec<_>>();
        let any = Hash([9; 32]);
        prop_assert!(verify_inclusion(&any, index, size, &path, &any).is_err() || size == 1);
        let _ = verify_consistency(old, &any, size, &any, &path);
    }
}
