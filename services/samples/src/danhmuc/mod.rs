//! The code list of administrative units (`danhmuc.dvhc`), as the sample agency G09 runs it: open data.
//!
//! The real list is read from a file by [`mod@file`]; without one, [`sample`] stands in and says so in every name.
//! [`code_list`] answers questions about either, [`service`] is the gRPC edge.

pub mod code_list;
pub mod file;
pub mod sample;
pub mod service;

pub use code_list::{CodeList, CodeListError};
pub use file::{DvhcError, find, read};
pub use service::AdministrativeUnitBackend;
