//! `entries`: the mandatory-sharing catalog itself, each entry by itself.

use std::collections::BTreeMap;

use lienthong_proto::lienthong::options::v1::{DecisionMode, Purpose, ReleaseGate};

use super::object::{Object, Reader};
use super::tree::{Located, Value};
use super::{canonical, databases};
use crate::catalog::{Classification, Entry, EntryStatus, Fields, Freshness, Selector};
use crate::condition::Condition;
use crate::{code, purpose, words};

/// Digits of an entry id, at least.
const ENTRY_DIGITS_MIN: usize = 4;
/// The word for any purpose, of open data only.
const ANY: &str = "ANY";

pub(super) fn entry(reader: &mut Reader<'_>, node: &Located) -> Option<Entry> {
    let mut object = reader.object(node, "the entry")?;
    let id = object.formatted("id", is_entry_id, "CE- and at least 4 digits");
    let version = object.number("version", 1, u32::MAX);
    let dataset_id = object.formatted("dataset_id", databases::is_dotted, databases::DOTTED);
    let provider_code = object.formatted("provider_code", code::is_state_code, "an agency code such as G01");
    let status = object.required_word("status", words::STATUSES);
    let mandatory_consumers = selectors(&mut object);
    let purposes = purposes(&mut object);
    let methods = object.word_list("methods", words::METHODS);
    let freshness = freshness(&mut object);
    let max_staleness = object.duration("max_staleness");
    let min_security_level = object.number("min_security_level", 1, 5).unwrap_or(0);
    let calls_per_minute_max = object.number("calls_per_minute_max", 1, 10_000_000).unwrap_or(0);
    let (effective_from, effective_to) = (object.date("effective_from"), object.date("effective_to"));
    let deadline = object.date("deadline");
    let approvers = object.items("approved_by").into_iter();
    let approved_by = approvers.filter_map(|node| object.text_item("approved_by", node)).collect();
    let release_gate = object.word("release_gate", words::RELEASE_GATES);
    let decision = object.word("decision", words::DECISIONS);
    let bundle_age_max = object.duration("bundle_age_max");
    fee_policy(&mut object);
    let (basis_nodes, classification_node) = (object.items("legal_basis"), object.optional("classification"));
    object.demand("effective_from", "key", "add the first day of the duty to share");
    object.demand("classification", "R-22", "add all four axes: sharing, importance, secrecy, personal");
    let sound = object.finish();
    let legal_basis = databases::legal_basis(reader, &basis_nodes);
    let classification = classification_node.and_then(|node| classification(reader, node));
    sound.then_some(())?;
    Some(Entry {
        id,
        version: version.unwrap_or(1),
        dataset_id,
        provider_code,
        legal_basis: legal_basis?,
        mandatory_consumers,
        purposes,
        classification: classification?,
        methods,
        freshness,
        max_staleness,
        min_security_level,
        calls_per_minute_max,
        effective_from: effective_from?,
        effective_to,
        deadline,
        approved_by,
        status: status.unwrap_or(EntryStatus::Draft),
        release_gate: release_gate.unwrap_or(ReleaseGate::Journal),
        decision: decision.unwrap_or(DecisionMode::Local),
        bundle_age_max,
        content: canonical::json(node),
    })
}

fn selectors(object: &mut Object<'_, '_, '_>) -> Vec<Selector> {
    let mut selectors = Vec::new();
    for node in object.items("mandatory_consumers") {
        let Some(text) = object.text_item("mandatory_consumers", node) else {
            continue;
        };
        match selector(&text) {
            Some(selector) if selectors.contains(&selector) => {
                object.wrong(
                    node.place,
                    "id",
                    format!("mandatory_consumers names {text:?} twice"),
                    "name it once",
                );
            }
            Some(selector) => selectors.push(selector),
            None => object.wrong(
                node.place,
                "format",
                format!("consumer {text:?} is neither a code nor a class"),
                "write a code (G24), a subtree (H26.*), ALL, MINISTRY.ALL, LOCAL.ALL or SECTOR:<name>",
            ),
        }
    }
    selectors
}

fn selector(text: &str) -> Option<Selector> {
    match text {
        "ALL" => Some(Selector::All),
        "MINISTRY.ALL" => Some(Selector::Ministries),
        "LOCAL.ALL" => Some(Selector::Local),
        _ => {
            if let Some(sector) = text.strip_prefix("SECTOR:") {
                return (!sector.trim().is_empty()).then(|| Selector::Sector(sector.to_owned()));
            }
            if let Some(ancestor) = text.strip_suffix(".*") {
                return code::is_state_code(ancestor).then(|| Selector::Subtree(ancestor.to_owned()));
            }
            let known = code::is_state_code(text)
                || code::is_other_scheme_code(text)
                || code::is_business_number(text);
            known.then(|| Selector::Code(text.to_owned()))
        }
    }
}

/// `purposes`, `fields_by_purpose` and `masked_fields_by_purpose` together: what each purpose grants.
fn purposes(object: &mut Object<'_, '_, '_>) -> BTreeMap<Purpose, Fields> {
    let mut purposes: BTreeMap<Purpose, Fields> = BTreeMap::new();
    for node in object.items("purposes") {
        let Some(purpose) = purpose(object, node) else {
            continue;
        };
        if purposes.insert(purpose, Fields::default()).is_some() {
            object.wrong(node.place, "id", "purposes names a purpose twice".to_owned(), "name it once");
        }
    }
    for (key, masked) in [("fields_by_purpose", false), ("masked_fields_by_purpose", true)] {
        for (name, node) in object.entries(key) {
            let found = word(&name.name).and_then(|purpose| purposes.get_mut(&purpose));
            let Some(fields) = found else {
                let message = format!("{key} has {:?}, which is none of the entry's purposes", name.name);
                object.wrong(name.place, "R-24", message, "list it under purposes, or remove it here");
                continue;
            };
            let Value::List(items) = &node.value else {
                object.wrong(
                    node.place,
                    "type",
                    format!("{} is {}, not a list", name.name, node.kind()),
                    "write a list of field ids",
                );
                continue;
            };
            let ids = object.texts_of(&name.name, &items.iter().collect::<Vec<_>>());
            *(if masked { &mut fields.masked } else { &mut fields.granted }) = ids;
        }
    }
    conditions(object, &mut purposes);
    purposes
}

/// `conditions_by_purpose`: which rows each purpose reaches, in Cedar.
fn conditions(object: &mut Object<'_, '_, '_>, purposes: &mut BTreeMap<Purpose, Fields>) {
    const KEY: &str = "conditions_by_purpose";
    for (name, node) in object.entries(KEY) {
        let Some(fields) = word(&name.name).and_then(|purpose| purposes.get_mut(&purpose)) else {
            let message = format!("{KEY} has {:?}, which is none of the entry's purposes", name.name);
            object.wrong(name.place, "R-24", message, "list it under purposes, or remove it here");
            continue;
        };
        let Some(text) = object.text_item(&name.name, node) else { continue };
        if let Err(error) = Condition::parse(&text) {
            let message = format!("the condition for {}: {error}", name.name);
            object.wrong(
                node.place,
                "R-24",
                message,
                "write one Cedar expression: context.record.ma_co_quan == principal.code",
            );
        }
        fields.condition = text;
    }
}

fn purpose(object: &mut Object<'_, '_, '_>, node: &Located) -> Option<Purpose> {
    let text = object.text_item("purposes", node)?;
    match word(&text) {
        Some(Purpose::Commercial) => {
            object.wrong(
                node.place,
                "R-29",
                "COMMERCIAL can never be granted".to_owned(),
                "remove the purpose",
            );
            None
        }
        Some(purpose) => Some(purpose),
        None => {
            let known: Vec<&str> =
                purpose::WORDS.iter().map(|(_, word)| *word).filter(|word| *word != "COMMERCIAL").collect();
            object.wrong(
                node.place,
                "format",
                format!("purpose {text:?} is unknown"),
                format!("write one of {}", known.join(", ")),
            );
            None
        }
    }
}

fn word(text: &str) -> Option<Purpose> {
    if text == ANY { Some(Purpose::Unspecified) } else { purpose::from_word(text) }
}

fn classification(reader: &mut Reader<'_>, node: &Located) -> Option<Classification> {
    let mut object = reader.object(node, "the classification")?;
    let mut missing = Vec::new();
    for axis in ["sharing", "importance", "secrecy", "personal"] {
        if object.optional(axis).is_none() {
            missing.push(axis);
        }
    }
    if !missing.is_empty() {
        let message = format!("the classification is not complete: {} missing", missing.join(", "));
        object.wrong(node.place, "R-22", message, "set all four axes");
    }
    let sharing = object.word("sharing", words::SHARING);
    let importance = object.word("importance", words::IMPORTANCE);
    let secrecy = object.word("secrecy", words::SECRECY);
    let personal = object.word("personal", words::PERSONAL);
    let sound = object.finish();
    Some(Classification {
        sharing: sharing?,
        importance: importance?,
        secrecy: secrecy?,
        personal: personal?,
    })
    .filter(|_| sound)
}

/// The fee for state bodies must be none; what others pay is no matter of this mesh.
fn fee_policy(object: &mut Object<'_, '_, '_>) {
    for (key, node) in object.entries("fee_policy") {
        if key.name != "state_bodies" {
            object.wrong(
                key.place,
                "key",
                format!("fee_policy has no key {:?}", key.name),
                "known keys: state_bodies",
            );
            continue;
        }
        match &node.value {
            Value::Text(text) if text == "EXEMPT" => {}
            Value::Integer(0) => {}
            Value::Integer(_) | Value::Number => object.wrong(
                node.place,
                "R-53",
                "a fee is asked of state bodies, which pay none".to_owned(),
                "write EXEMPT",
            ),
            _ => object.wrong(node.place, "type", format!("state_bodies is {}", node.kind()), "write EXEMPT"),
        }
    }
}

fn freshness(object: &mut Object<'_, '_, '_>) -> Option<Freshness> {
    let node = object.optional("freshness")?;
    match &node.value {
        Value::Text(text) if text == "REALTIME" => Some(Freshness::RealTime),
        _ => object.duration("freshness").map(Freshness::Within),
    }
}

fn is_entry_id(text: &str) -> bool {
    text.strip_prefix("CE-").is_some_and(|digits| {
        digits.len() >= ENTRY_DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
