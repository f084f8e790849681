//! A finding: what lint or compile noticed, with the rule behind it and what to do.

use std::fmt;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// What it concerns cannot be published, or compiles to nothing.
    Error,
    /// It works; somebody should look.
    Warning,
}

/// One finding. Ordered by severity, then subject, so that lists read the same each time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How grave.
    pub severity: Severity,
    /// What it is about: a proto element, a dataset, an entry.
    pub subject: String,
    /// Rule of the domain, for example `R-22`.
    pub rule: &'static str,
    /// What is the case.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Finding {
    /// A finding that forbids.
    pub fn error(
        subject: impl Into<String>,
        rule: &'static str,
        message: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self { severity: Severity::Error, subject: subject.into(), rule, message: message.into(), remedy }
    }

    /// A finding that only tells.
    pub fn warning(
        subject: impl Into<String>,
        rule: &'static str,
        message: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self { severity: Severity::Warning, subject: subject.into(), rule, message: message.into(), remedy }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}: {}: {}; {}", self.subject, self.rule, self.message, self.remedy)
    }
}
