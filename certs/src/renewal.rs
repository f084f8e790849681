//! One certificate takes another's place: what the next one's key signs, and the change of the files.
//!
//! The order loses nothing at a crash: the broker binds both certificates first, then the next pair is written whole
//! beside the present one, then renamed over it, key first. [`finish`] ends a change that was interrupted between the two
//! renames, the only moment in which key and certificate do not belong together.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::files::{self, FileError};

/// What the next key signs: good for this one change, of one enrollment, in one mesh.
pub fn statement(mesh: &str, enrollment: &str, present: &[u8; 32], next: &[u8; 32]) -> Vec<u8> {
    let lines = ["lienthong/renewal/v1", mesh, enrollment, &hex::encode(present), &hex::encode(next)];
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

/// A certificate file, and its key's; no key where it stays as it is, as one in a token does.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// The chain, PEM.
    pub certificate: &'a Path,
    /// The private key, PEM.
    pub key: Option<&'a Path>,
}

/// Puts `next` in the place of `present`. What was there stays beside it under `.before`, until the next change.
///
/// # Errors
/// [`FileError::Io`] names the file; what is present is then as it was, or [`finish`] ends the change.
pub fn put_in_place(next: Files<'_>, present: Files<'_>) -> Result<(), FileError> {
    let certificate = (next.certificate, present.certificate);
    let key = next.key.zip(present.key).filter(|(from, to)| !is_same_file(from, to));
    // The staged certificate alone says that its key is in place: so it goes first, and comes last.
    remove(&beside(present.certificate, NEXT))?;
    for (from, to) in key.into_iter().chain([certificate]) {
        let bytes = files::read(from, files::PEM_BYTES_MAX)?;
        remove(&beside(to, NEXT))?;
        remove(&beside(to, BEFORE))?;
        fs::hard_link(to, beside(to, BEFORE)).map_err(|source| io_error("keep a copy of", to, source))?;
        files::create_private(&beside(to, NEXT), &bytes)?;
    }
    if let Some((_, to)) = key {
        rename(&beside(to, NEXT), to)?;
    }
    rename(&beside(present.certificate, NEXT), present.certificate)
}

/// Ends a change that was interrupted after the key was in its place; answers whether there was one.
///
/// # Errors
/// [`FileError::Io`].
pub fn finish(present: Files<'_>) -> Result<bool, FileError> {
    let staged = beside(present.certificate, NEXT);
    let key_is_staged = present.key.is_some_and(|key| beside(key, NEXT).exists());
    if key_is_staged || !staged.exists() {
        return Ok(false);
    }
    rename(&staged, present.certificate)?;
    Ok(true)
}

const NEXT: &str = "next";
const BEFORE: &str = "before";

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path, error)),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).and_then(|()| files::sync_folder(to)).map_err(|error| io_error("replace", to, error))
}

fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> FileError {
    FileError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        folder: tempfile::TempDir,
    }

    impl Pair {
        fn new() -> Pair {
            let pair = Pair { folder: tempfile::tempdir().unwrap() };
            for (name, text) in
                [("node.crt", "1"), ("node.key", "one"), ("next.crt", "2"), ("next.key", "two")]
            {
                fs::write(pair.path(name), text).unwrap();
            }
            pair
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).unwrap_or_default()
        }

        fn change(&self) {
            let (certificate, key) = (self.path("next.crt"), self.path("next.key"));
            let (present_certificate, present_key) = (self.path("node.crt"), self.path("node.key"));
            put_in_place(
                Files { certificate: &certificate, key: Some(&key) },
                Files { certificate: &present_certificate, key: Some(&present_key) },
            )
            .unwrap();
        }

        fn finish(&self) -> bool {
            let (certificate, key) = (self.path("node.crt"), self.path("node.key"));
            finish(Files { certificate: &certificate, key: Some(&key) }).unwrap()
        }
    }

    #[test]
    fn a_statement_is_good_for_one_change() {
        let one = statement("demo", "enrollments/1", &[1; 32], &[2; 32]);
        for other in [
            statement("dem", "oenrollments/1", &[1; 32], &[2; 32]),
            statement("demo", "enrollments/1", &[2; 32], &[1; 32]),
        ] {
            assert_ne!(other, one);
        }
        assert!(one.starts_with(b"lienthong/renewal/v1\ndemo\nenrollments/1\n0101"));
    }

    #[test]
    fn the_next_pair_takes_the_place_and_the_one_before_stays_beside_it() {
        let pair = Pair::new();
        pair.change();
        assert_eq!((pair.read("node.crt"), pair.read("node.key")), ("2".into(), "two".into()));
        assert_eq!((pair.read("node.crt.before"), pair.read("node.key.before")), ("1".into(), "one".into()));
        assert!(!pair.finish(), "there is nothing to end");
        pair.change();
        assert_eq!(pair.read("node.crt.before"), "2", "again changes nothing more");
    }

    #[test]
    fn a_change_that_was_interrupted_is_ended_or_begun_anew() {
        // Between the two renames.
        let pair = Pair::new();
        fs::write(pair.path("node.key"), "two").unwrap();
        fs::write(pair.path("node.crt.next"), "2").unwrap();
        assert!(pair.finish());
        assert_eq!(pair.read("node.crt"), "2");
        // Before the first: both are staged, and the pair in place is whole.
        let pair = Pair::new();
        fs::write(pair.path("node.key.next"), "two").unwrap();
        fs::write(pair.path("node.crt.next"), "2").unwrap();
        assert!(!pair.finish());
        assert_eq!((pair.read("node.crt"), pair.read("node.key")), ("1".into(), "one".into()));
        pair.change();
        assert_eq!((pair.read("node.crt"), pair.read("node.key")), ("2".into(), "two".into()));
    }

    #[test]
    fn a_key_that_stays_is_left_alone() {
        let pair = Pair::new();
        let (next, present) = (pair.path("next.crt"), pair.path("node.crt"));
        put_in_place(Files { certificate: &next, key: None }, Files { certificate: &present, key: None })
            .unwrap();
        assert_eq!((pair.read("node.crt"), pair.read("node.key")), ("2".into(), "one".into()));
    }
}
