//! Who is asked for cosignatures before a checkpoint is published.

use crate::note::NoteSignature;

/// Gets cosignatures of witnesses on a checkpoint. The log knows nothing of how: no network here.
pub trait Cosigner: Send {
    /// Asks for cosignatures on a checkpoint, signed by the log, of a tree of `size` entries. Called on the publisher's
    /// thread when everything that the checkpoint covers is durable and its tiles can be read, and again once a publish
    /// interval while the answer was not [`Cosignatures::enough`]. Must return within a bounded time: publishing waits.
    ///
    /// # Errors
    /// The proof that this log signed something that it does not hold: a witness has more, or another history. The log
    /// stops then and signs nothing more.
    fn cosign(&mut self, checkpoint: &str, size: u64) -> Result<Cosignatures, String>;
}

/// What witnesses answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cosignatures {
    /// Their signatures, each verified.
    pub signatures: Vec<NoteSignature>,
    /// Whether nobody need be asked again for this checkpoint.
    pub enough: bool,
}
