//! Proofs for taking away: an entry is in a log, checkable with no network (C2SP tlog-proof, `.tlog-proof`).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, parse_decimal};
use crate::hash::Hash;
use crate::merkle::{self, PROOF_HASHES_MAX, ProofError};
use crate::note::Note;
use crate::policy::{Accepted, Policy, PolicyError};

/// The longest proof that is read, in bytes: a note, a path, and 64 KiB of extra data.
pub const PROOF_BYTES_MAX: usize = crate::note::NOTE_BYTES_MAX + 128 * 1024;

/// An inclusion proof together with the checkpoint that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque data of the application. Not authenticated: nothing in the proof vouches for it.
    pub extra: Option<Vec<u8>>,
    /// The index of the entry, counted from 0.
    pub index: u64,
    /// The audit path, from the leaf's sibling up (RFC 6962 §2.1.1).
    pub path: Vec<Hash>,
    /// The signed checkpoint, byte for byte as the log and its witnesses gave it.
    pub checkpoint: String,
}

impl TlogProof {
    /// Checks the whole chain: policy → checkpoint → root → `leaf` at the proof's index.
    pub fn verify(&self, leaf: &Hash, policy: &Policy) -> Result<Accepted, TlogProofError> {
        let accepted = policy.judge(&self.checkpoint)?;
        let Checkpoint { size, root, .. } = &accepted.checkpoint;
        merkle::verify_inclusion(leaf, self.index, *size, &self.path, root)?;
        Ok(accepted)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "{EXTRA}{}", STANDARD.encode(extra))?;
        }
        writeln!(f, "{INDEX}{}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    /// Reads a proof; verifies nothing, but its checkpoint is well formed.
    fn from_str(proof: &str) -> Result<Self, TlogProofError> {
        if proof.len() > PROOF_BYTES_MAX {
            return Err(TlogProofError::Malformed("it is too long"));
        }
        let (head, checkpoint) = proof
            .split_once("\n\n")
            .ok_or(TlogProofError::Malformed("there is no empty line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(MAGIC) {
            return Err(TlogProofError::Malformed("line 1 is not c2sp.org/tlog-proof@v1"));
        }
        let extra =
            match lines.next_if(|line| line.starts_with(EXTRA)).and_then(|line| line.strip_prefix(EXTRA)) {
                Some(extra) => Some(
                    STANDARD
                        .decode(extra)
                        .map_err(|_| TlogProofError::Malformed("the extra data is not base64"))?,
                ),
                None => None,
            };
        let index = lines.next().and_then(|line| line.strip_prefix(INDEX)).and_then(parse_decimal);
        let index =
            index.ok_or(TlogProofError::Malformed("there is no index line with a plain decimal number"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == PROOF_HASHES_MAX {
                return Err(TlogProofError::Malformed("its path is longer than any tree is high"));
            }
            path.push(
                Hash::from_base64(line)
                    .ok_or(TlogProofError::Malformed("a path line is not base64 of 32 bytes"))?,
            );
        }
        let note = checkpoint.parse::<Note>().map_err(CheckpointError::from)?;
        note.text().parse::<Checkpoint>()?;
        Ok(Self { extra, index, path, checkpoint: checkpoint.to_owned() })
    }
}

/// Why a proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlogProofError {
    /// Against the format.
    #[error("not a log proof: {0} (C2SP tlog-proof)")]
    Malformed(&'static str),
    /// The checkpoint inside cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The policy does not believe the checkpoint.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The path does not lead from the entry to the checkpoint.
    #[error(transparent)]
    Path(#[from] ProofError),
}

const MAGIC: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::leaf_hash;
    use crate::note::{KeyKind, SigningKey};

    fn key() -> SigningKey {
        SigningKey::from_seed("example.com/fancylog", KeyKind::Ed25519, &[3; 32]).unwrap()
    }

    fn leaves() -> Vec<Hash> {
        (0..37_u8).map(|number| leaf_hash(&[number])).collect()
    }

    fn proof(index: u64) -> TlogProof {
        let leaves = leaves();
        let checkpoint = Checkpoint::new("example.com/fancylog", 37, merkle::root_of(&leaves));
        let Ok(path) = merkle::inclusion_proof(index, 37, &leaves[..]);
        let checkpoint = checkpoint.sign(&key()).unwrap().to_string();
        TlogProof { extra: Some(b"more".to_vec()), index, path: path.unwrap(), checkpoint }
    }

    #[test]
    fn proofs_travel_as_text_and_verify() {
        let policy = Policy::for_log(key().verifier().clone());
        for (index, leaf) in (0..).zip(leaves()) {
            let read: TlogProof = proof(index).to_string().parse().unwrap();
            assert_eq!(read, proof(index));
            assert_eq!(read.verify(&leaf, &policy).unwrap().checkpoint.size, 37);
            assert!(matches!(read.verify(&leaf_hash(b"other"), &policy), Err(TlogProofError::Path(_))));
        }
        let stranger = SigningKey::generate("example.com/fancylog", KeyKind::Ed25519).unwrap();
        let refused = proof(0).verify(&leaves()[0], &Policy::for_log(stranger.verifier().clone()));
        assert!(matches!(refused, Err(TlogProofError::Policy(_))));
    }

    #[test]
    fn every_changed_byte_is_found_but_extra_data_is_not_authenticated() {
        let policy = Policy::for_log(key().verifier().clone());
        let text = proof(21).to_string();
        let extra = text.find("extra ").unwrap()..text.find("index").unwrap();
        for (at, _) in text.char_indices().filter(|(at, _)| !extra.contains(at)) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let outcome = changed.parse::<TlogProof>().and_then(|proof| proof.verify(&leaves()[21], &policy));
            assert!(outcome.is_err(), "byte {at}");
        }
    }

    #[test]
    fn malformed_proofs_are_refused() {
        let good = proof(5).to_string();
        assert!(good.parse::<TlogProof>().is_ok());
        assert!(good.replace("extra bW9yZQ==\n", "").parse::<TlogProof>().unwrap().extra.is_none());
        for (bad, why) in [
            (good.replace("@v1", "@v2"), "version"),
            (good.replace("index 5", "index 05"), "leading zero"),
            (good.replace("index 5\n", ""), "no index"),
            (good.replace("index 5\n", "index 5\nindex 5\n"), "two"),
            (good.replace("bW9yZQ==", "bW9yZQ"), "padding"),
            (good.replace("\n\n", "\n"), "no empty line"),
            (good.replace("\n37\n", "\n037\n"), "checkpoint"),
            (
                good.replace(
                    "index 5\n",
                    &format!("index 5\n{}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(66)),
                ),
                "path",
            ),
        ] {
            assert!(bad.parse::<TlogProof>().is_err(), "{why}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(junk in "\\PC{0,60}", at in 0..600_usize, cut in 0..600_usize) {
            let _ = junk.parse::<TlogProof>();
            let mut text = proof(5).to_string().into_bytes();
            let end = at.min(text.len());
            text.splice(end.min(cut)..end, junk.bytes());
            if let Ok(text) = String::from_utf8(text) && let Ok(proof) = text.parse::<TlogProof>() {
                prop_assert_eq!(proof.to_string(), text);
            }
        }
    }
}
