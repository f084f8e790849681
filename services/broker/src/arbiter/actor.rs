//! Who acts, and what he may see.

use crate::identity::Caller;

/// Who acts: an agency by what stands for it, or the operator.
#[derive(Clone, Debug)]
pub struct Actor {
    /// As records name it.
    pub name: String,
    /// Code of the agency; empty for the operator.
    pub agency: String,
    /// Whether it sees all.
    pub sees_all: bool,
}

impl Actor {
    /// The actor behind a caller; none for one who is nobody.
    pub fn of(caller: &Caller) -> Option<Actor> {
        let agency = |name: String, agency: &String| Actor { name, agency: agency.clone(), sees_all: false };
        let person = |subject: &String| Actor {
            name: format!("operators/{subject}"),
            agency: String::new(),
            sees_all: true,
        };
        match caller {
            Caller::Node { name, agency: code } | Caller::System { name, agency: code } => {
                Some(agency(name.clone(), code))
            }
            Caller::Officer { subject, agency: code } => {
                Some(agency(format!("agencies/{code}/officers/{subject}"), code))
            }
            Caller::Head { subject, agency: code } => {
                Some(agency(format!("agencies/{code}/heads/{subject}"), code))
            }
            Caller::Operator { subject } | Caller::Auditor { subject } | Caller::Steward { subject } => {
                Some(person(subject))
            }
            Caller::Console { .. } | Caller::Anonymous { .. } => None,
        }
    }

    /// Whether it acts for this agency.
    pub(super) fn is(&self, code: &str) -> bool {
        !self.agency.is_empty() && self.agency == code
    }
}

/// Whether the actor may see what is between these two.
pub(super) fn sees(actor: &Actor, one: &str, other: &str) -> bool {
    actor.sees_all || actor.is(one) || actor.is(other)
}
