//! The connection trial (`thunghiem.ban_ghi`, dịch vụ thử nghiệm kết nối): every kind of call, on made-up records.
//!
//! An integrator's client is judged here before it asks a register: what it does with a status, a deadline, a slow
//! stream, a message of 8 MiB. The request itself says what to do ([`instruction`]), so that every behaviour of a
//! provider can be had on demand and again. Nothing that is sent is kept.
//!
//! [`records`] makes the records, [`watches`] counts calls and cancellations, [`echo`] sends metadata back,
//! [`service`] is the gRPC edge.

pub mod echo;
pub mod instruction;
pub mod records;
pub mod service;
pub mod watches;

pub use service::{TrialBackend, routes};
