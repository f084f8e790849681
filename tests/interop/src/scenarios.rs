//! The list: `scenarios.json`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::Client;

/// One scenario of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What it shows; said with each failure.
    pub what: String,
    /// When it is played.
    #[serde(default)]
    pub phase: Phase,
    /// The scenario, protobuf's JSON of `lienthong.interop.v1.Scenario`; `$CLIENT` stands for the client's name.
    scenario: Value,
    /// What the outcome must say, by dotted path.
    #[serde(default)]
    pub expect: Map<String, Value>,
    /// Numbers that must not be larger, by dotted path; durations are milliseconds.
    #[serde(default)]
    pub most: Map<String, Value>,
    /// Numbers that must not be smaller.
    #[serde(default)]
    pub least: Map<String, Value>,
    /// What the provider must have seen.
    pub watch: Option<Watch>,
    /// Clients whose library tells it in another way.
    #[serde(default)]
    pub otherwise: BTreeMap<String, Otherwise>,
}

/// How one library tells what others tell as expected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otherwise {
    /// gRPC status codes that come from it.
    pub codes: Vec<u64>,
    /// Why.
    pub why: String,
}

/// What the provider must have seen of the calls that named a watch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The watch; `$CLIENT` stands for the client's name.
    pub name: String,
    /// Calls that began.
    pub begun: u64,
    /// Calls whose caller went away.
    pub cancelled: u64,
    /// The time from the client's cancellation to the provider's notice is shown.
    #[serde(default)]
    pub measured: bool,
}

/// What happens to the mesh while scenarios are played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing.
    #[default]
    Steady,
    /// One of the provider's nodes is killed between a client's two calls.
    NodeKilled,
    /// The consumer's node is down when the clients start, and comes up.
    NodeStarts,
    /// The consumer's node is restarted between a client's two calls.
    NodeRestarts,
    /// A certificate is revoked before the clients start.
    Revoked,
}

impl Phase {
    /// In the order in which they are played.
    pub const ALL: [Self; 5] =
        [Self::Steady, Self::NodeKilled, Self::NodeStarts, Self::NodeRestarts, Self::Revoked];
}

/// Reads the list, as far as names contain `only`.
pub fn read(only: &str) -> Result<Vec<Item>> {
    let list: Vec<Item> =
        serde_json::from_str(include_str!("../scenarios.json")).context("scenarios.json")?;
    Ok(list.into_iter().filter(|item| item.id().contains(only)).collect())
}

impl Item {
    /// Its name.
    pub fn id(&self) -> &str {
        self.scenario.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    /// The scenario for one client, one line.
    pub fn line_for(&self, client: &Client) -> String {
        let mut scenario = self.scenario.clone();
        if let Some(fields) = scenario.as_object_mut() {
            fields.entry("caller").or_insert_with(|| "office".into());
        }
        for_client(&scenario.to_string(), client)
    }
}

/// A text of the list for one client.
pub fn for_client(text: &str, client: &Client) -> String {
    text.replace("$CLIENT", &client.name)
}
