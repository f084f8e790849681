//! What the broker's log says.

use std::path::Path;

use anyhow::Result;
use lienthong_audit::{log::LogReader, record};
use lienthong_proto::lienthong::audit::v1::{Closing, Record, record::Body};

/// Every record of a log.
pub fn records(log: &Path) -> Result<Vec<Record>> {
    let reader = LogReader::new(log);
    let entries = reader.entries(0..reader.size()?)?;
    Ok(entries.iter().map(|entry| record::decode(entry)).collect::<Result<_, _>>()?)
}

/// The closing records of one exchange, by its id as callers read it.
pub fn closings<'a>(records: &'a [Record], exchange: &str) -> Result<Vec<&'a Closing>> {
    let id = uuid::Uuid::parse_str(exchange)?;
    let closing = |record: &'a Record| match &record.body {
        Some(Body::Closing(closing)) => Some(closing),
        _ => None,
    };
    let of_it = |closing: &&Closing| closing.exchange.as_ref().is_some_and(|it| it.id == id.as_bytes());
    Ok(records.iter().filter_map(closing).filter(of_it).collect())
}
