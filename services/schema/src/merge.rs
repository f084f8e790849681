//! Several providers' contracts in one pool, as one client sees them.

use lienthong_proto::descriptors;
use prost_reflect::DescriptorPool;

/// Contracts that go together, and those that do not.
#[derive(Debug, Clone)]
pub struct Merged {
    /// Their files, each name once.
    pub pool: DescriptorPool,
    /// Contracts that contradict one before them.
    pub left_out: Vec<LeftOut>,
}

/// A contract that could not join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Code of its provider.
    pub provider: String,
    /// What stands against it.
    pub problem: String,
}

/// Joins contracts (provider, serialized `FileDescriptorSet`) to `base`, in their order.
///
/// A file name stands for one file: where two contracts carry a file of one name (an import of both, mostly), the
/// one that came first is taken. A contract that does not fit to what came first (it declares a name again, or
/// needs what the other's file does not have) is left out whole, so that what remains always resolves.
pub fn merge<'a>(base: &DescriptorPool, contracts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Merged {
    let mut merged = Merged { pool: base.clone(), left_out: Vec::new() };
    for (provider, descriptor_set) in contracts {
        match join(&merged.pool, descriptor_set) {
            Ok(pool) => merged.pool = pool,
            Err(problem) => merged.left_out.push(LeftOut { provider: provider.to_owned(), problem }),
        }
    }
    merged
}

fn join(pool: &DescriptorPool, descriptor_set: &[u8]) -> Result<DescriptorPool, String> {
    // Read alone first, with its bounds and checks: what contradicts itself must not hide behind another's files.
    let alone = descriptors::pool(descriptor_set).map_err(|error| error.to_string())?;
    // Together, for the files of a set stand in any order.
    let mut more = Vec::new();
    for file in alone.files().filter(|file| pool.get_file_by_name(file.name()).is_none()) {
        prost::encoding::bytes::encode(1, &file.encode_to_vec(), &mut more);
    }
    let mut joined = pool.clone();
    joined.decode_file_descriptor_set(more.as_slice()).map_err(|error| error.to_string())?;
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn contracts_with_common_imports_join() {
        let merged = merge(&DescriptorPool::new(), [("G01", descriptors::DANCU), ("G12", descriptors::DKDN)]);
        assert_eq!(merged.left_out, []);
        for service in ["vn.dancu.v1.CitizenService", "vn.dkdn.v1.EnterpriseService"] {
            assert!(merged.pool.get_service_by_name(service).is_some(), "{service}");
        }
    }

    #[test]
    fn files_stand_in_any_order() {
        let mut reversed = FileDescriptorSet::decode(descriptors::DANCU).unwrap();
        reversed.file.reverse();
        let reversed = reversed.encode_to_vec();
        let merged = merge(&DescriptorPool::new(), [("G01", reversed.as_slice())]);
        assert_eq!(merged.left_out, []);
        assert!(merged.pool.get_service_by_name("vn.dancu.v1.CitizenService").is_some());
    }

    #[test]
    fn the_first_of_two_that_contradict_each_other_stays() {
        let mut other = FileDescriptorSet::decode(descriptors::DANCU).unwrap();
        let renamed = other.file.iter_mut().find(|file| file.package() == "vn.dancu.v1").unwrap();
        renamed.name = Some("elsewhere.proto".to_owned());
        let other = other.encode_to_vec();
        let merged = merge(&DescriptorPool::new(), [("G01", descriptors::DANCU), ("G77", other.as_slice())]);
        assert_eq!(merged.left_out.len(), 1);
        assert_eq!(merged.left_out[0].provider, "G77");
        assert!(merged.pool.get_file_by_name("elsewhere.proto").is_none());
        assert!(merged.pool.get_service_by_name("vn.dancu.v1.CitizenService").is_some());
    }

    #[test]
    fn rubbish_is_left_out() {
        let merged =
            merge(&DescriptorPool::new(), [("G77", b"rubbish".as_slice()), ("G01", descriptors::DANCU)]);
        assert_eq!(merged.left_out.len(), 1);
        assert!(merged.pool.get_service_by_name("vn.dancu.v1.CitizenService").is_some());
    }
}
