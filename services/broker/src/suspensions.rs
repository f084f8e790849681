//! Rights that a lawful refusal suspends: told to both nodes with their next bundle.

use std::collections::BTreeMap;

use lienthong_proto::lienthong::control::v1::{Right, RightOrigin};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::lienthong::registry::v1::{Refusal, RefusalState};

/// The refusals that suspend, by provider, dataset and consumer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suspensions(BTreeMap<(String, String, String), Vec<Suspension>>);

#[derive(Clone, Debug, PartialEq)]
struct Suspension {
    purpose: Purpose,
    refusal: String,
    reason: String,
}

impl Suspensions {
    /// Those of the refusals that suspend.
    pub fn of<'r>(refusals: impl IntoIterator<Item = &'r Refusal>) -> Suspensions {
        let mut suspensions = Suspensions::default();
        let suspending = refusals.into_iter().filter(|refusal| refusal.state() == RefusalState::Suspending);
        for refusal in suspending {
            let key = (refusal.provider.clone(), refusal.dataset.clone(), refusal.consumer.clone());
            suspensions.0.entry(key).or_default().push(Suspension {
                purpose: refusal.purpose(),
                refusal: refusal.name.clone(),
                reason: refusal.reason.clone(),
            });
        }
        suspensions
    }

    /// Marks a right that one of them suspends. What an agency has created itself, and what is open, nobody suspends.
    pub fn mark(&self, right: &mut Right) {
        if right.origin() == RightOrigin::Open {
            return;
        }
        let key = (right.provider.clone(), right.dataset.clone(), right.consumer.clone());
        let found = self.0.get(&key).into_iter().flatten();
        let mut meant = found.filter(|one| [Purpose::Unspecified, right.purpose()].contains(&one.purpose));
        if let Some(suspension) = meant.next() {
            right.suspended = true;
            right.suspended_by.clone_from(&suspension.refusal);
            right.suspended_reason.clone_from(&suspension.reason);
        }
    }
}
