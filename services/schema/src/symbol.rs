//! Names of a pool.

use prost_reflect::{DescriptorPool, FileDescriptor};

/// The file that declares a fully qualified name: a message, enum, service, extension, method, field, oneof or
/// enum value (gRPC server reflection, `file_containing_symbol`).
pub fn file_of(pool: &DescriptorPool, symbol: &str) -> Option<FileDescriptor> {
    let symbol = symbol.strip_prefix('.').unwrap_or(symbol);
    declaring(pool, symbol).or_else(|| {
        let (parent, name) = symbol.rsplit_once('.')?;
        declaring_member(pool, parent, name)
    })
}

fn declaring(pool: &DescriptorPool, symbol: &str) -> Option<FileDescriptor> {
    let message = pool.get_message_by_name(symbol).map(|found| found.parent_file());
    let message = message.or_else(|| pool.get_service_by_name(symbol).map(|found| found.parent_file()));
    let message = message.or_else(|| pool.get_enum_by_name(symbol).map(|found| found.parent_file()));
    message.or_else(|| pool.get_extension_by_name(symbol).map(|found| found.parent_file()))
}

fn declaring_member(pool: &DescriptorPool, parent: &str, name: &str) -> Option<FileDescriptor> {
    if let Some(service) = pool.get_service_by_name(parent) {
        return service.methods().any(|method| method.name() == name).then(|| service.parent_file());
    }
    if let Some(message) = pool.get_message_by_name(parent)
        && (message.get_field_by_name(name).is_some() || message.oneofs().any(|oneof| oneof.name() == name))
    {
        return Some(message.parent_file());
    }
    // A value stands beside its enum, not inside it.
    let full_name = format!("{parent}.{name}");
    let holds = |values: prost_reflect::EnumDescriptor| {
        let found = values.values().any(|value| value.full_name() == full_name);
        found.then(|| values.parent_file())
    };
    pool.all_enums().find_map(holds)
}

#[cfg(test)]
mod tests {
    use lienthong_proto::descriptors;

    use super::*;

    #[test]
    fn every_kind_of_name_is_found() {
        let pool = descriptors::pool(descriptors::DANCU).unwrap();
        for (symbol, file) in [
            ("vn.dancu.v1.CitizenService", "vn/dancu/v1/citizen.proto"),
            (".vn.dancu.v1.CitizenService", "vn/dancu/v1/citizen.proto"),
            ("vn.dancu.v1.CitizenService.GetCitizen", "vn/dancu/v1/citizen.proto"),
            ("vn.dancu.v1.Citizen", "vn/dancu/v1/citizen.proto"),
            ("vn.dancu.v1.Citizen.ho_ten", "vn/dancu/v1/citizen.proto"),
            ("lienthong.options.v1.dataset", "lienthong/options/v1/options.proto"),
            ("lienthong.options.v1.Purpose", "lienthong/options/v1/vocabulary.proto"),
            ("lienthong.options.v1.PURPOSE_VERIFICATION", "lienthong/options/v1/vocabulary.proto"),
            ("google.protobuf.Value.kind", "google/protobuf/struct.proto"),
        ] {
            let found = file_of(&pool, symbol);
            if pool.get_file_by_name(file).is_some() {
                assert_eq!(found.expect(symbol).name(), file);
            }
        }
        for symbol in
            ["", ".", "vn.dancu.v1", "vn.dancu.v1.Nobody", "vn.dancu.v1.CitizenService.Nothing", "a..b"]
        {
            assert!(file_of(&pool, symbol).is_none(), "{symbol}");
        }
    }
}
