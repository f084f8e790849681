//! Descriptor sets: what a proto says, options included, for everything that works without
//! generated code.

use prost_reflect::{DescriptorError, DescriptorPool};

/// The mesh's own contracts with their imports, a serialized `FileDescriptorSet`.
pub const MESH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mesh.binpb"));

/// `vn.dancu.v1` with its imports.
pub const DANCU: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dancu.binpb"));

/// `vn.dkdn.v1` with its imports.
pub const DKDN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dkdn.binpb"));

/// `vn.danhmuc.v1` with its imports.
pub const DANHMUC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/danhmuc.binpb"));

/// Largest descriptor set that is read from anybody, bytes.
pub const DESCRIPTOR_SET_BYTES_MAX: usize = 1024 * 1024;

/// Why a descriptor set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorSetError {
    /// Larger than [`DESCRIPTOR_SET_BYTES_MAX`].
    #[error("the descriptor set has {0} bytes; at most {DESCRIPTOR_SET_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not a `FileDescriptorSet`, or one whose references do not resolve.
    #[error("the descriptor set cannot be read: {0}; build it with its imports")]
    Malformed(#[from] DescriptorError),
}

/// Reads a serialized `FileDescriptorSet` that holds its own imports.
pub fn pool(descriptor_set: &[u8]) -> Result<DescriptorPool, DescriptorSetError> {
    if descriptor_set.len() > DESCRIPTOR_SET_BYTES_MAX {
        return Err(DescriptorSetError::TooLarge(descriptor_set.len()));
    }
    Ok(DescriptorPool::decode(descriptor_set)?)
}
