//! Descriptor sets: what a proto says, options included, for everything that works without
//! generated code.

use std::sync::LazyLock;

use prost::{DecodeError, Message};
use prost_reflect::{DescriptorError, DescriptorPool, DynamicMessage, ReflectMessage};
use prost_types::FileDescriptorSet;

/// The mesh's own contracts with their imports, a serialized `FileDescriptorSet`.
pub const MESH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mesh.binpb"));

/// The mesh's own contracts as a pool: what the dataset options are, for everything that reads or writes them.
pub fn mesh() -> &'static DescriptorPool {
    // INVARIANT: compiled with this crate, so that it decodes (tested).
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(MESH).unwrap_or_default());
    &POOL
}

/// An empty `google.protobuf.FileDescriptorSet` to be read into, in which the dataset options are known fields:
/// `prost_types` would drop them.
pub fn empty_set() -> DynamicMessage {
    let known = FileDescriptorSet::default().descriptor();
    // INVARIANT: options.proto imports descriptor.proto, so that the pool has it.
    DynamicMessage::new(mesh().get_message_by_name(known.full_name()).unwrap_or(known))
}

/// `vn.dancu.v1` with its imports.
pub const DANCU: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dancu.binpb"));

/// `vn.dkdn.v1` with its imports.
pub const DKDN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dkdn.binpb"));

/// `vn.danhmuc.v1` with its imports.
pub const DANHMUC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/danhmuc.binpb"));

/// `vn.thunghiem.v1` with its imports.
pub const THUNGHIEM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/thunghiem.binpb"));

/// Largest descriptor set that is read from anybody, bytes.
pub const DESCRIPTOR_SET_BYTES_MAX: usize = 1024 * 1024;

/// Why a descriptor set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorSetError {
    /// Larger than [`DESCRIPTOR_SET_BYTES_MAX`].
    #[error("the descriptor set has {0} bytes; at most {DESCRIPTOR_SET_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not protobuf at all.
    #[error("the descriptor set cannot be read: {0}")]
    Bytes(DecodeError),
    /// A file of a syntax that is not read, such as an edition.
    #[error("the file {file} is written in syntax {syntax:?}; write it in proto3 or proto2")]
    Syntax {
        /// The file.
        file: String,
        /// Its syntax.
        syntax: String,
    },
    /// Not a `FileDescriptorSet`, or one whose references do not resolve.
    #[error("the descriptor set cannot be read: {0}; build it with its imports")]
    Malformed(#[from] DescriptorError),
}

/// Reads a serialized `FileDescriptorSet` that holds its own imports.
pub fn pool(descriptor_set: &[u8]) -> Result<DescriptorPool, DescriptorSetError> {
    if descriptor_set.len() > DESCRIPTOR_SET_BYTES_MAX {
        return Err(DescriptorSetError::TooLarge(descriptor_set.len()));
    }
    // prost-reflect panics on a syntax that it does not know.
    for file in FileDescriptorSet::decode(descriptor_set).map_err(DescriptorSetError::Bytes)?.file {
        if !matches!(file.syntax.as_deref(), None | Some("" | "proto2" | "proto3")) {
            return Err(DescriptorSetError::Syntax {
                file: file.name.unwrap_or_default(),
                syntax: file.syntax.unwrap_or_default(),
            });
        }
    }
    Ok(DescriptorPool::decode(descriptor_set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_knows_its_own_options() {
        for name in ["dataset", "field", "record", "exchange"] {
            assert!(
                mesh().get_extension_by_name(&format!("lienthong.options.v1.{name}")).is_some(),
                "{name}"
            );
        }
        assert_eq!(empty_set().descriptor().parent_pool(), mesh());
    }

    #[test]
    fn a_syntax_that_is_not_read_is_named() {
        let mut set = FileDescriptorSet::decode(DANCU).unwrap();
        set.file[0].syntax = Some("editions".to_owned());
        assert!(matches!(pool(&set.encode_to_vec()), Err(DescriptorSetError::Syntax { .. })));
        assert!(matches!(pool(b"rubbish"), Err(DescriptorSetError::Bytes(_))));
        assert!(pool(DANCU).is_ok());
    }
}
