//! A call to be asked about, and the decision about it.

use std::time::Duration;

use lienthong_proto::lienthong::audit::v1::{Exchange, PurposeSource};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::reason::Reason;
use time::OffsetDateTime;

use crate::decide::{Question, decide};
use crate::purpose;
use crate::rights::{Resolution, RightsIndex};

/// A call as a node judges it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// Code of the consumer.
    pub consumer: String,
    /// Resource name of its system; empty: none in particular.
    pub system: String,
    /// Code of the provider; empty: the one that serves the method.
    pub provider: String,
    /// gRPC path.
    pub method: String,
    /// Purpose; unspecified: none was stated.
    pub purpose: Purpose,
    /// Where the purpose came from.
    pub purpose_source: PurposeSource,
    /// Fields asked for by name; empty: all that are granted.
    pub fields: Vec<String>,
    /// Dossier code; empty: none.
    pub dossier: String,
    /// Opaque id of the end user; empty: none.
    pub user: String,
    /// When.
    pub time: OffsetDateTime,
}

impl Call {
    /// The call that an exchange on record was.
    pub fn of_exchange(exchange: &Exchange, time: OffsetDateTime) -> Self {
        Self {
            consumer: exchange.consumer.clone(),
            system: exchange.system.clone(),
            provider: exchange.provider.clone(),
            method: exchange.method.clone(),
            purpose: exchange.purpose(),
            purpose_source: exchange.purpose_source(),
            fields: exchange.fields_requested.clone(),
            dossier: exchange.dossier.clone(),
            user: exchange.user.clone(),
            time,
        }
    }
}

/// The decision about a call, by its own rights alone: data, quotas and the age of a node's rights have no part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Permitted.
    Permitted {
        /// Id of the deciding right.
        right: String,
        /// Ids of the fields that may be released, sorted.
        fields: Vec<String>,
        /// Condition on the rows, in Cedar, that the data must meet besides; empty: every row.
        condition: String,
    },
    /// Denied.
    Denied {
        /// Reason of the closed list.
        reason: Reason,
        /// Rule behind it.
        rule: &'static str,
        /// What exactly.
        detail: String,
        /// The right that came closest; empty without one.
        right: String,
    },
}

impl Outcome {
    /// True where the call is permitted.
    pub fn is_permitted(&self) -> bool {
        matches!(self, Self::Permitted { .. })
    }
}

/// Decides a call by an edition of the rights.
pub fn judge(rights: &RightsIndex, call: &Call) -> Outcome {
    let unknown = |detail: String| Outcome::Denied {
        reason: Reason::DenyUnknownMethod,
        rule: "R-01",
        detail,
        right: String::new(),
    };
    let provider = (!call.provider.is_empty()).then_some(call.provider.as_str());
    let method = match rights.method(&call.method, provider) {
        Resolution::One(method) => method,
        Resolution::Ambiguous(providers) => {
            return unknown(format!("several agencies serve it: {}", providers.join(", ")));
        }
        Resolution::Unknown => return unknown("nobody serves it".to_owned()),
    };
    let text = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
    let (system, dossier, user) = (text(&call.system), text(&call.dossier), text(&call.user));
    let question = Question {
        method: &method,
        consumer: &call.consumer,
        system: system.as_deref(),
        purpose: (call.purpose != Purpose::Unspecified).then(|| purpose::word(call.purpose)),
        place: None,
        purpose_source: call.purpose_source,
        requested_fields: (!call.fields.is_empty()).then(|| call.fields.iter().map(String::as_str).collect()),
        dossier: dossier.as_deref(),
        user: user.as_deref(),
        min_epoch: 0,
        now: call.time,
        rights_age: Duration::ZERO,
        clock_behind: false,
    };
    match decide(rights, &question) {
        Ok(permitted) => {
            let mut fields: Vec<String> = permitted.fields().map(str::to_owned).collect();
            fields.sort();
            Outcome::Permitted {
                right: permitted.right_id().to_owned(),
                fields,
                condition: permitted.condition().to_owned(),
            }
        }
        Err(denial) => Outcome::Denied {
            reason: denial.reason,
            rule: denial.rule,
            detail: denial.detail,
            right: denial.right.unwrap_or_default(),
        },
    }
}
