//! What passes between two applications beside their messages: the declaration of a dataset, in the form that each
//! call asks (design, Metadata).

use std::collections::BTreeSet;

use lienthong_proto::lienthong::options::v1::ApplicationMetadata as Declared;
use prost_reflect::{Kind, MessageDescriptor};

use super::ContractDataset;
use crate::finding::Finding;

/// Longest key of application metadata, bytes.
pub const METADATA_KEY_BYTES_MAX: usize = 64;
/// Keys that a dataset may declare for one direction.
pub const METADATA_KEYS_MAX: usize = 64;
/// Types of status details that a dataset may declare.
pub const STATUS_DETAILS_MAX: usize = 32;
/// Longest full name of a message, bytes.
const MESSAGE_NAME_BYTES_MAX: usize = 256;

/// The rule that all findings of this file stand under.
const RULE: &str = "design: metadata";

/// Beginnings of keys that belong to somebody else: the mesh, gRPC, proxies on the way, HTTP/2.
const RESERVED_PREFIXES: [&str; 6] = ["mesh-", "grpc-", "proxy-", "x-forwarded-", "http2-", "sec-"];

/// Keys that say who somebody is, or that HTTP, gRPC and tracing keep for themselves (RFC 9110, RFC 9113 section 8.2.2,
/// gRPC over HTTP/2, W3C Trace Context). Sorted.
const RESERVED_KEYS: [&str; 29] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "priority",
    "range",
    "server",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "www-authenticate",
    "x-real-ip",
];

/// Messages that hold messages of any type, so that naming them would declare nothing.
const HOLDS_ANYTHING: [&str; 2] = ["google.protobuf.Any", "google.rpc.Status"];

/// What may pass beside the messages of a dataset. The default lets nothing pass; what must not be declared does not
/// pass either, whoever declared it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationMetadata {
    /// Sorted.
    request_keys: Box<[Box<str>]>,
    /// Sorted.
    response_keys: Box<[Box<str>]>,
    status_message: bool,
    /// Sorted.
    status_details: Box<[Box<str>]>,
}

impl ApplicationMetadata {
    /// True where this key (lower case, a binary one with its suffix `-bin`) passes from the consumer's application to
    /// the provider's.
    pub fn passes_request(&self, key: &str) -> bool {
        holds(&self.request_keys, key)
    }

    /// True where this key passes from the provider's application to the consumer's, before its first message or with
    /// its last words.
    pub fn passes_response(&self, key: &str) -> bool {
        holds(&self.response_keys, key)
    }

    /// True where the status message of the provider's application passes.
    pub fn passes_status_message(&self) -> bool {
        self.status_message
    }

    /// True where a status detail passes: the full name of its message, without the host that a type URL begins with.
    pub fn passes_detail(&self, full_name: &str) -> bool {
        holds(&self.status_details, full_name)
    }

    /// True where no key passes with a request.
    pub fn request_is_empty(&self) -> bool {
        self.request_keys.is_empty()
    }

    /// True where nothing passes with a response: no key, no status message, no detail.
    pub fn response_is_empty(&self) -> bool {
        self.response_keys.is_empty() && !self.status_message && self.status_details.is_empty()
    }
}

impl From<&Declared> for ApplicationMetadata {
    fn from(declared: &Declared) -> Self {
        Self {
            request_keys: sorted(&declared.request_keys, METADATA_KEYS_MAX, |key| {
                fault_of_key(key).is_none()
            }),
            response_keys: sorted(&declared.response_keys, METADATA_KEYS_MAX, |key| {
                fault_of_key(key).is_none()
            }),
            status_message: declared.status_message,
            status_details: sorted(&declared.status_details, STATUS_DETAILS_MAX, |name| {
                fault_of_detail(name, None).is_none()
            }),
        }
    }
}

/// What is wrong with the declaration of a dataset.
pub(super) fn lint(dataset: &ContractDataset, findings: &mut Vec<Finding>) {
    let Some(declared) = &dataset.options.application_metadata else { return };
    let record = &dataset.record;
    let key = |key: &str| fault_of_key(key);
    let detail = |name: &str| fault_of_detail(name, Some(record));
    list(record, "request_keys", &declared.request_keys, METADATA_KEYS_MAX, key, findings);
    list(record, "response_keys", &declared.response_keys, METADATA_KEYS_MAX, key, findings);
    list(record, "status_details", &declared.status_details, STATUS_DETAILS_MAX, detail, findings);
}

/// One list of a declaration: its length, and each of its names.
fn list(
    record: &MessageDescriptor,
    what: &str,
    names: &[String],
    names_max: usize,
    fault: impl Fn(&str) -> Option<Fault>,
    findings: &mut Vec<Finding>,
) {
    let mut error = |message: String, remedy| {
        findings.push(Finding::error(record.full_name(), RULE, format!("{what}: {message}"), remedy));
    };
    if names.len() > names_max {
        error(format!("{} are declared; at most {names_max} may be", names.len()), "declare fewer");
        return;
    }
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            error(format!("{name:?} is declared twice"), "declare it once");
        } else if let Some(Fault { message, remedy }) = fault(name) {
            error(format!("{name:?} {message}"), remedy);
        }
    }
}

/// Why a name may not be declared.
struct Fault {
    message: &'static str,
    remedy: &'static str,
}

fn fault_of_key(key: &str) -> Option<Fault> {
    let is_form = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'_' | b'.' | b'-');
    if key.is_empty() || key.len() > METADATA_KEY_BYTES_MAX || !key.bytes().all(is_form) {
        return Some(Fault {
            message: "is no key of gRPC metadata",
            remedy: "write 1 to 64 of [0-9a-z_.-], lower case as on the wire",
        });
    }
    let is_reserved = RESERVED_KEYS.binary_search(&key).is_ok()
        || RESERVED_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    is_reserved.then_some(Fault {
        message: "never crosses the mesh: it is kept for identities, proxies, HTTP, gRPC or the mesh itself",
        remedy: "use a key of the application's own, for example x-<application>-<name>",
    })
}

/// `record` knows the messages of its own contract, where their fields can be looked at.
fn fault_of_detail(name: &str, record: Option<&MessageDescriptor>) -> Option<Fault> {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if name.len() > MESSAGE_NAME_BYTES_MAX || !name.split('.').all(is_part) {
        return Some(Fault {
            message: "is no full name of a message",
            remedy: "write package and message, for example google.rpc.BadRequest",
        });
    }
    let known = record.and_then(|record| record.parent_pool().get_message_by_name(name));
    let nests = HOLDS_ANYTHING.contains(&name) || known.is_some_and(|message| holds_any(&message));
    nests.then_some(Fault {
        message: "holds messages of any type",
        remedy: "name the messages themselves that may pass",
    })
}

/// True where a message, or one inside it, has a field of type `google.protobuf.Any`.
fn holds_any(message: &MessageDescriptor) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![message.clone()];
    while let Some(message) = waiting.pop() {
        if message.full_name() == HOLDS_ANYTHING[0] {
            return true;
        }
        if seen.insert(message.full_name().to_owned()) {
            waiting.extend(message.fields().filter_map(|field| match field.kind() {
                Kind::Message(inside) => Some(inside),
                _ => None,
            }));
        }
    }
    false
}

fn sorted(names: &[String], names_max: usize, good: impl Fn(&str) -> bool) -> Box<[Box<str>]> {
    let names: BTreeSet<&str> =
        names.iter().take(names_max).map(String::as_str).filter(|name| good(name)).collect();
    names.into_iter().map(Box::from).collect()
}

fn holds(names: &[Box<str>], name: &str) -> bool {
    names.binary_search_by(|known| (**known).cmp(name)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reserved_keys_can_be_searched() {
        assert!(RESERVED_KEYS.is_sorted());
        for key in RESERVED_KEYS {
            assert!(fault_of_key(key).is_some(), "{key}");
        }
        for prefix in RESERVED_PREFIXES {
            assert!(fault_of_key(&format!("{prefix}x")).is_some(), "{prefix}");
        }
    }

    proptest! {
        #[test]
        fn what_is_declared_passes_and_nothing_else(
            request in prop::collection::vec("[a-z0-9_.-]{1,8}", 0..20),
            response in prop::collection::vec("[a-z0-9_.-]{1,8}", 0..20),
            asked in "[a-z0-9_.-]{1,8}",
        ) {
            let declared = Declared { request_keys: request, response_keys: response, ..Declared::default() };
            let made = ApplicationMetadata::from(&declared);
            for key in declared.request_keys.iter().chain([&asked]) {
                let passes = declared.request_keys.contains(key) && fault_of_key(key).is_none();
                prop_assert_eq!(made.passes_request(key), passes);
            }
            for key in declared.response_keys.iter().chain([&asked]) {
                let passes = declared.response_keys.contains(key) && fault_of_key(key).is_none();
                prop_assert_eq!(made.passes_response(key), passes);
            }
            prop_assert!(!made.passes_status_message() && !made.passes_detail("google.rpc.BadRequest"));
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC{0,80}") {
            let _ = fault_of_key(&text);
            let _ = fault_of_detail(&text, None);
        }
    }
}
