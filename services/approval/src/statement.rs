//! What is signed: a few lines that a person can read, and that name everything that a change puts into force.

use lienthong_audit::hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
use lienthong_audit::merkle;
use lienthong_catalog::catalog::Entry;

/// The first line of every statement.
pub const STATEMENT_HEADER: &str = "lienthong/catalog-change/v1";
/// Longest statement, bytes.
pub const STATEMENT_BYTES_MAX: usize = 512;
/// Lines of a statement.
const LINES: usize = 6;

/// What a change puts into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Id of the mesh.
    pub mesh: String,
    /// Hash of the folder that the change stands on; none for one that stands alone.
    pub base: Option<Hash>,
    /// Hash of its own folder.
    pub content: Hash,
    /// Entries that it activates.
    pub entries: u64,
    /// Merkle root over them (RFC 6962), in order of their ids.
    pub root: Hash,
}

/// A statement that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the statement of a catalog change has not the six lines of lienthong/catalog-change/v1")]
pub struct StatementError;

impl Statement {
    /// The statement of a change that activates these entries, which must be in order of their ids.
    pub fn of(mesh: &str, base: Option<Hash>, content: Hash, activated: &[&Entry]) -> Statement {
        let leaves = leaves(activated);
        Statement {
            mesh: mesh.to_owned(),
            base,
            content,
            entries: leaves.len() as u64,
            root: merkle::root_of(&leaves),
        }
    }

    /// The bytes that are signed, but for the time.
    pub fn to_bytes(&self) -> Vec<u8> {
        let base = self.base.map(|base| hex::encode(base.0)).unwrap_or_default();
        let (content, root) = (hex::encode(self.content.0), hex::encode(self.root.0));
        let lines = [STATEMENT_HEADER, self.mesh.as_str(), &base, &content, &self.entries.to_string(), &root]
            .join("\n");
        format!("{lines}\n").into_bytes()
    }

    /// Reads [`Self::to_bytes`], exactly.
    ///
    /// # Errors
    /// [`StatementError`] for anything else.
    pub fn read(bytes: &[u8]) -> Result<Statement, StatementError> {
        let text = (bytes.len() <= STATEMENT_BYTES_MAX).then(|| std::str::from_utf8(bytes).ok()).flatten();
        let lines: Vec<&str> =
            text.and_then(|text| text.strip_suffix('\n')).unwrap_or_default().split('\n').collect();
        let parts: [&str; LINES] = lines.try_into().map_err(|_| StatementError)?;
        let [STATEMENT_HEADER, mesh, base, content, entries, root] = parts else {
            return Err(StatementError);
        };
        let statement = Statement {
            mesh: mesh.to_owned(),
            base: if base.is_empty() { None } else { Some(hash(base)?) },
            content: hash(content)?,
            entries: entries.parse().map_err(|_| StatementError)?,
            root: hash(root)?,
        };
        if statement.to_bytes() == bytes { Ok(statement) } else { Err(StatementError) }
    }
}

/// The leaf hashes of entries, in their order.
pub fn leaves(entries: &[&Entry]) -> Vec<Hash> {
    entries.iter().map(|entry| leaf_hash(entry.content.as_bytes())).collect()
}

/// The inclusion proof of each entry, in their order, from the leaf's sibling upwards.
pub fn proofs(entries: &[&Entry]) -> Vec<Vec<Hash>> {
    let leaves = leaves(entries);
    let mut paths = vec![Vec::new(); leaves.len()];
    climb(&leaves, &mut paths);
    paths
}

/// The root over the leaves (RFC 6962 §2.1); each leaf's path gets the siblings on its way up, all of them in one walk.
fn climb(leaves: &[Hash], paths: &mut [Vec<Hash>]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let middle = leaves.len().next_power_of_two() / 2;
            let (left_paths, right_paths) = paths.split_at_mut(middle);
            let left = climb(&leaves[..middle], left_paths);
            let right = climb(&leaves[middle..], right_paths);
            for path in left_paths {
                path.push(right);
            }
            for path in right_paths {
                path.push(left);
            }
            node_hash(&left, &right)
        }
    }
}

fn hash(text: &str) -> Result<Hash, StatementError> {
    hex::decode(text).ok().and_then(|bytes| Hash::from_slice(&bytes)).ok_or(StatementError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statement(base: Option<Hash>) -> Statement {
        Statement { mesh: "demo".to_owned(), base, content: Hash([1; 32]), entries: 7, root: Hash([2; 32]) }
    }

    #[test]
    fn what_was_written_is_read_again_and_nothing_else() {
        for base in [None, Some(Hash([3; 32]))] {
            let bytes = statement(base).to_bytes();
            assert_eq!(Statement::read(&bytes), Ok(statement(base)));
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert_eq!(text.lines().next(), Some(STATEMENT_HEADER));
            for wrong in [
                text.replace("\n7\n", "\n07\n"),
                text.replace("0101", "01"),
                text.to_uppercase(),
                format!("{text}\n"),
                text.trim_end().to_owned(),
                text.replace("/v1", "/v2"),
            ] {
                assert_eq!(Statement::read(wrong.as_bytes()), Err(StatementError), "{wrong}");
            }
        }
    }

    proptest! {
        /// In a tree of any size, each path proves its own leaf and no other.
        #[test]
        fn each_path_proves_its_leaf(size in 1_usize..70) {
            let leaves: Vec<Hash> = (0_u8..).take(size).map(|byte| leaf_hash(&[byte])).collect();
            let mut paths = vec![Vec::new(); size];
            let root = climb(&leaves, &mut paths);
            prop_assert_eq!(root, merkle::root_of(&leaves));
            let size = size as u64;
            for ((index, leaf), path) in (0..).zip(&leaves).zip(&paths) {
                prop_assert!(merkle::verify_inclusion(leaf, index, size, path, &root).is_ok());
                let other = leaf_hash(b"other");
                prop_assert!(merkle::verify_inclusion(&other, index, size, path, &root).is_err());
            }
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Statement::read(&bytes).is_err());
        }
    }
}
