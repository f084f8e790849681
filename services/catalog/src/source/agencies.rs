//! `agencies` and `outside_parties`.

use super::object::{Object, Reader};
use super::tree::Located;
use crate::catalog::{Agency, AgencySystem, Contact, OutsideParty};
use lienthong_proto::lienthong::options::v1::Purpose;

use crate::code;
use crate::purpose;
use crate::words;

/// Security levels of information systems (NĐ 85/2016 Article 6).
const SECURITY_LEVEL_MAX: u32 = 5;

pub(super) fn agency(reader: &mut Reader<'_>, node: &Located) -> Option<Agency> {
    let mut object = reader.object(node, "the agency")?;
    let code = object.formatted(
        "code",
        |code| code::is_state_code(code) || code::is_other_scheme_code(code),
        "an agency code such as H26.90 (QĐ 20/2020)",
    );
    let (name_vi, name_en) = (object.text("name_vi"), object.optional_text("name_en"));
    let bloc = object.required_word("bloc", words::BLOCS);
    let level = object.required_word("level", words::LEVELS);
    let roles = object.word_list("roles", words::ROLES);
    let security_level = object.number("security_level", 1, SECURITY_LEVEL_MAX).unwrap_or(0);
    let sectors = object.texts("sectors");
    let is_active = object.word("status", &[(true, "ACTIVE"), (false, "MERGED"), (false, "DISSOLVED")]);
    let successor_code = object.optional_text("successor_code");
    let (contact_node, system_nodes) = (object.optional("contact"), object.items("systems"));
    let sound = object.finish();
    let contact = match contact_node {
        Some(node) => contact(reader, node),
        None => Some(Contact::default()),
    };
    let systems: Vec<AgencySystem> = system_nodes.iter().filter_map(|node| system(reader, node)).collect();
    let contact = contact.filter(|_| sound && systems.len() == system_nodes.len())?;
    Some(Agency {
        code,
        name_vi,
        name_en,
        bloc: bloc?,
        level: level?,
        roles,
        security_level,
        sectors,
        contact,
        is_active: is_active.unwrap_or(true),
        successor_code,
        systems,
    })
}

pub(super) fn outside_party(reader: &mut Reader<'_>, node: &Located) -> Option<OutsideParty> {
    let mut object = reader.object(node, "the outside party")?;
    let code = object.formatted(
        "code",
        |code| code::is_business_number(code) || code::is_other_scheme_code(code),
        "a business number of 10 or 10-3 digits, or a Z code",
    );
    let name_vi = object.text("name_vi");
    object.finish().then_some(OutsideParty { code, name_vi })
}

fn contact(reader: &mut Reader<'_>, node: &Located) -> Option<Contact> {
    let mut object = reader.object(node, "the contact")?;
    let contact = Contact {
        name: object.text("name"),
        position: object.optional_text("position"),
        phone: object.optional_text("phone"),
        email: object.optional_text("email"),
    };
    object.finish().then_some(contact)
}

fn system(reader: &mut Reader<'_>, node: &Located) -> Option<AgencySystem> {
    let mut object = reader.object(node, "the system")?;
    let id = object.formatted("id", is_id, "[a-z0-9-]");
    let name_vi = object.optional_text("name_vi");
    let security_level = object.number("security_level", 1, SECURITY_LEVEL_MAX).unwrap_or(0);
    let default_purpose = default_purpose(&mut object);
    object.finish().then_some(AgencySystem { id, name_vi, security_level, default_purpose })
}

/// The purpose of calls that state none. One that each call must give reasons for is nobody's default.
fn default_purpose(object: &mut Object<'_, '_, '_>) -> Purpose {
    const KEY: &str = "default_purpose";
    let purpose = object.word(KEY, &purpose::WORDS).unwrap_or_default();
    let Some(node) = object.optional(KEY).filter(|_| purpose != Purpose::Unspecified) else {
        return purpose;
    };
    if purpose == Purpose::Commercial {
        let message = "COMMERCIAL is never granted, so that it is no default";
        object.wrong(node.place, "R-29", message.to_owned(), "name the public task that the system serves");
    } else if !purpose::may_be_default(purpose) {
        let message = format!("{} needs a dossier, which differs with each call", purpose::word(purpose));
        object.wrong(
            node.place,
            "R-24",
            message,
            "have the system state mesh-purpose and mesh-dossier itself",
        );
    }
    purpose
}

/// True for the identifier of a node or system: lower-case letters, digits and `-`.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
