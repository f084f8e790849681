//! `lienthong refusal`, `dispute`, `outage` and `connection`: the duty to share, and what happens where it is not met.

use anyhow::{Context, Result};
use lienthong_proto::lienthong::{
    options::v1::Purpose, registry::v1::duty_service_client::DutyServiceClient,
};
use lienthong_transport::Channel;
use prost_types::Timestamp;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::enroll::BrokerArgs;
use crate::client::{self, Client};

pub mod connection;
pub mod dispute;
pub mod outage;
pub mod refusal;

type Duties = DutyServiceClient<Channel<tonic::body::Body>>;

fn service(broker: &BrokerArgs) -> Result<Duties> {
    let client = Client::new(&client::profile(&broker.profile)?)?;
    Ok(DutyServiceClient::new(client.channel()))
}

/// A purpose by its word.
fn purpose(word: Option<&str>) -> Result<Purpose> {
    let Some(word) = word else { return Ok(Purpose::Unspecified) };
    lienthong_catalog::purpose::from_word(word).with_context(|| {
        let known: Vec<&str> = lienthong_catalog::purpose::WORDS.iter().map(|(_, word)| *word).collect();
        format!("{word} is no purpose; write one of {}", known.join(", "))
    })
}

/// A time, RFC 3339.
fn time(text: &str) -> Result<Timestamp> {
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .with_context(|| format!("{text:?} is no time; write it as 2026-12-24T08:00:00+07:00"))?;
    Ok(Timestamp { seconds: at.unix_timestamp(), nanos: 0 })
}

/// The words of an enum without its prefix, small.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase()
}

/// `12` and `<kind>/00000012` are the same.
fn full_name(kind: &str, name: &str) -> String {
    match name.parse::<u64>() {
        Ok(number) => format!("{kind}/{number:08}"),
        Err(_) => name.to_owned(),
    }
}
