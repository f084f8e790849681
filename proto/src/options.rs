//! The dataset options of a contract, read from its descriptors.
//!
//! The options travel inside the descriptor set as extensions; they are read through the pool's
//! own definition of `lienthong.options.v1` and turned into the generated types.

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MessageDescriptor,
    MethodDescriptor, Value,
};

use crate::lienthong::options::v1::{DataFieldOptions, DatasetOptions, ExchangeOptions};

/// The dataset that a message is the record of.
pub fn dataset(message: &MessageDescriptor) -> Option<DatasetOptions> {
    typed(message.parent_pool(), "lienthong.options.v1.dataset", &message.options())
}

/// What the contract says about a data field, or about a subject field of a request.
pub fn field(field: &FieldDescriptor) -> Option<DataFieldOptions> {
    typed(field.parent_pool(), "lienthong.options.v1.field", &field.options())
}

/// True where records sit in a response.
pub fn is_record(field: &FieldDescriptor) -> bool {
    extension(field.parent_pool(), "lienthong.options.v1.record")
        .is_some_and(|record| field.options().get_extension(&record).as_bool() == Some(true))
}

/// The exchange that a method performs; `None` for a method that is not shared.
pub fn exchange(method: &MethodDescriptor) -> Option<ExchangeOptions> {
    typed(method.parent_pool(), "lienthong.options.v1.exchange", &method.options())
}

/// True where a method declares `idempotency_level = NO_SIDE_EFFECTS`.
pub fn has_no_side_effects(method: &MethodDescriptor) -> bool {
    const NO_SIDE_EFFECTS: i32 = 1;
    match method.options().get_field_by_name("idempotency_level").as_deref() {
        Some(Value::EnumNumber(level)) => *level == NO_SIDE_EFFECTS,
        _ => false,
    }
}

fn extension(pool: &DescriptorPool, name: &str) -> Option<ExtensionDescriptor> {
    pool.get_extension_by_name(name)
}

fn typed<M: Message + Default>(pool: &DescriptorPool, name: &str, options: &DynamicMessage) -> Option<M> {
    let extension = extension(pool, name)?;
    if !options.has_extension(&extension) {
        return None;
    }
    match options.get_extension(&extension).as_ref() {
        Value::Message(message) => M::decode(message.encode_to_vec().as_slice()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        descriptors,
        lienthong::options::v1::{MethodKind, Personal},
    };

    #[test]
    fn options_survive_the_descriptor_set() {
        let pool = descriptors::pool(descriptors::DANCU).unwrap();
        let citizen = pool.get_message_by_name("vn.dancu.v1.Citizen").unwrap();
        let declared = dataset(&citizen).unwrap();
        assert_eq!(declared.id, "dancu.cong_dan");
        assert!(declared.master);
        assert_eq!(declared.personal(), Personal::Basic);
        assert!(field(&citizen.get_field_by_name("so_dinh_danh").unwrap()).unwrap().subject);

        let service = pool.get_service_by_name("vn.dancu.v1.CitizenService").unwrap();
        let get = service.methods().find(|method| method.name() == "GetCitizen").unwrap();
        assert_eq!(exchange(&get).unwrap().kind(), MethodKind::Query);
        assert!(has_no_side_effects(&get));
        assert!(is_record(&get.output().get_field_by_name("citizen").unwrap()));
        assert!(!is_record(&citizen.get_field_by_name("ho_ten").unwrap()));
    }

    #[test]
    fn a_message_without_options_declares_nothing() {
        let pool = descriptors::pool(descriptors::DANCU).unwrap();
        let request = pool.get_message_by_name("vn.dancu.v1.GetCitizenRequest").unwrap();
        assert!(dataset(&request).is_none());
    }
}
