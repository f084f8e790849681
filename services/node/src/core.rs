//! One traffic thread: what belongs to it alone, beside what it shares with the others.

use std::sync::{Arc, Mutex};

use lienthong_audit::journal::Handle;
use lienthong_proto::{reason::Reason, status::MeshError};

use crate::{looks::Looks, node::Node, upstream::Upstreams};

/// A traffic thread.
pub struct Core {
    /// What all threads share.
    pub node: Arc<Node>,
    /// This thread's way into the journal.
    pub journal: Handle,
    /// This thread's connections.
    pub upstreams: Upstreams,
    /// Where the consumer's node puts what the filter would keep, while it counts; it sends the original on.
    pub scratch: Mutex<Vec<u8>>,
    /// How much this thread looks at records.
    pub looks: Looks,
}

impl Core {
    /// Random bytes; without them nothing can be put on record, so nothing is released.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], MeshError> {
        let mut bytes = [0; N];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| MeshError::new(Reason::DenyAuditUnavailable, "the system gives no random bytes"))?;
        Ok(bytes)
    }
}
