//! The hash of a catalog folder: what the whole of a change is known by.

use lienthong_audit::hash::{Hash, sha256};
use lienthong_catalog::SourceFile;

/// SHA-256 over, for each file in order of the names, u32 big-endian length and name, u32 length and text
/// (change.proto).
pub fn folder_hash(files: &[SourceFile]) -> Hash {
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bytes = Vec::new();
    for part in sorted.iter().flat_map(|file| [&file.name, &file.text]) {
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn order_of_files_does_not_count_and_every_border_does() {
        let one = folder_hash(&[file("a", "bc"), file("b", "")]);
        assert_eq!(one, folder_hash(&[file("b", ""), file("a", "bc")]));
        for other in [
            vec![file("ab", "c"), file("b", "")],
            vec![file("a", "b"), file("b", "c")],
            vec![file("a", "bc")],
            vec![],
        ] {
            assert_ne!(one, folder_hash(&other));
        }
    }
}
