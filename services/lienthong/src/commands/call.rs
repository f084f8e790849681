//! `lienthong call`: one call through one's own node.

use std::{io::Read, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use http::uri::PathAndQuery;
use lienthong_proto::status;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    cli::CallArgs,
    client::{self, Client, Stated},
    out,
};

/// Largest request that is read from stdin, bytes.
const STDIN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Calls, prints each message of the answer as JSON, and says under which exchange it is on record.
pub async fn run(args: CallArgs) -> Result<ExitCode> {
    let client = Client::new(&client::profile(&args.profile)?)?;
    let stated = Stated {
        purpose: args.purpose,
        dossier: args.dossier,
        user: args.user,
        provider: args.provider,
        fields: args.fields,
        timeout: Some(Duration::from_secs(args.timeout)),
    };
    let data = if args.data == "-" { stdin()? } else { args.data };
    let outcome = call(&client, &args.method, &data, &stated).await?;
    if args.json {
        out::line(&outcome.to_json()?);
    } else {
        print(&outcome)?;
    }
    Ok(if outcome.error.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of a call.
pub struct Outcome {
    /// Messages of the answer, as canonical JSON.
    pub messages: Vec<Value>,
    /// Id of the exchange, where it got one.
    pub exchange_id: Option<String>,
    /// The error, where there was one.
    pub error: Option<Status>,
}

/// Calls a method from its contract.
pub async fn call(client: &Client, method: &str, data: &str, stated: &Stated) -> Result<Outcome> {
    let pool = match client.contract(method, stated).await {
        Ok(pool) => pool,
        Err(error) => match error.downcast::<Status>() {
            Ok(status) => return Ok(Outcome::failed(status)),
            Err(error) => return Err(error),
        },
    };
    if client::method_of(&pool, method).is_err()
        && let Ok(path) = method.parse::<PathAndQuery>()
    {
        // A contract shows what one may call. Why this method is not among it, the node says itself, and on record.
        return denied(client, path, stated).await;
    }
    call_with(&pool, client, method, data, stated).await
}

/// Calls a method that one may not call, with an empty message.
async fn denied(client: &Client, path: PathAndQuery, stated: &Stated) -> Result<Outcome> {
    let nothing = DescriptorPool::global()
        .get_message_by_name("google.protobuf.Empty")
        .context("google.protobuf.Empty is not built in")?;
    let message = DynamicMessage::new(nothing.clone());
    let collected = match client.call_path(path, message, nothing, stated).await {
        Ok(answer) => answer.collect().await,
        Err(status) => Err(status),
    };
    match collected {
        Err(status) => Ok(Outcome::failed(status)),
        Ok((_, metadata)) => {
            Ok(Outcome { messages: Vec::new(), exchange_id: exchange_id(&metadata), error: None })
        }
    }
}

/// Calls a method of a contract that is at hand.
pub async fn call_with(
    pool: &DescriptorPool,
    client: &Client,
    method: &str,
    data: &str,
    stated: &Stated,
) -> Result<Outcome> {
    let method = client::method_of(pool, method)?;
    anyhow::ensure!(
        !method.is_client_streaming(),
        "this command sends one message; {} takes a stream",
        method.name()
    );
    let request = client::message_from_json(method.input(), data)?;
    let collected = match client.call(&method, request, stated).await {
        Ok(answer) => answer.collect().await,
        Err(status) => Err(status),
    };
    match collected {
        Err(status) => Ok(Outcome::failed(status)),
        Ok((messages, metadata)) => Ok(Outcome {
            messages: messages.iter().map(client::message_to_json).collect::<Result<_>>()?,
            exchange_id: exchange_id(&metadata),
            error: None,
        }),
    }
}

impl Outcome {
    fn failed(status: Status) -> Self {
        Self { messages: Vec::new(), exchange_id: exchange_id(status.metadata()), error: Some(status) }
    }

    fn to_json(&self) -> Result<String> {
        let error = self.error.as_ref().map(|status| {
            let read = status::read(status);
            json!({
                "code": format!("{:?}", status.code()),
                "message": status.message(),
                "reason": read.as_ref().map(|read| read.reason.name()),
                "metadata": read.as_ref().map(|read| &read.metadata),
                "vi": read.as_ref().and_then(|read| read.vi.as_ref()),
            })
        });
        let object = json!({ "messages": self.messages, "exchange_id": self.exchange_id, "error": error });
        serde_json::to_string(&object).context("the answer cannot be written as JSON")
    }
}

fn exchange_id(metadata: &MetadataMap) -> Option<String> {
    metadata.get("mesh-exchange-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}

fn print(outcome: &Outcome) -> Result<()> {
    for message in &outcome.messages {
        out::line(&serde_json::to_string_pretty(message)?);
    }
    if let Some(status) = &outcome.error {
        out::note(&explain(status));
    }
    if let Some(id) = &outcome.exchange_id {
        out::note(&format!("exchange {id}"));
    }
    Ok(())
}

/// A status for a person: English, Vietnamese, and the reason to look up.
fn explain(status: &Status) -> String {
    let code = match status.code() {
        Code::Ok => "Ok".to_owned(),
        code => format!("{code:?}"),
    };
    match status::read(status) {
        None => format!("{code}: {}", status.message()),
        Some(read) => {
            let vi = read.vi.map(|vi| format!("\n{vi}")).unwrap_or_default();
            format!("{code}: {}{vi}\nsee docs/errors/{}.md", status.message(), read.reason.name())
        }
    }
}

fn stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(STDIN_BYTES_MAX)
        .read_to_string(&mut text)
        .context("the request on stdin cannot be read")?;
    Ok(text)
}
