//! `lienthong audit subject` and `lienthong audit disclose`: who looked at one person's data, and who may not hear of it yet.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use lienthong_proto::lienthong::{
    audit::v1::{Disclosure, SetDisclosureRequest, Status, SubjectAccessRequest, SubjectUse},
    options::v1::Purpose,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    search::{AskerArgs, pruned, refused, time_of},
    show,
};
use crate::out;

/// `lienthong audit subject`.
#[derive(Debug, Args)]
pub struct SubjectArgs {
    /// Who asks, and why
    #[command(flatten)]
    pub asker: AskerArgs,
    /// Citizen number or business number
    pub subject: String,
    /// From this time on: a date (Hà Nội time), or RFC 3339
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Print one JSON object with proofs, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong audit disclose`.
#[derive(Debug, Args)]
pub struct DiscloseArgs {
    /// Who asks, and why
    #[command(flatten)]
    pub asker: AskerArgs,
    /// Exchange id
    pub exchange: Uuid,
    /// At once
    #[arg(long, group = "when")]
    pub now: bool,
    /// After this time: a date (Hà Nội time), or RFC 3339
    #[arg(long, value_name = "TIME", group = "when")]
    pub after: Option<String>,
    /// Not until an authority lifts it
    #[arg(long, group = "when")]
    pub sealed: bool,
}

/// Carries `subject` out.
pub async fn run(args: &SubjectArgs) -> Result<ExitCode> {
    let mut service = args.asker.service()?;
    let time =
        |option: &str, text: &Option<String>| text.as_deref().map(|text| time_of(option, text)).transpose();
    let mut request = SubjectAccessRequest {
        subject: args.subject.clone(),
        from_time: time("--from", &args.from)?,
        to_time: time("--to", &args.to)?,
        case_id: args.asker.case.clone(),
        reason: args.asker.reason.clone(),
        ..SubjectAccessRequest::default()
    };
    let (mut uses, mut withheld) = (Vec::new(), 0);
    let (complete_up_to, subjects_missing, minimum_index) = loop {
        let page = service.subject_access(request.clone()).await.map_err(refused)?.into_inner();
        withheld += page.withheld;
        let checkpoint = page.checkpoint;
        uses.extend(page.uses.into_iter().map(|one| (one, checkpoint.clone())));
        if page.next_page_token.is_empty() {
            break (page.complete_up_to, page.subjects_missing, page.minimum_index);
        }
        request.page_token = page.next_page_token;
    };
    if args.json {
        let uses: Vec<Value> = uses.iter().map(|(one, checkpoint)| to_json(one, checkpoint)).collect();
        let answer = json!({
            "uses": uses,
            "withheld": withheld,
            "complete_up_to": complete_up_to,
            "subjects_missing": subjects_missing,
            "minimum_index": minimum_index,
        });
        out::line(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "time",
        "consumer",
        "name",
        "dataset",
        "purpose",
        "dossier",
        "fields",
        "status",
        "disclosure",
        "exchange",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(uses.iter().map(|(one, _)| row(one)));
    out::raw(&show::table(&rows));
    out::line(&format!("{} uses; complete for the entries before {complete_up_to}", uses.len()));
    if withheld > 0 {
        out::line(&format!("{withheld} of them may not be shown to the person yet"));
    }
    if subjects_missing > 0 {
        out::line(&format!(
            "{subjects_missing} records in the log name subjects of whom no node has told the index"
        ));
    }
    if minimum_index > 0 {
        out::line(&pruned(minimum_index));
    }
    Ok(ExitCode::SUCCESS)
}

/// Carries `disclose` out.
pub async fn disclose(args: &DiscloseArgs) -> Result<ExitCode> {
    let (disclosure, disclose_time) = match (args.now, args.sealed, &args.after) {
        (true, _, _) => (Disclosure::Now, None),
        (_, true, _) => (Disclosure::Sealed, None),
        (_, _, Some(after)) => (Disclosure::After, Some(time_of("--after", after)?)),
        _ => bail!("say when: --now, --after TIME, or --sealed"),
    };
    let request = SetDisclosureRequest {
        exchange_id: args.exchange.as_bytes().to_vec(),
        disclosure: disclosure.into(),
        disclose_time,
        authority: args.asker.reason.clone(),
        case_id: args.asker.case.clone(),
    };
    let answer = args.asker.service()?.set_disclosure(request).await.map_err(refused)?.into_inner();
    out::line(&format!("on record as entry {}", answer.index));
    Ok(ExitCode::SUCCESS)
}

fn row(one: &SubjectUse) -> [String; 10] {
    [
        one.time.as_ref().map(show::local_time).unwrap_or_default(),
        one.consumer.clone(),
        one.consumer_name.clone(),
        one.dataset.clone(),
        show::word(Purpose::try_from(one.purpose).unwrap_or_default().as_str_name(), "PURPOSE_"),
        one.dossier.clone(),
        one.fields_released.join(" "),
        show::word(Status::try_from(one.status).unwrap_or_default().as_str_name(), "STATUS_"),
        show::word(one.disclosure().as_str_name(), "DISCLOSURE_"),
        show::id(&one.exchange_id),
    ]
}

fn to_json(one: &SubjectUse, checkpoint: &str) -> Value {
    let [time, consumer, consumer_name, dataset, purpose, dossier, _, status, disclosure, exchange] =
        row(one);
    json!({
        "time": time,
        "consumer": consumer,
        "consumer_name": consumer_name,
        "system": one.system,
        "provider": one.provider,
        "provider_name": one.provider_name,
        "dataset": dataset,
        "purpose": purpose,
        "dossier": dossier,
        "status": status,
        "fields_released": one.fields_released,
        "disclosure": disclosure,
        "exchange": exchange,
        "record": one.record.as_ref().map(|found| show::record_json(found, checkpoint)),
    })
}
