//! A method that a node can forward, with everything that forwarding and deciding need.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use lienthong_filter::{Annotations as _, Plan};
use lienthong_proto::lienthong::options::v1::MethodKind;
use lienthong_quality::Checker;
use prost_reflect::{Kind, MessageDescriptor};

use crate::contract::{ApplicationMetadata, DeclaredAnnotations};

/// What a gRPC path, and perhaps a provider, stand for.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// This method.
    One(Arc<Method>),
    /// Several agencies serve the path: these. The call must say which one.
    Ambiguous(Vec<String>),
    /// Nobody serves it, as far as this node knows.
    Unknown,
}

/// A method of one provider.
#[allow(clippy::struct_excessive_bools, reason = "each says another thing of the contract")]
pub struct Method {
    pub(crate) slot: u32,
    pub(crate) dataset: u32,
    pub(crate) path: Box<str>,
    pub(crate) provider: Box<str>,
    pub(crate) dataset_id: Box<str>,
    pub(crate) kind: MethodKind,
    pub(crate) request: MessageDescriptor,
    pub(crate) response: MessageDescriptor,
    pub(crate) request_streaming: bool,
    pub(crate) response_streaming: bool,
    pub(crate) no_side_effects: bool,
    pub(crate) observe: Arc<Plan>,
    pub(crate) one_record: bool,
    pub(crate) application_metadata: ApplicationMetadata,
    /// Made when it is first asked for: most methods of a bundle are never called at its node.
    pub(crate) quality: OnceLock<Option<Checker>>,
    /// A release plan for each field list of the dataset, by its slot; none where the list does not fit.
    pub(crate) plans: Box<[Option<Arc<Plan>>]>,
}

impl Method {
    /// gRPC path, for example `/vn.dancu.v1.CitizenService/GetCitizen`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Code of the provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Id of the dataset whose records it carries.
    pub fn dataset_id(&self) -> &str {
        &self.dataset_id
    }

    /// How it exchanges them.
    pub fn kind(&self) -> MethodKind {
        self.kind
    }

    /// Request message.
    pub fn request(&self) -> &MessageDescriptor {
        &self.request
    }

    /// Response message.
    pub fn response(&self) -> &MessageDescriptor {
        &self.response
    }

    /// True where the consumer streams.
    pub fn is_request_streaming(&self) -> bool {
        self.request_streaming
    }

    /// True where the provider streams.
    pub fn is_response_streaming(&self) -> bool {
        self.response_streaming
    }

    /// True where the method declares `idempotency_level = NO_SIDE_EFFECTS`: the backend call may overlap the
    /// opening write.
    pub fn has_no_side_effects(&self) -> bool {
        self.no_side_effects
    }

    /// True where the answer is about one record, there or not: one message, in which nothing that holds a record is a
    /// list.
    pub fn answers_one_record(&self) -> bool {
        self.one_record
    }

    /// Collects the subjects of request messages.
    pub fn request_plan(&self) -> &Arc<Plan> {
        &self.observe
    }

    /// What its records are held to; `None` where the contract demands nothing of them.
    pub fn quality(&self) -> Option<&Checker> {
        self.quality.get_or_init(|| Checker::of(&self.response)).as_ref()
    }

    /// What may pass between the two applications beside their messages.
    pub fn application_metadata(&self) -> &ApplicationMetadata {
        &self.application_metadata
    }
}

/// True where a response holds at most one record.
pub(super) fn holds_one_record(response: &MessageDescriptor) -> bool {
    if DeclaredAnnotations.is_record_message(response) {
        return true;
    }
    let mut seen = HashSet::from([response.full_name().to_owned()]);
    let mut waiting = vec![response.clone()];
    while let Some(message) = waiting.pop() {
        for field in message.fields() {
            if let Kind::Message(inner) = field.kind() {
                let many = field.is_list() || field.is_map();
                let records =
                    DeclaredAnnotations.is_record(&field) || holds_record(&inner, &mut HashSet::new());
                if many && records {
                    return false;
                }
                if !DeclaredAnnotations.is_record(&field) && seen.insert(inner.full_name().to_owned()) {
                    waiting.push(inner);
                }
            }
        }
    }
    true
}

/// True where a record is somewhere inside this part of the envelope.
fn holds_record(message: &MessageDescriptor, seen: &mut HashSet<String>) -> bool {
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| {
            DeclaredAnnotations.is_record(&field)
                || matches!(field.kind(), Kind::Message(inner) if holds_record(&inner, seen))
        })
}

impl std::fmt::Debug for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Method({} of {})", self.path, self.provider)
    }
}
