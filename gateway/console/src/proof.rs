//! "Verified now": a record that the broker gave, against the log's checkpoint; computed here, with the keys of the mesh trust
//! file, each time a page is shown.

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::merkle::verify_inclusion;
use lienthong_audit::policy::{Accepted, Policy};
use lienthong_proto::lienthong::audit::v1::FoundRecord;

/// A checkpoint that came with an answer, judged.
#[derive(Debug)]
pub struct Judged {
    accepted: Result<Accepted, String>,
    /// Whether as many witnesses cosigned it as the trust file asks for.
    pub cosigned: bool,
}

impl Judged {
    /// Judges a checkpoint by whom it is signed.
    pub fn new(policy: &Policy, checkpoint: &str) -> Self {
        let accepted = policy.judge_signer(checkpoint).map_err(|error| error.to_string());
        let cosigned = accepted.is_ok() && policy.judge(checkpoint).is_ok();
        Self { accepted, cosigned }
    }

    /// The checkpoint, if one of the log's keys signed it; else why it is not believed.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn checkpoint(&self) -> Result<&Checkpoint, &str> {
        self.accepted.as_ref().map(|accepted| &accepted.checkpoint).map_err(String::as_str)
    }

    /// Names of the witnesses that cosigned it.
    pub fn witnesses(&self, policy: &Policy) -> Vec<String> {
        let cosigned = self.accepted.iter().flat_map(|accepted| &accepted.cosigned);
        cosigned
            .filter_map(|one| policy.witnesses().get(one.witness))
            .map(|witness| String::from_utf8_lossy(&witness.name).into_owned())
            .collect()
    }

    /// Whether a record stands in the log at its place, under this checkpoint.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn holds(&self, found: &FoundRecord) -> Result<(), String> {
        let checkpoint = self.checkpoint().map_err(str::to_owned)?;
        let path: Option<Vec<Hash>> =
            found.path.iter().map(|hash| hash.as_slice().try_into().ok().map(Hash)).collect();
        let path = path.ok_or("a hash of the proof does not have 32 bytes")?;
        verify_inclusion(&leaf_hash(&found.entry), found.index, checkpoint.size, &path, &checkpoint.root)
            .map_err(|error| error.to_string())
    }
}
