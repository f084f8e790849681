//! The population register (`dancu.cong_dan`, `dancu.xac_nhan_cu_tru`), as the sample agency G01 runs it.
//!
//! [`rows`] are the fake persons, [`register`] answers questions about them without any I/O or clock, [`service`] is
//! the thin gRPC edge.

pub mod register;
pub mod rows;
pub mod service;

pub use register::{Register, RegisterError, Resident};
pub use service::CitizenBackend;
