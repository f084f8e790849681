//! A decision on record, in words.

use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Exchange, Record};
use lienthong_proto::reason::Reason;

/// What a record says about a decision: the part that every party of the exchange may know, and the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// Whether the call was permitted. One that was permitted may still have failed.
    pub permitted: bool,
    /// Why there was no answer, or no whole one; `None` where there was, or where the record names a reason that this
    /// version does not know.
    pub reason: Option<Reason>,
    /// Rule, entry or right that decided.
    pub rule: String,
    /// For the operator alone: the detail of a denial.
    pub detail: &'a str,
    /// For the operator alone: the exchange as recorded.
    pub exchange: &'a Exchange,
}

/// Explains the decision that a record is about; `None` for a record that is about none.
pub fn explain(record: &Record) -> Option<Explanation<'_>> {
    let (exchange, reason, rule, detail, permitted) = match record.body.as_ref()? {
        Body::Opening(opening) => (opening.exchange.as_ref()?, "", "", "", true),
        Body::Closing(closing) => {
            let reason = Reason::from_name(&closing.reason);
            // What the data itself decided is decided after the opening; nothing was released then.
            let denied = reason.is_some_and(Reason::is_denial);
            (closing.exchange.as_ref()?, closing.reason.as_str(), "", "", !denied)
        }
        Body::Denial(denial) => (
            denial.exchange.as_ref()?,
            denial.reason.as_str(),
            denial.rule.as_str(),
            denial.detail.as_str(),
            false,
        ),
        _ => return None,
    };
    let reason = Reason::from_name(reason);
    let rule = match (rule, reason) {
        ("", Some(reason)) => reason.info().rule.to_owned(),
        ("", None) => exchange.right.clone(),
        (rule, _) => rule.to_owned(),
    };
    Some(Explanation { permitted, reason, rule, detail, exchange })
}
