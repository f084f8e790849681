//! The declarative catalog: YAML files, read with every mistake named by file, line, column and rule.

mod dictionary;

pub use dictionary::Dictionary;
