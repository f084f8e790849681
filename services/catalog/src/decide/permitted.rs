//! The proof that a call was permitted: later steps of a call take it, and nothing but the decision makes it.

use std::sync::Arc;
use std::time::Duration;

use lienthong_filter::Plan;
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::lienthong::control::v1::{Dataset, Party, RightOrigin, System};
use lienthong_proto::lienthong::options::v1::{Purpose, ReleaseGate};

use crate::condition::RowScope;
use crate::condition::scope::Rules;
use crate::rights::{Method, Particulars, RightsIndex};

/// A permitted call, with everything that forwarding, release and record need of the decision.
#[derive(Debug, Clone)]
pub struct Permitted {
    pub(super) rights: RightsIndex,
    pub(super) method: u32,
    pub(super) consumer: u32,
    pub(super) system: Option<u32>,
    pub(super) right: u32,
    pub(super) purpose: Purpose,
    pub(super) purpose_source: PurposeSource,
    pub(super) plan: Arc<Plan>,
    pub(super) rules: Option<Arc<Rules>>,
    /// As the call stated them, where something binds its rows.
    pub(super) stated_system: Option<Box<str>>,
    pub(super) stated_dossier: Option<Box<str>>,
}

impl Permitted {
    /// Id of the deciding right.
    pub fn right_id(&self) -> &str {
        &self.particulars().id
    }

    /// What the record calls the grant: `right_id@epoch`.
    pub fn grant(&self) -> String {
        format!("{}@{}", self.right_id(), self.epoch())
    }

    /// Epoch of the rights that decided.
    pub fn epoch(&self) -> u64 {
        self.rights.epoch()
    }

    /// The method.
    pub fn method(&self) -> &Arc<Method> {
        &self.rights.0.methods[self.method as usize]
    }

    /// The dataset, as the bundle states it.
    pub fn dataset(&self) -> &Dataset {
        &self.rights.0.dataset_of(self.method()).declared
    }

    /// Code of the provider.
    pub fn provider(&self) -> &str {
        self.method().provider()
    }

    /// The consumer.
    pub fn consumer(&self) -> &Party {
        self.rights.0.identities.party_at(self.consumer)
    }

    /// The consumer's system, where the call named one.
    pub fn system(&self) -> Option<&System> {
        self.system.map(|slot| self.rights.0.identities.system_at(slot))
    }

    /// The purpose, stated or the system's default.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Where the purpose came from.
    pub fn purpose_source(&self) -> PurposeSource {
        self.purpose_source
    }

    /// The filter that each response message must pass.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Ids of the fields that may be released.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.plan.ids().iter().map(|id| &**id)
    }

    /// How old the rights, and the oldest record without a receipt, may be for this class of data.
    pub fn bundle_age_max(&self) -> Duration {
        self.rights.0.dataset_of(self.method()).bundle_age_max
    }

    /// True where the data is neither personal, core nor important: what may go on while the knowledge of revoked
    /// certificates is old.
    pub fn is_open_data(&self) -> bool {
        self.rights.0.dataset_of(self.method()).takes_default_purpose
    }

    /// Condition on the rows, in Cedar, that the data must meet besides; empty: every row.
    pub fn condition(&self) -> &str {
        let rights = &self.rights.0.rights;
        rights.condition(rights.row(self.right)).map_or("", |condition| condition.text())
    }

    /// What each request message must meet; `None` where nothing binds it.
    pub fn request_scope(&self) -> Option<RowScope> {
        self.rules.as_ref()?.request(self.stated_system.as_deref(), self.stated_dossier.as_deref())
    }

    /// What each record must meet; `None` where nothing binds it.
    pub fn record_scope(&self) -> Option<RowScope> {
        self.rules.as_ref()?.record(self.stated_system.as_deref(), self.stated_dossier.as_deref())
    }

    /// True where the same condition and the same guardrails bind both.
    pub fn is_bound_as(&self, other: &Self) -> bool {
        let guardrails =
            |permitted: &Self| permitted.rights.0.dataset_of(permitted.method()).guardrails.clone();
        self.condition() == other.condition()
            && guardrails(self)
                .iter()
                .map(|guardrail| guardrail.text())
                .eq(guardrails(other).iter().map(|guardrail| guardrail.text()))
    }

    /// What must be durable before a byte leaves; never unspecified.
    pub fn release_gate(&self) -> ReleaseGate {
        match self.rights.0.dataset_of(self.method()).release_gate {
            ReleaseGate::Unspecified => ReleaseGate::Journal,
            gate => gate,
        }
    }

    /// True where the backend call may overlap the opening write.
    pub fn has_no_side_effects(&self) -> bool {
        self.method().has_no_side_effects()
    }

    /// Where the right comes from.
    pub fn origin(&self) -> RightOrigin {
        self.particulars().origin
    }

    /// Instruments and articles of the right.
    pub fn legal_basis(&self) -> &[String] {
        let bases = &self.rights.0.rights.legal_bases;
        bases.get(self.particulars().legal_basis as usize).map_or(&[], Vec::as_slice)
    }

    /// Calls per minute and system that the right allows; 0: no quota.
    pub fn calls_per_minute_max(&self) -> u32 {
        self.particulars().calls_per_minute_max
    }

    fn particulars(&self) -> &Particulars {
        self.rights.0.rights.particulars(self.right)
    }
}
