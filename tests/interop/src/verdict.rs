//! What came against what should have come.

use std::fmt;

use prost_types::Timestamp;
use serde_json::{Map, Value};

use crate::{scenarios::Item, stage::number};

/// How long the provider may take to notice a cancellation, milliseconds. The mesh aims at 50; the margin is for machines
/// that do much else.
const CANCELLATION_MS_MAX: i64 = 2_000;

/// What a client told of a scenario.
pub enum Outcome {
    /// An outcome, protobuf's JSON of `lienthong.interop.v1.Outcome`.
    Told(Value),
    /// Its library cannot do it, and why.
    Unsupported(String),
    /// Nothing, and why.
    Lost(String),
}

impl Outcome {
    /// Sorts what was told.
    pub fn read(told: &Value) -> Self {
        let text = |key: &str| told.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (text("lost"), text("unsupported")) {
            (Some(why), _) => Self::Lost(why.to_owned()),
            (None, Some(why)) => Self::Unsupported(why.to_owned()),
            (None, None) => Self::Told(told.clone()),
        }
    }
}

/// What becomes of a scenario.
pub enum Verdict {
    /// It came as it should; a measurement, where there is one.
    Passed(String),
    /// It came as it should, in the library's own way, and why.
    Differs(String),
    /// The library cannot do it, and why.
    Unsupported(String),
    /// It did not, and how.
    Failed(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(note) if note.is_empty() => f.write_str("ok"),
            Self::Passed(note) => write!(f, "ok {note}"),
            Self::Differs(_) => f.write_str("ok *"),
            Self::Unsupported(_) => f.write_str("cannot"),
            Self::Failed(_) => f.write_str("FAILED"),
        }
    }
}

/// Judges one outcome.
pub fn judge(item: &Item, client: &str, outcome: &Outcome, watch: Option<&Value>) -> Verdict {
    let told = match outcome {
        Outcome::Lost(why) => return Verdict::Failed(why.clone()),
        Outcome::Unsupported(why) => return Verdict::Unsupported(why.clone()),
        Outcome::Told(told) => told,
    };
    let mut wrong = Vec::new();
    let mut expect = item.expect.clone();
    expect.entry("code").or_insert(0.into());
    let otherwise = item.otherwise.get(client);
    if let Some(otherwise) = otherwise {
        let code = Some(number(told.get("code"))).filter(|code| otherwise.codes.contains(code));
        expect.insert("code".to_owned(), code.or(otherwise.codes.first().copied()).into());
    }
    for (path, expected) in &expect {
        let came = at(told, path);
        if !same(expected, came.as_ref()) {
            wrong.push(format!("{path} is {}, not {expected}", shown(came.as_ref())));
        }
    }
    limits(&item.most, told, |came, limit| came <= limit, "more than", &mut wrong);
    limits(&item.least, told, |came, limit| came >= limit, "less than", &mut wrong);
    let mut note = String::new();
    if let Some(expected) = &item.watch {
        let count = |key: &str| number(watch.and_then(|seen| seen.get(key)));
        let (begun, cancelled) = (count("begun"), count("cancelled"));
        if (begun, cancelled) != (expected.begun, expected.cancelled) {
            wrong.push(format!(
                "the provider saw {begun} calls and {cancelled} cancellations, not {} and {}",
                expected.begun, expected.cancelled
            ));
        }
        if expected.measured {
            match noticed_after_ms(told, watch) {
                Some(ms) if ms > CANCELLATION_MS_MAX => {
                    wrong.push(format!("the cancellation was noticed after {ms} ms"));
                }
                Some(ms) => note = format!("{ms} ms"),
                None => wrong.push("no time of cancellation".to_owned()),
            }
        }
    }
    if wrong.is_empty() {
        return otherwise.map_or(Verdict::Passed(note), |otherwise| Verdict::Differs(otherwise.why.clone()));
    }
    let said =
        at(told, "message").and_then(|message| message.as_str().map(str::to_owned)).unwrap_or_default();
    Verdict::Failed(format!("{} ({said})", wrong.join("; ")))
}

/// The value at a dotted path. `initial` and `trailers` become objects: key to values, in order.
fn at(told: &Value, path: &str) -> Option<Value> {
    let mut value = told.clone();
    for part in path.split('.') {
        value = value.get_mut(part)?.take();
    }
    if matches!(path, "initial" | "trailers") {
        let mut by_key = Map::new();
        for entry in value.as_array()? {
            let key = entry.get("key")?.as_str()?;
            let values = by_key.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            values.as_array_mut()?.push(entry.get("value").cloned().unwrap_or_default());
        }
        value = Value::Object(by_key);
    }
    Some(value)
}

/// Equal as protobuf's JSON means it: what is absent is the default, 64 bits may be text, and of objects only the
/// expected keys count.
fn same(expected: &Value, came: Option<&Value>) -> bool {
    match (expected, came) {
        (Value::Number(_), came) => expected.as_u64() == Some(number(came)),
        (Value::Bool(expected), came) => came.and_then(Value::as_bool).unwrap_or_default() == *expected,
        (Value::String(expected), None) => expected.is_empty(),
        (Value::Array(expected), None) => expected.is_empty(),
        (Value::Object(expected), Some(came)) => {
            expected.iter().all(|(key, expected)| same(expected, came.get(key)))
        }
        (expected, Some(came)) => expected == came,
        (_, None) => false,
    }
}

fn limits(
    limits: &Map<String, Value>,
    told: &Value,
    keeps: impl Fn(u64, u64) -> bool,
    word: &str,
    wrong: &mut Vec<String>,
) {
    for (path, limit) in limits {
        let came = at(told, path).map_or(0, |came| milliseconds(&came));
        let limit = limit.as_u64().unwrap_or_default();
        if !keeps(came, limit) {
            wrong.push(format!("{path} is {came}, {word} {limit}"));
        }
    }
}

/// A number, or a duration of protobuf's JSON in milliseconds.
fn milliseconds(value: &Value) -> u64 {
    let seconds = value.as_str().and_then(|text| text.strip_suffix('s')).and_then(|text| text.parse().ok());
    match seconds {
        Some(seconds) => {
            let duration = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
            u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
        }
        None => number(Some(value)),
    }
}

/// From the client's cancellation to the provider's notice, by the clock of this machine.
fn noticed_after_ms(told: &Value, watch: Option<&Value>) -> Option<i64> {
    let cancelled = i64::try_from(number(told.get("cancelledAtMs"))).ok().filter(|at| *at > 0)?;
    let noticed: Timestamp = watch?.get("cancelledAt")?.as_str()?.parse().ok()?;
    Some(noticed.seconds * 1_000 + i64::from(noticed.nanos / 1_000_000) - cancelled)
}

fn shown(came: Option<&Value>) -> String {
    came.map_or_else(|| "absent".to_owned(), Value::to_string)
}
