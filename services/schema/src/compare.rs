//! What changed between two versions of a contract, in words, and what of it breaks a client.
//!
//! A change breaks a client if code generated from the old version no longer compiles against the new one, or if one
//! side would read the other's messages, in bytes or JSON, otherwise than they were meant. Common words (`google/…`,
//! `lienthong/options/…`) are not compared: they are not the provider's.

use std::collections::BTreeMap;

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

use crate::{
    narrow::is_common,
    print::{Names, Setting, settings},
};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What changed: its kind and full name, for example `field vn.dancu.v1.Citizen.ho_ten`.
    pub subject: String,
    /// How, for example `type was string, is bytes`.
    pub what: String,
    /// True where it breaks a client.
    pub breaking: bool,
}

/// Every change from `old` to `new`, by subject.
pub fn compare(old: &DescriptorPool, new: &DescriptorPool) -> Vec<Change> {
    let mut changes = Changes { found: Vec::new(), names: (Names::of(old), Names::of(new)) };
    let (before, after) = (Declared::of(old), Declared::of(new));
    changes.pairs("service", &before.services, &after.services, Changes::service);
    changes.pairs("message", &before.messages, &after.messages, Changes::message);
    changes.pairs("enum", &before.enums, &after.enums, Changes::enumeration);
    changes.found.sort();
    changes.found
}

/// What a pool declares, by full name; common words and the entries of maps left out.
struct Declared {
    services: BTreeMap<String, ServiceDescriptor>,
    messages: BTreeMap<String, MessageDescriptor>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl Declared {
    fn of(pool: &DescriptorPool) -> Self {
        let own = |file: FileDescriptor| !is_common(&file);
        let services = pool.services().filter(|service| own(service.parent_file()));
        let messages =
            pool.all_messages().filter(|message| own(message.parent_file()) && !message.is_map_entry());
        let enums = pool.all_enums().filter(|values| own(values.parent_file()));
        Self {
            services: services.map(|service| (service.full_name().to_owned(), service)).collect(),
            messages: messages.map(|message| (message.full_name().to_owned(), message)).collect(),
            enums: enums.map(|values| (values.full_name().to_owned(), values)).collect(),
        }
    }
}

struct Changes {
    found: Vec<Change>,
    names: (Names, Names),
}

impl Changes {
    fn note(&mut self, subject: &str, breaking: bool, what: impl Into<String>) {
        self.found.push(Change { subject: subject.to_owned(), what: what.into(), breaking });
    }

    /// A property that was one thing and is another.
    fn differs(&mut self, subject: &str, breaking: bool, what: &str, before: &str, after: &str) {
        if before != after {
            self.note(subject, breaking, format!("{what} was {before}, is {after}"));
        }
    }

    fn pairs<T>(
        &mut self,
        kind: &str,
        before: &BTreeMap<String, T>,
        after: &BTreeMap<String, T>,
        mut compare: impl FnMut(&mut Self, &str, &T, &T),
    ) {
        for (name, old) in before {
            let subject = format!("{kind} {name}");
            match after.get(name) {
                Some(new) => compare(self, &subject, old, new),
                None => self.note(&subject, true, "removed"),
            }
        }
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            self.note(&format!("{kind} {name}"), false, "added");
        }
    }

    fn service(&mut self, subject: &str, old: &ServiceDescriptor, new: &ServiceDescriptor) {
        let methods = |service: &ServiceDescriptor| -> BTreeMap<String, MethodDescriptor> {
            service.methods().map(|method| (method.full_name().to_owned(), method)).collect()
        };
        self.options(
            subject,
            &settings(&old.options(), &self.names.0, ""),
            &settings(&new.options(), &self.names.1, ""),
        );
        self.pairs("method", &methods(old), &methods(new), Self::method);
    }

    fn method(&mut self, subject: &str, old: &MethodDescriptor, new: &MethodDescriptor) {
        let shape = |method: &MethodDescriptor| {
            let stream = |streams: bool| if streams { "stream " } else { "" };
            let (to, from) = (stream(method.is_client_streaming()), stream(method.is_server_streaming()));
            format!("({to}{}) returns ({from}{})", method.input().full_name(), method.output().full_name())
        };
        self.differs(subject, true, "signature", &shape(old), &shape(new));
        self.options(
            subject,
            &settings(&old.options(), &self.names.0, ""),
            &settings(&new.options(), &self.names.1, ""),
        );
    }

    fn message(&mut self, subject: &str, old: &MessageDescriptor, new: &MessageDescriptor) {
        self.options(
            subject,
            &settings(&old.options(), &self.names.0, ""),
            &settings(&new.options(), &self.names.1, ""),
        );
        // A number is what a field is on the wire; a name is what people and JSON know it by.
        for field in old.fields() {
            let subject = format!("field {}", field.full_name());
            match new.get_field(field.number()) {
                Some(now) => self.field(&subject, &field, &now),
                None => match new.get_field_by_name(field.name()) {
                    Some(now) => self.note(
                        &subject,
                        true,
                        format!("number was {}, is {}", field.number(), now.number()),
                    ),
                    None => self.note(&subject, true, "removed"),
                },
            }
        }
        for field in new.fields() {
            if old.get_field(field.number()).is_none() && old.get_field_by_name(field.name()).is_none() {
                let subject = format!("field {}", field.full_name());
                let required = field.cardinality() == Cardinality::Required;
                self.note(
                    &subject,
                    required,
                    format!("added as number {}, {}", field.number(), type_of(&field)),
                );
            }
        }
    }

    fn field(&mut self, subject: &str, old: &FieldDescriptor, new: &FieldDescriptor) {
        self.differs(subject, true, "name", old.name(), new.name());
        self.differs(subject, true, "type", &type_of(old), &type_of(new));
        if old.name() == new.name() {
            self.differs(subject, true, "JSON name", old.json_name(), new.json_name());
        }
        let default = |field: &FieldDescriptor| {
            field.field_descriptor_proto().default_value.clone().unwrap_or_else(|| "none".to_owned())
        };
        self.differs(subject, true, "default", &default(old), &default(new));
        self.options(
            subject,
            &settings(&old.options(), &self.names.0, ""),
            &settings(&new.options(), &self.names.1, ""),
        );
    }

    fn enumeration(&mut self, subject: &str, old: &EnumDescriptor, new: &EnumDescriptor) {
        let values = |values: &EnumDescriptor| -> BTreeMap<String, i32> {
            values.values().map(|value| (value.name().to_owned(), value.number())).collect()
        };
        let (before, after) = (values(old), values(new));
        for (name, number) in &before {
            match after.get(name) {
                Some(now) => {
                    let what = format!("number of {name}");
                    self.differs(subject, true, &what, &number.to_string(), &now.to_string());
                }
                None => self.note(subject, true, format!("value {name} = {number} removed")),
            }
        }
        for (name, number) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            self.note(subject, false, format!("value {name} = {number} added"));
        }
        self.options(
            subject,
            &settings(&old.options(), &self.names.0, ""),
            &settings(&new.options(), &self.names.1, ""),
        );
    }

    /// Options say what data means and how it is protected; they do not change how it is read.
    fn options(&mut self, subject: &str, before: &[Setting], after: &[Setting]) {
        let by_name = |settings: &[Setting]| {
            let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for setting in settings {
                let value = setting.value.split_whitespace().collect::<Vec<_>>().join(" ");
                values.entry(setting.name.clone()).or_default().push(value);
            }
            values
        };
        let (before, after) = (by_name(before), by_name(after));
        for (name, value) in &before {
            let value = value.join(", ");
            match after.get(name) {
                Some(now) => self.differs(subject, false, &format!("option {name}"), &value, &now.join(", ")),
                None => self.note(subject, false, format!("option {name} removed, was {value}")),
            }
        }
        for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            self.note(subject, false, format!("option {name} added: {}", value.join(", ")));
        }
    }
}

/// The type of a field as a reader of the source sees it, with what decides how it is read.
fn type_of(field: &FieldDescriptor) -> String {
    let name = |kind: &Kind| match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(values) => values.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let oneof = oneof.map(|oneof| format!(" in oneof {}", oneof.name())).unwrap_or_default();
    match field.kind() {
        Kind::Message(entry) if field.is_map() => format!(
            "map<{}, {}>",
            name(&entry.map_entry_key_field().kind()),
            name(&entry.map_entry_value_field().kind())
        ),
        kind => {
            let label = match field.cardinality() {
                Cardinality::Repeated => "repeated ",
                Cardinality::Required => "required ",
                Cardinality::Optional if oneof.is_empty() && has_label(field) => "optional ",
                Cardinality::Optional => "",
            };
            format!("{label}{}{oneof}", name(&kind))
        }
    }
}

/// True where a scalar field tells absence from zero.
fn has_label(field: &FieldDescriptor) -> bool {
    field.supports_presence() && field.kind().as_message().is_none()
}

#[cfg(test)]
mod tests {
    use lienthong_proto::descriptors;
    use prost::Message;
    use prost_types::{FileDescriptorProto, FileDescriptorSet};

    use super::*;

    /// The register's contract, changed.
    fn changed(change: impl FnOnce(&mut FileDescriptorProto)) -> Vec<Change> {
        let mut set = FileDescriptorSet::decode(descriptors::DANCU).unwrap();
        let old = DescriptorPool::decode(set.encode_to_vec().as_slice()).unwrap();
        change(set.file.iter_mut().find(|file| file.package() == "vn.dancu.v1").unwrap());
        compare(&old, &DescriptorPool::decode(set.encode_to_vec().as_slice()).unwrap())
    }

    fn citizen(file: &mut FileDescriptorProto) -> &mut prost_types::DescriptorProto {
        file.message_type.iter_mut().find(|message| message.name() == "Citizen").unwrap()
    }

    fn change(subject: &str, what: &str, breaking: bool) -> Change {
        Change { subject: subject.to_owned(), what: what.to_owned(), breaking }
    }

    #[test]
    fn the_same_contract_has_no_changes() {
        assert_eq!(changed(|_| {}), []);
    }

    #[test]
    fn what_breaks_a_client_is_told_from_what_does_not() {
        let name = "field vn.dancu.v1.Citizen.ho_ten";
        for (changes, expected) in [
            (
                changed(|file| citizen(file).field[1].name = Some("ten".into())),
                vec![change(name, "name was ho_ten, is ten", true)],
            ),
            (changed(|file| drop(citizen(file).field.remove(1))), vec![change(name, "removed", true)]),
            (
                changed(|file| citizen(file).field[1].number = Some(99)),
                vec![change(name, "number was 2, is 99", true)],
            ),
            (
                changed(|file| citizen(file).field[1].r#type = Some(12)),
                vec![change(name, "type was string, is bytes", true)],
            ),
            (
                changed(|file| {
                    let mut added = citizen(file).field[1].clone();
                    added.name = Some("biet_danh".into());
                    added.number = Some(77);
                    added.json_name = None;
                    citizen(file).field.push(added);
                }),
                vec![change("field vn.dancu.v1.Citizen.biet_danh", "added as number 77, string", false)],
            ),
            (
                changed(|file| file.service[0].method[0].server_streaming = Some(true)),
                vec![change(
                    "method vn.dancu.v1.CitizenService.GetCitizen",
                    "signature was (vn.dancu.v1.GetCitizenRequest) returns (vn.dancu.v1.GetCitizenResponse), is \
                     (vn.dancu.v1.GetCitizenRequest) returns (stream vn.dancu.v1.GetCitizenResponse)",
                    true,
                )],
            ),
            (
                changed(|file| file.service[0].method[0].options.as_mut().unwrap().idempotency_level = None),
                vec![change(
                    "method vn.dancu.v1.CitizenService.GetCitizen",
                    "option idempotency_level removed, was NO_SIDE_EFFECTS",
                    false,
                )],
            ),
            (
                changed(|file| drop(file.service[0].method.pop())),
                vec![change("method vn.dancu.v1.CitizenService.VerifyRecord", "removed", true)],
            ),
        ] {
            assert_eq!(changes, expected);
        }
    }

    #[test]
    fn options_of_the_mesh_are_compared() {
        let pool = descriptors::pool(descriptors::DANCU).unwrap();
        let set = FileDescriptorSet::decode(descriptors::DANCU).unwrap();
        // The generated types drop extensions.
        let without = DescriptorPool::decode(set.encode_to_vec().as_slice()).unwrap();
        let changes = compare(&pool, &without);
        assert!(changes.iter().all(|change| !change.breaking), "{changes:?}");
        assert!(changes.iter().any(|change| {
            change.subject == "message vn.dancu.v1.Citizen"
                && change.what.starts_with(
                    "option (lienthong.options.v1.dataset) removed, was { id: \"dancu.cong_dan\"",
                )
        }));
    }
}
