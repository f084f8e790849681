//! One certificate explained to a person.
