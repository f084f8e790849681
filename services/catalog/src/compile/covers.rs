//! Does an entry, as two persons signed it, cover what a bundle says in its name? What a node asks before it believes a
//! right: a bundle may grant less than the entry, never more.

use std::sync::LazyLock;

use lienthong_proto::lienthong::control::v1::{Dataset, Right, RightOrigin};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose, Sharing};

use super::{seconds, timestamp};
use crate::catalog::{Entry, EntryStatus, Fields, Selector};
use crate::code;

/// What the National General Database may have.
static EVERYTHING: LazyLock<Fields> =
    LazyLock::new(|| Fields { granted: vec!["*".to_owned()], ..Fields::default() });

impl Entry {
    /// Whether the entry covers a dataset's terms.
    ///
    /// # Errors
    /// What goes beyond it.
    pub fn covers_dataset(&self, dataset: &Dataset) -> Result<(), &'static str> {
        let age = self.bundle_age_max();
        let age_given = dataset.bundle_age_max.unwrap_or_default();
        first(&[
            (dataset.id == self.dataset_id && dataset.provider == self.provider_code, "another dataset"),
            (dataset.entry == self.versioned_id(), "another version"),
            (self.status.is_in_force(), "an entry that is not in force"),
            (dataset.release_gate() == self.release_gate, "another release gate"),
            (dataset.decision_mode() == self.decision, "another way to decide"),
            (dataset.min_security_level >= self.min_security_level, "a lower security level"),
            (age_given.seconds <= seconds(age).seconds, "older rights than it allows"),
        ])
    }

    /// Whether the entry covers a right. Which agencies a class such as `LOCAL.ALL` means is the registry's word;
    /// `is_sensitive` tells of a field whether `*` leaves it out.
    ///
    /// # Errors
    /// What goes beyond it.
    pub fn covers(&self, right: &Right, is_sensitive: &dyn Fn(&str) -> bool) -> Result<(), &'static str> {
        // The National General Database synchronises whatever the entry lists the method for; whose it is, the
        // registry says.
        let national = right.purpose() == Purpose::NationalSync
            && right.methods == [i32::from(MethodKind::SyncToNationalDb)]
            && self.methods.contains(&MethodKind::SyncToNationalDb);
        let fields = match self.purposes.get(&right.purpose()) {
            Some(fields) => fields,
            None if national => &EVERYTHING,
            None => return Err("another purpose"),
        };
        let method =
            |kind| self.methods.contains(&kind) && (national || kind != MethodKind::SyncToNationalDb);
        let any = fields.granted.iter().any(|field| field == "*");
        let granted =
            |field: &String| fields.granted.contains(field) || any && field != "*" && !is_sensitive(field);
        let open = right.origin() == RightOrigin::Open;
        let after = |a: &prost_types::Timestamp, b: &prost_types::Timestamp| {
            (a.seconds, a.nanos) >= (b.seconds, b.nanos)
        };
        let (from, to) = (timestamp(self.valid_from()), self.valid_to().map(timestamp));
        first(&[
            (right.dataset == self.dataset_id && right.provider == self.provider_code, "another dataset"),
            (self.status.is_in_force(), "an entry that is not in force"),
            (self.status != EntryStatus::Suspended || right.suspended, "a suspended entry"),
            (right.fields.iter().all(granted), "more fields"),
            (
                right.masked_fields.iter().all(|field| fields.masked.contains(field) || granted(field)),
                "more masked fields",
            ),
            (right.methods().all(method), "another method"),
            (
                fields.condition.is_empty() || right.condition == fields.condition,
                "rows without the condition",
            ),
            (
                self.calls_per_minute_max == 0
                    || (1..=self.calls_per_minute_max).contains(&right.calls_per_minute_max),
                "more calls",
            ),
            (right.valid_from.as_ref().is_some_and(|start| after(start, &from)), "an earlier beginning"),
            (
                to.as_ref().is_none_or(|end| right.valid_to.as_ref().is_some_and(|given| after(end, given))),
                "a later end",
            ),
            (!open || self.classification.sharing == Sharing::Open, "data that is not open"),
            (!right.consumer.is_empty() || open, "every agency"),
            (national || right.consumer.is_empty() || self.may_mean(&right.consumer), "another consumer"),
        ])
    }

    fn may_mean(&self, consumer: &str) -> bool {
        self.mandatory_consumers.iter().any(|selector| match selector {
            Selector::Code(code) => consumer == code,
            Selector::Subtree(ancestor) => code::is_within(consumer, ancestor),
            Selector::All | Selector::Ministries | Selector::Local | Selector::Sector(_) => {
                code::is_state_code(consumer) || code::is_other_scheme_code(consumer)
            }
        })
    }
}

fn first(claims: &[(bool, &'static str)]) -> Result<(), &'static str> {
    claims.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, beyond)| Err(*beyond))
}
