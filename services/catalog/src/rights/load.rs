//! From a bundle to its index.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use lienthong_proto::lienthong::control::v1::{Right, RightsBundle};

use super::identities::Identities;
use super::{IDENTITIES_MAX, Index, PROBLEMS_MAX, RIGHTS_MAX, RulesCache, SubsetPlans, rows, served};

/// Number of the next index.
static INDEXES: AtomicU64 = AtomicU64::new(0);

/// Why a bundle was refused whole. The node goes on with the bundle it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The header says not what the bundle is.
    #[error("the rights bundle names no {0}; have the broker make it anew")]
    Header(&'static str),
    /// More than the index takes in.
    #[error("the rights bundle {0}")]
    TooMany(#[from] TooMany),
    /// A name that must be unique is not.
    #[error("the rights bundle holds {what} {name} twice; have the broker make it anew")]
    Twice {
        /// What.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A node or system of nobody.
    #[error("{name} belongs to {agency}, which is no party of the rights bundle (R-34)")]
    Orphan {
        /// Resource name.
        name: String,
        /// Code of its party, as written.
        agency: String,
    },
    /// A certificate that stands for two identities, or for none.
    #[error("the certificate of {name} is {fault} (R-34); correct the binding in the registry")]
    Certificate {
        /// Resource name.
        name: String,
        /// What is wrong.
        fault: &'static str,
    },
}

/// More than a bundle may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("holds {given} {what}; at most {max} are taken in")]
pub struct TooMany {
    /// What there are too many of.
    pub what: &'static str,
    /// How many were given.
    pub given: usize,
    /// Bound.
    pub max: usize,
}

/// Whether every node would take as much as this bundle holds: asked by the broker before it publishes one, and by the node.
pub(super) fn check_counts(bundle: &RightsBundle) -> Result<(), TooMany> {
    for (what, given, max) in [
        ("parties", bundle.parties.len(), IDENTITIES_MAX),
        ("nodes", bundle.nodes.len(), IDENTITIES_MAX),
        ("systems", bundle.systems.len(), IDENTITIES_MAX),
        ("datasets", bundle.datasets.len(), IDENTITIES_MAX),
        ("rights", bundle.rights.len(), RIGHTS_MAX),
    ] {
        if given > max {
            return Err(TooMany { what, given, max });
        }
    }
    Ok(())
}

/// Indexes a bundle; what it has in common with `before`, the one that it takes the place of, is taken over where reading it
/// costs more than comparing it.
pub(super) fn index(bundle: &RightsBundle, before: Option<&Index>) -> Result<Index, BundleError> {
    check_header(bundle)?;
    let mut problems = Problems::default();
    let identities = Identities::read(bundle, &mut problems)?;
    let models = served::contracts(&bundle.contracts, before, &mut problems)?;
    let guardrails = served::guardrails(&bundle.guardrails, &mut problems)?;
    let (mut datasets, slots) =
        served::datasets(&bundle.datasets, &models, &identities, &guardrails, &mut problems)?;
    let own = bundle.nodes.iter().find(|node| node.name == bundle.audience);
    let agency = own.map(|node| node.agency.as_str());
    let rights = rows::table(&bundle.rights, &mut datasets, &slots, &identities, agency, &mut problems);
    let (methods, methods_by_path) = served::methods(&models, &datasets, &slots, &mut problems);
    Ok(Index {
        number: INDEXES.fetch_add(1, Ordering::Relaxed),
        mesh: bundle.mesh.clone(),
        audience: bundle.audience.clone(),
        epoch: bundle.epoch,
        issue_time: bundle.issue_time.unwrap_or_default(),
        identities,
        contracts: bundle.contracts.clone(),
        models,
        datasets,
        methods,
        methods_by_path,
        rights,
        subset_plans: SubsetPlans::default(),
        rules: RulesCache::default(),
        refusals: refusals(&bundle.rights),
        problems: problems.into_list(),
    })
}

/// What a suspended right is refused by; nothing for those that the operator has suspended.
fn refusals(rights: &[Right]) -> HashMap<String, String> {
    let refused = rights.iter().filter(|right| right.suspended && !right.suspended_by.is_empty());
    let words = |right: &Right| format!("{}: {}", right.suspended_by, right.suspended_reason);
    refused.map(|right| (right.id.clone(), words(right))).collect()
}

fn check_header(bundle: &RightsBundle) -> Result<(), BundleError> {
    for (name, missing) in [
        ("mesh", bundle.mesh.is_empty()),
        ("audience", bundle.audience.is_empty()),
        ("epoch", bundle.epoch == 0),
    ] {
        if missing {
            return Err(BundleError::Header(name));
        }
    }
    Ok(check_counts(bundle)?)
}

/// What was left out of an index, and why; the first [`PROBLEMS_MAX`] in words, the rest as a number.
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: Vec<String>,
    more: usize,
}

impl Problems {
    pub(super) fn note(&mut self, problem: String) {
        if self.kept.len() < PROBLEMS_MAX {
            self.kept.push(problem);
        } else {
            self.more += 1;
        }
    }

    fn into_list(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("and {} more", self.more));
        }
        self.kept
    }
}
