//! Who this process is and how it feels.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who a process is, for its pages and its answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// `broker`, `node`, `gateway` or `backend`.
    pub role: String,
    /// Id of the mesh it belongs to.
    pub mesh: String,
    /// Whether it accepts development certificates, which everyone must be able to see (design §6, *Development things*).
    pub development: bool,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whether it is as it should be.
    pub ok: bool,
    /// In a few words why, for an operator.
    pub detail: String,
}

impl Check {
    /// As it should be.
    pub fn ok(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into() }
    }

    /// Not as it should be: this process must not be given work.
    pub fn failing(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: detail.into() }
    }
}

/// A question about the present state; answers at once, from memory.
type Question = dyn Fn() -> Check + Send + Sync;

/// Who this process is, and the checks that tell how it feels. Clones share the checks.
#[derive(Clone)]
pub struct Health {
    identity: Identity,
    checks: Vec<(&'static str, Arc<Question>)>,
}

impl Health {
    /// A process without checks, which is always ready.
    pub fn new(identity: Identity) -> Self {
        Self { identity, checks: Vec::new() }
    }

    /// Adds the check `name`. It is asked on every request: it must answer at once, without I/O.
    #[must_use]
    pub fn check(mut self, name: &'static str, question: impl Fn() -> Check + Send + Sync + 'static) -> Self {
        self.checks.push((name, Arc::new(question)));
        self
    }

    /// Who this process is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Asks every check now.
    pub fn report(&self) -> HealthReport {
        let checks: Vec<CheckReport> = self
            .checks
            .iter()
            .map(|(name, question)| {
                let Check { ok, detail } = question();
                CheckReport { name, ok, detail }
            })
            .collect();
        HealthReport {
            identity: self.identity.clone(),
            version: VERSION,
            ok: checks.iter().all(|check| check.ok),
            checks,
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.checks.iter().map(|(name, _)| name).collect();
        f.debug_struct("Health").field("identity", &self.identity).field("checks", &names).finish()
    }
}

/// What `/health` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Who.
    #[serde(flatten)]
    pub identity: Identity,
    /// The version of this build.
    pub version: &'static str,
    /// Whether every check is as it should be.
    pub ok: bool,
    /// Every check, in the order in which they were added.
    pub checks: Vec<CheckReport>,
}

/// One check in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Its name.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// In a few words why.
    pub detail: String,
}
