//! Every contract of the mesh, and the only generated code in the house.
//!
//! **What.** The messages and services of `lienthong.*.v1`, those of the sample agencies
//! (`vn.*.v1`), their descriptor sets, and the closed list of reasons with its texts.
//!
//! **Why here.** A contract is read by everybody and belongs to nobody's logic. Keeping generated
//! code in one crate keeps it out of every review but this one.
//!
//! **What not.** No decision, no transport, no storage: this crate knows nothing of the others.
//!
//! - [`descriptors`]: the descriptor sets, with the dataset options that prost drops.
//! - [`dynamic`]: messages by their descriptors, as tonic takes them.
//! - [`options`]: the dataset options, read from descriptors.
//! - [`reason`]: each reason's gRPC code, rule and texts.
//! - [`status`]: a reason as the gRPC status that a caller reads.

pub mod descriptors;
pub mod dynamic;
pub mod options;
pub mod reason;
pub mod status;

/// `lienthong.*.v1`: the mesh's own contracts.
#[allow(missing_docs, unused_qualifications, clippy::pedantic, clippy::all)] // generated; documented in the protos
pub mod lienthong {
    /// Dataset options and the words of the law.
    pub mod options {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("lienthong.options.v1");
        }
    }
    /// The rights bundle and its watch stream.
    pub mod control {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("lienthong.control.v1");
        }
    }
    /// Agencies, nodes, systems, contracts.
    pub mod registry {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("lienthong.registry.v1");
        }
    }
    /// The catalog, the broker's and each node's.
    pub mod catalog {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("lienthong.catalog.v1");
        }
    }
    /// How the duty to share is kept.
    pub mod compliance {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("lienthong.compliance.v1");
        }
    }
    /// What one node tells the other about a call.
    pub mod exchange {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("lienthong.exchange.v1");
        }
    }
    /// What a node says about itself.
    pub mod node {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("lienthong.node.v1");
        }
    }
    /// Records, batches, receipts.
    pub mod audit {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("lienthong.audit.v1");
        }
    }
}

/// `vn.*.v1`: the sample agencies' own contracts.
#[allow(missing_docs, unused_qualifications, clippy::pedantic, clippy::all)] // generated; documented in the protos
pub mod vn {
    /// Population register (G01).
    pub mod dancu {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("vn.dancu.v1");
        }
    }
    /// Business register (G12).
    pub mod dkdn {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("vn.dkdn.v1");
        }
    }
    /// Code list of administrative units (G09).
    pub mod danhmuc {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("vn.danhmuc.v1");
        }
    }
    /// Connection trial (G09).
    pub mod thunghiem {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("vn.thunghiem.v1");
        }
    }
}
