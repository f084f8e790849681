//! Entries and parties, as the broker's services show them.

use lienthong_proto::lienthong::catalog::v1::{Entry as DescribedEntry, PurposeFields};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::lienthong::registry::v1::{Agency as DescribedParty, Contact};
use prost_types::Timestamp;
use time::OffsetDateTime;

use crate::catalog::{Agency, Catalog, Entry, Fields, Freshness, OutsideParty};
use crate::words;

impl Catalog {
    /// An agency or outside party with its nodes and systems; `None` for a code that is not registered.
    pub fn describe_party(&self, code: &str) -> Option<DescribedParty> {
        let described = match self.agency(code) {
            Some(agency) => describe_agency(agency),
            None => describe_outside_party(self.outside_parties().iter().find(|party| party.code == code)?),
        };
        Some(DescribedParty {
            nodes: self.nodes().iter().filter(|node| node.agency == code).cloned().collect(),
            systems: self.systems().iter().filter(|system| system.agency == code).cloned().collect(),
            ..described
        })
    }
}

impl Entry {
    /// The entry as the catalog service shows it; `published` once its provider's contract declares the dataset
    /// ([`crate::Rights::is_compiled`]).
    pub fn describe(&self, published: bool) -> DescribedEntry {
        DescribedEntry {
            name: format!("entries/{}", self.id),
            version: self.version,
            dataset: self.dataset_id.clone(),
            provider: self.provider_code.clone(),
            legal_basis: self.legal_basis.iter().map(ToString::to_string).collect(),
            mandatory_consumers: self.mandatory_consumers.iter().map(ToString::to_string).collect(),
            purposes: self.purposes.iter().map(purpose_fields).collect(),
            methods: self.methods.iter().map(|kind| i32::from(*kind)).collect(),
            freshness: self.freshness.map(Freshness::to_proto),
            effective_time: Some(timestamp(self.valid_from())),
            deadline_time: self.deadline_end().map(timestamp),
            status: self.status.word().to_owned(),
            approved_by: self.approved_by.clone(),
            published,
            ..DescribedEntry::default()
        }
    }
}

fn describe_agency(agency: &Agency) -> DescribedParty {
    let contact = &agency.contact;
    DescribedParty {
        name: format!("agencies/{}", agency.code),
        code: agency.code.clone(),
        name_vi: agency.name_vi.clone(),
        name_en: agency.name_en.clone(),
        bloc: agency.bloc.word().to_owned(),
        level: agency.level.word().to_owned(),
        contact: Some(Contact {
            display_name: contact.name.clone(),
            position: contact.position.clone(),
            phone: contact.phone.clone(),
            email: contact.email.clone(),
        }),
        roles: agency.roles.iter().map(|role| words::of(words::ROLES, *role).to_owned()).collect(),
        security_level: agency.security_level,
        sectors: agency.sectors.clone(),
        active: agency.is_active,
        successor: match agency.successor_code.as_str() {
            "" => String::new(),
            code => format!("agencies/{code}"),
        },
        ..DescribedParty::default()
    }
}

fn describe_outside_party(party: &OutsideParty) -> DescribedParty {
    DescribedParty {
        name: format!("agencies/{}", party.code),
        code: party.code.clone(),
        name_vi: party.name_vi.clone(),
        bloc: "OUTSIDE".to_owned(),
        active: true,
        ..DescribedParty::default()
    }
}

fn purpose_fields((purpose, fields): (&Purpose, &Fields)) -> PurposeFields {
    let ids = fields.granted.iter().chain(&fields.masked);
    PurposeFields {
        purpose: (*purpose).into(),
        fields: ids.cloned().collect(),
        masked_fields: fields.masked.clone(),
        condition: fields.condition.clone(),
    }
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: at.nanosecond().cast_signed() }
}
