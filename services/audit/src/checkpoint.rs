//! Checkpoints: the signed head of a log (C2SP tlog-checkpoint v1.0.0).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::hash::Hash;
use crate::note::{Note, NoteError, SigningKey, VerifierKey};

/// What a log says of itself at one size: its origin, the number of entries and the root over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The unique name of the log; also the name of its key.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root of the tree over them (RFC 6962).
    pub root: Hash,
    /// Further lines, which this project never writes: monitors cannot audit them.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Self {
        Self { origin: origin.into(), size, root, extensions: Vec::new() }
    }

    /// Signs the checkpoint as its log. The key's name must be the origin.
    pub fn sign(&self, key: &SigningKey) -> Result<Note, CheckpointError> {
        if key.name() != self.origin {
            return Err(CheckpointError::Origin { origin: self.origin.clone(), key: key.verifier().label() });
        }
        let mut note = Note::new(self.to_string())?;
        // A checkpoint that could not be read back must not be signed.
        note.text().parse::<Self>()?;
        note.add(key.sign(note.text())?);
        Ok(note)
    }

    /// Reads a signed checkpoint and verifies it with the key of the log that it must come from.
    pub fn open(note: &str, log: &VerifierKey) -> Result<Self, CheckpointError> {
        Self::open_by(note, std::slice::from_ref(log))
    }

    /// The same with any of several keys of the log, around a change of keys.
    pub fn open_by(note: &str, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let note = note.parse::<Note>()?;
        let verified = note.verify(keys)?;
        let checkpoint = note.text().parse::<Self>()?;
        // `verify` finds at least one.
        if let Some(signed) = verified.iter().find(|signed| checkpoint.origin != signed.key.name()) {
            return Err(CheckpointError::Origin { origin: checkpoint.origin, key: signed.key.label() });
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    /// The text that is signed, with its final newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root.to_base64())?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    /// Reads the text of a checkpoint, without signatures.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Malformed("the last line does not end"))?;
        let mut lines = body.split('\n');
        let mut line =
            |what| lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Malformed(what));
        let origin = line("line 1, the origin, is missing")?.to_owned();
        let size = parse_decimal(line("line 2, the size, is missing")?);
        let size =
            size.ok_or(CheckpointError::Malformed("line 2, the size, is not a plain decimal number"))?;
        let root = Hash::from_base64(line("line 3, the root hash, is missing")?);
        let root =
            root.ok_or(CheckpointError::Malformed("line 3, the root hash, is not base64 of 32 bytes"))?;
        let extensions = lines.map(str::to_owned).collect::<Vec<_>>();
        if extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Malformed("an extension line is empty"));
        }
        Ok(Self { origin, size, root, extensions })
    }
}

/// A number as the C2SP texts write it: ASCII digits without leading zeros.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical)
}

/// Why a checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Not a signed note, or not signed by the right key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Against the format.
    #[error("not a checkpoint: {0} (C2SP tlog-checkpoint)")]
    Malformed(&'static str),
    /// Signed by a key that belongs to another log.
    #[error(
        "the checkpoint is of the log {origin:?} but the key is {key}; a log's key carries the log's origin as its name"
    )]
    Origin {
        /// The first line of the checkpoint.
        origin: String,
        /// The key's name and id.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::EMPTY_ROOT;
    use crate::note::KeyKind;

    /// The examples of tlog-checkpoint.md and tlog-cosignature.md.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    #[test]
    fn example_of_the_specification() {
        let note: Note = EXAMPLE.parse().unwrap();
        let checkpoint: Checkpoint = note.text().parse().unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.root.to_base64(), "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
        assert_eq!(checkpoint.to_string(), note.text());
        assert_eq!(note.to_string(), EXAMPLE);
        assert_eq!(note.signatures()[1].key_id, 0x8d66_cf3f);
        // The cosignature's timestamp, as tlog-cosignature.md spells it out.
        assert_eq!(note.signatures()[1].bytes[..8], 1_679_315_147_u64.to_be_bytes());
    }

    #[test]
    fn malformed_checkpoints_are_refused() {
        let root = EMPTY_ROOT.to_base64();
        assert!(format!("o\n0\n{root}\nextension\n").parse::<Checkpoint>().is_ok());
        for text in [
            String::new(),
            "\n".into(),
            "o\n".into(),
            "o\n0\n".into(),
            format!("o\n0\n{root}"),
            format!("\n0\n{root}\n"),
            format!("o\n00\n{root}\n"),
            format!("o\n+1\n{root}\n"),
            format!("o\n-1\n{root}\n"),
            format!("o\n1 \n{root}\n"),
            format!("o\n18446744073709551616\n{root}\n"),
            format!("o\n0\n{root}=\n"),
            format!("o\n0\n{}\n", &root[4..]),
            format!("o\n0\n{root}\n\n"),
            format!("o\n0\n{root}\n\nextension\n"),
            format!("o\n\n0\n{root}\n"),
        ] {
            assert!(text.parse::<Checkpoint>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_its_own_key_signs_a_log() {
        let key = SigningKey::generate("example.com/log", KeyKind::Ed25519).unwrap();
        let note = Checkpoint::new("example.com/log", 0, EMPTY_ROOT).sign(&key).unwrap().to_string();
        assert_eq!(Checkpoint::open(&note, key.verifier()).unwrap().size, 0);
        let other = Checkpoint::new("example.com/other", 0, EMPTY_ROOT);
        assert!(matches!(other.sign(&key), Err(CheckpointError::Origin { .. })));
        // A key signs a text that names another log: the signature is good, the checkpoint is not.
        let mut forged = Note::new(other.to_string()).unwrap();
        forged.add(key.sign(forged.text()).unwrap());
        assert!(matches!(
            Checkpoint::open(&forged.to_string(), key.verifier()),
            Err(CheckpointError::Origin { .. })
        ));
        let stranger = SigningKey::generate("example.com/log", KeyKind::Ed25519).unwrap();
        let refused = Checkpoint::open(&note, stranger.verifier());
        assert!(matches!(refused, Err(CheckpointError::Note(NoteError::NoKnownSignature(_)))));
    }

    #[test]
    fn no_line_is_smuggled_into_a_signed_checkpoint() {
        let key = SigningKey::generate("example.com/log", KeyKind::Ed25519).unwrap();
        for extension in ["", "a\n\nb", "a\rb"] {
            let mut checkpoint = Checkpoint::new("example.com/log", 0, EMPTY_ROOT);
            checkpoint.extensions.push(extension.into());
            assert!(checkpoint.sign(&key).is_err(), "{extension:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(\\PC{0,20}\n){0,5}\\PC{0,5}") {
            if let Ok(checkpoint) = text.parse::<Checkpoint>() {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }

        #[test]
        fn checkpoints_round_trip(origin in "[^\n\\pC]{1,40}", size: u64, root: [u8; 32]) {
            let checkpoint = Checkpoint::new(origin, size, Hash(root));
            prop_assert_eq!(checkpoint.to_string().parse::<Checkpoint>().unwrap(), checkpoint);
        }
    }
}
