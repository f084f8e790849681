//! `entries`: the mandatory-sharing catalog itself, each entry by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use lienthong_proto::lienthong::options::v1::{DecisionMode, Purpose, ReleaseGate};
use time::Date;
use time::macros::format_description;

use super::databases;
use super::object::{Object, Reader};
use super::tree::{Located, Value};
use crate::catalog::{Classification, Entry, EntryStatus, Fields, Freshness, Selector};
use crate::words;
use crate::{code, purpose};

/// Digits of an entry id, at least.
const ENTRY_DIGITS_MIN: usize = 4;
/// Longest duration that is taken: a year.
const DURATION_SECONDS_MAX: u64 = 366 * 86_400;
/// The word for any purpose, of open data only.
const ANY: &str = "ANY";

pub(super) fn entry(reader: &mut Reader<'_>, node: &Located) -> Option<Entry> {
    let mut object = reader.object(node, "the entry")?;
    let id = object.formatted("id", is_entry_id, "CE- and at least 4 digits");
    let version = object.number("version", 1, u32::MAX);
    let dataset_id = object.formatted(
        "dataset_id",
        databases::is_dotted,
        "groups of [a-z0-9_] split by \".\"",
    );
    let provider_code = object.formatted(
        "provider_code",
        code::is_state_code,
        "an agency code such as G01 (QĐ 20/2020)",
    );
    let status = object.required_word("status", words::STATUSES);
    let mandatory_consumers = selectors(&mut object);
    let purposes = purposes(&mut object);
    let methods = object.word_list("methods", words::METHODS);
    let freshness = freshness(&mut object);
    let max_staleness = duration(&mut object, "max_staleness");
    let min_security_level = object.number("min_security_level", 1, 5).unwrap_or(0);
    let calls_per_minute_max = object.number("calls_per_minute_max", 1, 10_000_000).unwrap_or(0);
    let (effective_from, effective_to, deadline) = (
        date(&mut object, "effective_from"),
        date(&mut object, "effective_to"),
        date(&mut object, "deadline"),
    );
    let approved_by: Vec<String> = object
        .items("approved_by")
        .into_iter()
        .filter_map(|node| object.text_item("approved_by", node))
        .collect();
    let release_gate = object
        .word("release_gate", words::RELEASE_GATES)
        .unwrap_or(ReleaseGate::Journal);
    let decision = object
        .word("decision", words::DECISIONS)
        .unwrap_or(DecisionMode::Local);
    let bundle_age_max = duration(&mut object, "bundle_age_max");
    fee_policy(&mut object);
    if effective_from.is_none() && object.optional("effective_from").is_none() {
        let place = object.node.place;
        object.wrong(
            place,
            "key",
            "the entry has no effective_from".to_owned(),
            "add the first day of the duty to share",
        );
    }
    let (basis_nodes, classification_node) = (object.items("legal_basis"), object.optional("classification"));
    if classification_node.is_none() {
        let place = object.node.place;
        object.wrong(
            place,
            "R-22",
            "the entry has no classification".to_owned(),
            "add all four axes: sharing, importance, secrecy, personal",
        );
    }
    let sound = object.finish();
    let legal_basis = databases::legal_basis(reader, &basis_nodes);
    let classification = classification_node.and_then(|node| classification(reader, node));
    if !sound {
        return None;
    }
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
        release_gate,
        decision,
        bundle_age_max,
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
            object.wrong(
                node.place,
                "id",
                "purposes names a purpose twice".to_owned(),
                "name it once",
            );
        }
    }
    for (key, masked) in [("fields_by_purpose", false), ("masked_fields_by_purpose", true)] {
        for (name, node) in object.entries(key) {
            let found = word(&name.name).and_then(|purpose| purposes.get_mut(&purpose));
            let Some(fields) = found else {
                let message = format!("{key} has {:?}, which is none of the entry's purposes", name.name);
                object.wrong(
                    name.place,
                    "R-24",
                    message,
                    "list it under purposes, or remove it here",
                );
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
            *(if masked {
                &mut fields.masked
            } else {
                &mut fields.granted
            }) = ids;
        }
    }
    purposes
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
            let known: Vec<&str> = purpose::WORDS
                .iter()
                .map(|(_, word)| *word)
                .filter(|word| *word != "COMMERCIAL")
                .collect();
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
    if text == ANY {
        Some(Purpose::Unspecified)
    } else {
        purpose::from_word(text)
    }
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
        let message = format!(
            "the classification is not complete: {} missing",
            missing.join(", ")
        );
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
            _ => object.wrong(
                node.place,
                "type",
                format!("state_bodies is {}", node.kind()),
                "write EXEMPT",
            ),
        }
    }
}

fn freshness(object: &mut Object<'_, '_, '_>) -> Option<Freshness> {
    let node = object.optional("freshness")?;
    match &node.value {
        Value::Text(text) if text == "REALTIME" => Some(Freshness::RealTime),
        _ => duration(object, "freshness").map(Freshness::Within),
    }
}

/// A duration: a whole number and `s`, `m`, `h` or `d`.
fn duration(object: &mut Object<'_, '_, '_>, key: &'static str) -> Option<Duration> {
    let node = object.optional(key)?;
    let text = object.text_item(key, node)?;
    let parsed = parse_duration(&text);
    if parsed.is_none() {
        let message = format!("{key} {text:?} is no duration");
        object.wrong(
            node.place,
            "format",
            message,
            "write a number and s, m, h or d, at most a year: 15m, 24h, 7d",
        );
    }
    parsed
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit_seconds)?;
    (seconds <= DURATION_SECONDS_MAX).then(|| Duration::from_secs(seconds))
}

/// A day, ISO 8601.
fn date(object: &mut Object<'_, '_, '_>, key: &'static str) -> Option<Date> {
    let node = object.optional(key)?;
    let text = object.text_item(key, node)?;
    let parsed = Date::parse(&text, format_description!("[year]-[month]-[day]"));
    if parsed.is_err() {
        object.wrong(
            node.place,
            "format",
            format!("{key} {text:?} is no date"),
            "write a day that exists: 2026-11-01",
        );
    }
    parsed.ok()
}

fn is_entry_id(text: &str) -> bool {
    text.strip_prefix("CE-").is_some_and(|digits| {
        digits.len() >= ENTRY_DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
