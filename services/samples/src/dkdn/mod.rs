//! The business register (`dkdn.doanh_nghiep`), as the sample agency G12 runs it.
//!
//! [`rows`] are the fake enterprises, [`register`] answers questions about them, [`service`] is the gRPC edge.

pub mod register;
pub mod rows;
pub mod service;

pub use register::{Register, RegisterError};
pub use service::EnterpriseBackend;
