//! `lienthong catalog plan`, `apply`, `approve`, `reject`, `changes`: four eyes on the catalog.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use lienthong_approval::{Statement, approve as sign, folder_hash};
use lienthong_audit::hash::Hash;
use lienthong_broker::sources;
use lienthong_catalog::catalog::Entry;
use lienthong_catalog::source::differences;
use lienthong_catalog::{Catalog, SourceFile};
use lienthong_certs::Credentials;
use lienthong_proto::lienthong::{
    catalog::v1::{
        ApproveChangeRequest, Change, ChangeState, GetChangeRequest, ListChangesRequest, Plan,
        ProposeChangeResponse, RejectChangeRequest, propose_change_request::Head,
    },
    control::v1::Approval,
};
use serde_json::json;
use time::OffsetDateTime;

use super::{
    folder::{self, Changes},
    show,
};
use crate::{
    client,
    commands::{
        enroll::{BrokerArgs, show as enrollment},
        message_json,
    },
    out,
};

/// Changes in one page of a listing.
const PAGE_ITEMS: i32 = 1_000;
/// Bytes of a request's random id.
const REQUEST_ID_BYTES: usize = 16;

/// `lienthong catalog plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Folder with the YAML files
    dir: PathBuf,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Decide the calls of the last days again, as they are on record, and say which would come out differently
    #[arg(long, value_name = "DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=90))]
    days: u32,
}

/// `lienthong catalog apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Folder with the YAML files
    dir: PathBuf,
    #[command(flatten)]
    broker: BrokerArgs,
    /// What the change is for; it goes on record
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Id of the request, for one that is sent again; random without it
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// `lienthong catalog approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Change, for example changes/00000012
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Hash of the folder that you approve, 64 hexadecimal digits; colons and spaces do not count. Without it, the change is
    /// shown and nothing is approved
    #[arg(long, value_name = "HEX")]
    content: Option<String>,
}

/// `lienthong catalog reject`.
#[derive(Debug, Args)]
pub struct RejectArgs {
    /// Change, for example changes/00000012
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Why; it goes on record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// `lienthong catalog changes`.
#[derive(Debug, Args)]
pub struct ChangesArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<StateWord>,
}

/// A state, as the command line takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StateWord {
    /// It waits for the second person
    Proposed,
    /// It is, or was, in force
    Applied,
    /// Refused or withdrawn
    Rejected,
    /// Another change was faster
    Overtaken,
}

/// Says what a folder would change.
pub async fn plan(args: PlanArgs) -> Result<ExitCode> {
    let files = sources::read_folder(&args.dir)?;
    let mut service = folder::service(&args.broker)?;
    let present = folder::fetch(&mut service, "").await?;
    if folder_hash(&present) == folder_hash(&files) {
        out::note("The folder is the catalog in force. Thư mục trùng với danh mục đang có hiệu lực.");
        return Ok(ExitCode::SUCCESS);
    }
    let head = Head { validate_only: true, replay_days: args.days, ..head(&present, &files) };
    let checked = propose(&mut service, head, &files).await?;
    answer(checked.change.as_ref(), checked.plan.as_ref(), args.broker.json)
}

/// Proposes a folder, signed by the caller.
pub async fn apply(args: ApplyArgs) -> Result<ExitCode> {
    let files = sources::read_folder(&args.dir)?;
    let mut service = folder::service(&args.broker)?;
    let present = folder::fetch(&mut service, "").await?;
    let checked = Head { validate_only: true, ..head(&present, &files) };
    let checked = propose(&mut service, checked, &files).await?;
    let change = checked.change.context("the broker answered without a change")?;
    // What is signed is what this program makes of the folder, not what the broker says.
    let statement = own_statement(&change, &present, &files)?;
    let head = Head {
        approval: Some(approval(&args.broker, &statement)?),
        note: args.note,
        request_id: match args.request_id {
            Some(id) => id,
            None => random_id()?,
        },
        ..head(&present, &files)
    };
    let proposed = propose(&mut service, head, &files).await?;
    let plan = proposed.plan.or(checked.plan);
    answer(proposed.change.as_ref(), plan.as_ref(), args.broker.json)?;
    if let Some(change) = proposed.change.filter(|_| !args.broker.json) {
        out::note(&format!(
            "Proposed, not in force. Another person of the operator looks at it and approves:\n  \
             lienthong catalog approve {} --profile FILE\n\
             Đã đề xuất, chưa có hiệu lực: cần người thứ hai của đơn vị vận hành phê duyệt.",
            change.name
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Approves a change, once its hash is said; shows it otherwise.
pub async fn approve(args: ApproveArgs) -> Result<ExitCode> {
    let mut service = folder::service(&args.broker)?;
    let name = full_name(&args.name);
    let change = get(&mut service, &name).await?;
    let files = folder::fetch(&mut service, &name).await?;
    let present = folder::fetch(&mut service, "").await?;
    let Some(content) = &args.content else {
        if args.broker.json {
            answer(Some(&change), None, true)?;
        } else {
            out::line(&show::whole(&change));
            let lines =
                differences(&present, &files).map_err(|_| anyhow::anyhow!("the files are no YAML"))?;
            for line in show::differences(&lines) {
                out::line(&line);
            }
        }
        out::note(
            "Nothing is approved. Compare the content hash with the person who proposed it; then give it: --content HEX\n\
             Chưa phê duyệt. Hãy đối chiếu mã băm với người đề xuất, rồi nêu --content HEX.",
        );
        return Ok(ExitCode::FAILURE);
    };
    let said = enrollment::read_fingerprint(content)?;
    anyhow::ensure!(
        said == folder_hash(&files).0,
        "the change has another content than the hash that you gave; look at it again"
    );
    let statement = own_statement(&change, &present, &files)?;
    let approval = Some(approval(&args.broker, &statement)?);
    let request = ApproveChangeRequest { name, approval, etag: change.etag };
    let approved =
        service.approve_change(request).await.map_err(|status| enrollment::explained(&status))?.into_inner();
    answer(approved.change.as_ref(), None, args.broker.json)
}

/// Refuses or withdraws a change.
pub async fn reject(args: RejectArgs) -> Result<ExitCode> {
    let mut service = folder::service(&args.broker)?;
    let request = RejectChangeRequest { name: full_name(&args.name), reason: args.reason };
    let rejected =
        service.reject_change(request).await.map_err(|status| enrollment::explained(&status))?.into_inner();
    answer(rejected.change.as_ref(), None, args.broker.json)
}

/// Lists changes.
pub async fn list(args: ChangesArgs) -> Result<ExitCode> {
    let mut service = folder::service(&args.broker)?;
    let state = args.state.map_or(ChangeState::Unspecified, ChangeState::from);
    let (mut all, mut page_token): (Vec<Change>, String) = (Vec::new(), String::new());
    loop {
        let request = ListChangesRequest { page_size: PAGE_ITEMS, page_token, state: state.into() };
        let page = service
            .list_changes(request)
            .await
            .map_err(|status| enrollment::explained(&status))?
            .into_inner();
        all.extend(page.changes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if args.broker.json {
        let all = all.iter().map(|one| message_json("lienthong.catalog.v1.Change", one));
        out::line(&json!({ "changes": all.collect::<Result<Vec<_>>>()? }).to_string());
    } else {
        for one in &all {
            out::line(&show::row(one));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn head(present: &[SourceFile], files: &[SourceFile]) -> Head {
    Head {
        base_hash: folder_hash(present).0.to_vec(),
        content_hash: folder_hash(files).0.to_vec(),
        ..Head::default()
    }
}

async fn propose(service: &mut Changes, head: Head, files: &[SourceFile]) -> Result<ProposeChangeResponse> {
    let parts = tokio_stream::iter(folder::upload(head, files));
    let answer = service.propose_change(parts).await.map_err(|status| enrollment::explained(&status))?;
    Ok(answer.into_inner())
}

async fn get(service: &mut Changes, name: &str) -> Result<Change> {
    let request = GetChangeRequest { name: name.to_owned() };
    let answer = service.get_change(request).await.map_err(|status| enrollment::explained(&status))?;
    answer.into_inner().change.context("the broker answered without a change")
}

/// The statement of a change, made here of the folder itself; refused where it is not the broker's, or where the broker
/// would activate something that does not differ, or leave out something that does.
fn own_statement(change: &Change, present: &[SourceFile], files: &[SourceFile]) -> Result<Vec<u8>> {
    let read = |files: &[SourceFile]| {
        Catalog::read(files).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the catalog has mistakes:\n{}", lines.join("\n"))
        })
    };
    let (before, after) = (read(present)?, read(files)?);
    let said = change.approved.as_ref().map(|approved| approved.statement.as_slice()).unwrap_or_default();
    let theirs = Statement::read(said)?;
    let old = |entry: &Entry| before.entries().iter().find(|old| old.id == entry.id).map(|old| &old.content);
    let named = |entry: &&Entry| change.activates.contains(&entry.versioned_id());
    let in_force: Vec<&Entry> = after.entries().iter().filter(|entry| entry.status.is_in_force()).collect();
    if let Some(left_out) = in_force.iter().find(|entry| old(entry) != Some(&entry.content) && !named(entry))
    {
        anyhow::bail!(
            "{} differs, but the change does not activate it; propose it anew",
            left_out.versioned_id()
        );
    }
    let activates: Vec<&Entry> = in_force.into_iter().filter(named).collect();
    let base = Hash::from_slice(&change.base_hash);
    let own = Statement::of(&theirs.mesh, base, folder_hash(files), &activates);
    anyhow::ensure!(
        own == theirs,
        "the broker asks for a signature over something else than this folder; tell its operator, and do not sign"
    );
    Ok(own.to_bytes())
}

/// The caller's signature, with the key of the profile.
fn approval(broker: &BrokerArgs, statement: &[u8]) -> Result<Approval> {
    let profile = client::profile(&broker.profile)?;
    let credentials = Credentials::open(&profile.certificate, &profile.key)?;
    Ok(sign(&credentials, statement, OffsetDateTime::now_utc())?)
}

fn answer(change: Option<&Change>, plan: Option<&Plan>, machine: bool) -> Result<ExitCode> {
    if machine {
        let change = change.map(|one| message_json("lienthong.catalog.v1.Change", one)).transpose()?;
        let plan = plan.map(|one| message_json("lienthong.catalog.v1.Plan", one)).transpose()?;
        out::line(&json!({ "change": change, "plan": plan }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(change) = change {
        out::line(&show::whole(change));
    }
    if let Some(plan) = plan {
        out::line(&show::plan(plan));
    }
    Ok(ExitCode::SUCCESS)
}

/// `12` and `changes/00000012` are the same.
fn full_name(name: &str) -> String {
    match name.parse::<u64>() {
        Ok(number) => format!("changes/{number:08}"),
        Err(_) => name.to_owned(),
    }
}

/// Random, for a request that may be sent again.
pub fn random_id() -> Result<String> {
    let mut bytes = [0; REQUEST_ID_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system's randomness failed"))?;
    Ok(hex::encode(bytes))
}

impl From<StateWord> for ChangeState {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::Proposed => Self::Proposed,
            StateWord::Applied => Self::Applied,
            StateWord::Rejected => Self::Rejected,
            StateWord::Overtaken => Self::Overtaken,
        }
    }
}
