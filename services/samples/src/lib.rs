//! The sample agencies: their backends, on visibly fake rows.
//!
//! **What.** Real gRPC servers, as agencies would run them behind their nodes: the population register (G01), the
//! business register (G12), the code list of administrative units (G09), and the connection trial on which integrators
//! try their clients. Every method of their contracts (`proto/samples/`) is answered for real. The folder `catalog/`
//! beside the sources holds the catalog that makes sharing this data mandatory.
//!
//! **Why.** A mesh is only believed once somebody has asked it a question. The demo, the tests and the first
//! afternoon of an integrator all need an agency that answers, and no register of a real person may serve for that:
//! persons are numbered from `999…`, companies from `99…`, which no issuing authority does. The one exception is
//! `danhmuc.dvhc`: administrative units are open data, and the real list is served when it is at hand.
//!
//! **What not.** No authorization and no audit: that is the node's work, and a backend knows only its node. The
//! backend reads the `mesh-*` metadata that its node adds, and writes them to its own log.
//!
//! | module | noun |
//! |---|---|
//! | [`backend`] | one agency's server: what it listens on, how it starts and stops |
//! | [`dancu`] | the population register |
//! | [`dkdn`] | the business register |
//! | [`danhmuc`] | the code list of administrative units, real or sample |
//! | [`thunghiem`] | the connection trial: every kind of call, on demand |
//! | [`page`] | page sizes and page tokens (AIP-158), the same for every list |
//! | [`caller`] | who asks, as the node says |
//! | [`catalog`] | the sample catalog as texts |

pub mod backend;
pub mod caller;
pub mod catalog;
pub mod dancu;
pub mod danhmuc;
pub mod dkdn;
pub mod page;
pub mod thunghiem;
