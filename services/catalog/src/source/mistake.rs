//! A mistake in a file: where, against which rule, and what to do.

use std::fmt;

use super::tree::Place;

/// One mistake. Ordered by file, line and column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, in characters, from 1.
    pub column: u64,
    /// Rule: `R-nn` of the domain; `yaml`, `key`, `type`, `format`, `nfc`, `id` or `reference` for the file itself.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Mistake {
    pub(super) fn new(
        file: &str,
        place: Place,
        rule: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            rule,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, rule, message, remedy } = self;
        write!(f, "{file}:{line}:{column}: {rule}: {message}; {remedy}")
    }
}

impl std::error::Error for Mistake {}
