//! What every listing of the broker's does: page after page, then for people or as JSON.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use tonic::{Response, Status};

use super::{enroll::show, message_json};
use crate::out;

/// Items in one page of a listing.
pub const PAGE_ITEMS: i32 = 1_000;

/// The answer itself, or the refusal in both languages.
pub fn answered<M>(answer: Result<Response<M>, Status>) -> Result<M> {
    answer.map(Response::into_inner).map_err(|status| show::explained(&status))
}

/// Every item of a listing: `fetch` answers the page behind a token, and the token of the next one.
pub async fn every<T>(mut fetch: impl AsyncFnMut(String) -> Result<(Vec<T>, String)>) -> Result<Vec<T>> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let (items, next) = fetch(page_token).await?;
        all.extend(items);
        if next.is_empty() {
            return Ok(all);
        }
        page_token = next;
    }
}

/// A list, for people or as JSON under `key`. `message` is the full name of the items' message.
pub fn listed<M: prost::Message>(
    all: &[M],
    key: &str,
    message: &str,
    json_wanted: bool,
    row: impl Fn(&M) -> String,
) -> Result<ExitCode> {
    if json_wanted {
        let all = all.iter().map(|one| message_json(message, one)).collect::<Result<Vec<Value>>>()?;
        out::line(&json!({ key: all }).to_string());
    } else if all.is_empty() {
        out::note("none");
    } else {
        for one in all {
            out::line(&row(one));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One thing, for people or as JSON.
pub fn told<M: prost::Message>(
    one: &M,
    message: &str,
    json_wanted: bool,
    text: impl Fn(&M) -> String,
) -> Result<ExitCode> {
    if json_wanted {
        out::line(&message_json(message, one)?.to_string());
    } else {
        out::line(&text(one));
    }
    Ok(ExitCode::SUCCESS)
}
