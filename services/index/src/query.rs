//! A question: clauses that must all hold, each fulfilled by any of its wants, within a span of time.

use std::ops::Range;

use crate::row::Row;
use crate::term::Term;

/// What a record must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// This term.
    Exactly(Term),
    /// A term that begins so.
    Beginning(Term),
}

impl Want {
    /// Whether a term is wanted.
    pub fn accepts(&self, term: &Term) -> bool {
        match self {
            Self::Exactly(wanted) => term == wanted,
            Self::Beginning(wanted) => term.as_bytes().starts_with(wanted.as_bytes()),
        }
    }

    /// The first term that could be wanted.
    pub fn first(&self) -> &Term {
        let (Self::Exactly(wanted) | Self::Beginning(wanted)) = self;
        wanted
    }
}

/// Any of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clause(pub Vec<Want>);

impl Clause {
    /// Whether it asks for subjects. A clause never mixes subjects with other terms.
    pub fn is_subject(&self) -> bool {
        self.0.iter().any(|want| want.first().is_subject())
    }

    fn accepts(&self, row: &Row) -> bool {
        self.0.iter().any(|want| row.terms.iter().any(|term| want.accepts(term)))
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// All of them hold.
    pub clauses: Vec<Clause>,
    /// Milliseconds since 1970; `None`: at any time.
    pub times_ms: Option<Range<i64>>,
}

impl Query {
    /// Whether a row fulfils it.
    pub fn accepts(&self, row: &Row) -> bool {
        self.times_ms.as_ref().is_none_or(|times| times.contains(&row.time_ms))
            && self.clauses.iter().all(|clause| clause.accepts(row))
    }
}
