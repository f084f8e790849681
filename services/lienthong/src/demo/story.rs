//! The story: what the law promises, shown on running agencies. Each step says what is expected and what was
//! seen.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use lienthong_audit::{
    policy::Policy,
    verify::{Verdict, VerifyOptions, VerifyReport, verify_dir},
};
use lienthong_proto::{
    lienthong::{
        catalog::v1::ListDatasetsRequest,
        compliance::v1::{GetScorecardRequest, compliance_service_client::ComplianceServiceClient},
    },
    reason::Reason,
    status,
};
use serde_json::Value;

use crate::{
    client::{Client, Stated},
    commands::call::{self, Outcome},
    demo::{mesh::Mesh, narrator::Narrator, plan::OUTSIDER},
};

const GET_CITIZEN: &str = "/vn.dancu.v1.CitizenService/GetCitizen";
const VERIFY_RECORD: &str = "/vn.dancu.v1.CitizenService/VerifyRecord";
const GET_ENTERPRISE: &str = "/vn.dkdn.v1.EnterpriseService/GetEnterprise";
const LIST_UNITS: &str = "/vn.danhmuc.v1.AdministrativeUnitService/ListAdministrativeUnits";

/// The dossier of scenario 1 (domain §4).
const DOSSIER: &str = "H26.90-261121-0001";

/// How long contracts may take to reach every node after the start.
const CONTRACTS_TIMEOUT_MS: u64 = 15_000;

/// How long the last records may take to reach the published log.
const RECORDS_TIMEOUT_MS: u64 = 10_000;

/// Plays it.
pub async fn play(mesh: &mut Mesh, narrator: &mut Narrator) -> Result<()> {
    let office = mesh.client("H26.90-mot-cua")?;
    let tax = mesh.client("G12.90-thue")?;
    contracts_are_known(&office, &tax).await?;

    catalog(&office, narrator).await?;
    residence(&office, narrator).await?;
    enterprise(&tax, narrator).await?;
    code_list(&office, narrator).await?;
    refusals(mesh, &office, narrator).await?;
    without_the_broker(mesh, &office, narrator).await?;
    compliance(mesh, narrator).await?;
    the_log(mesh, narrator)
}

/// Contracts are published when the nodes start; rights follow within moments.
async fn contracts_are_known(office: &Client, tax: &Client) -> Result<()> {
    let until = Instant::now() + Duration::from_millis(CONTRACTS_TIMEOUT_MS);
    for (client, method) in [(office, GET_CITIZEN), (office, LIST_UNITS), (tax, GET_ENTERPRISE)] {
        while let Err(error) = client.contract(method, &Stated::default()).await {
            if Instant::now() > until {
                return Err(error.context(format!("the node does not know {method}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

async fn catalog(office: &Client, narrator: &mut Narrator) -> Result<()> {
    narrator
        .scenario("catalog", "What does the Ministry of Public Security (G01) share? Its own node says so");
    let stated = Stated { provider: Some("G01".to_owned()), ..Stated::default() };
    let mut request = tonic::Request::new(ListDatasetsRequest::default());
    stated.write(&mut request)?;
    let answer = office.catalog().list_datasets(request).await?.into_inner();
    let lines: Vec<_> = answer
        .datasets
        .iter()
        .map(|dataset| {
            format!(
                "{} · {} · {} fields · {}",
                dataset.id,
                dataset.name_vi,
                dataset.fields.len(),
                dataset.legal_basis.join(", ")
            )
        })
        .collect();
    let ids: BTreeSet<_> = answer.datasets.iter().map(|dataset| dataset.id.as_str()).collect();
    let expected = BTreeSet::from(["dancu.cong_dan", "dancu.xac_nhan_cu_tru"]);
    narrator.step(
        "the one-stop shop H26.90 reads G01's shared-data catalog",
        "dancu.cong_dan and dancu.xac_nhan_cu_tru",
        &lines.join("\n"),
        answer.agency == "G01" && ids == expected,
    );
    Ok(())
}

async fn residence(office: &Client, narrator: &mut Narrator) -> Result<()> {
    narrator
        .scenario("residence", &format!("A clerk handles dossier {DOSSIER}: where does 999190000001 live?"));
    let verification = Stated { purpose: Some("VERIFICATION".to_owned()), ..Stated::default() };
    let claim = r#"{"soDinhDanh":"999190000001","hoTen":"Nguyễn Văn Mẫu"}"#;
    let outcome = call::call(office, VERIFY_RECORD, claim, &verification).await?;
    let confirmation = outcome.messages.first().and_then(|message| message.get("confirmation"));
    let matched =
        confirmation.and_then(|confirmation| confirmation.get("ketQuaKhop")) == Some(&Value::Bool(true));
    let discloses = outcome.messages.iter().any(|message| message.to_string().contains("thuongTru\""));
    narrator.step(
        "a claim is confirmed without disclosing the address",
        "ketQuaKhop true, no address",
        &told(&outcome),
        matched && !discloses,
    );

    let handling = Stated { dossier: Some(DOSSIER.to_owned()), ..purpose("ADMIN_PROCEDURE") };
    let person = r#"{"soDinhDanh":"999190000001"}"#;
    let outcome = call::call(office, GET_CITIZEN, person, &handling).await?;
    let fields = fields_of(&outcome, "citizen");
    let granted = BTreeSet::from(["hoTen".to_owned(), "noiThuongTru".to_owned(), "soDinhDanh".to_owned()]);
    narrator.step(
        "for the procedure, the three granted fields come, the other nine never leave G01",
        "soDinhDanh, hoTen, noiThuongTru and nothing else",
        &told(&outcome),
        fields == granted,
    );

    let asked =
        Stated { fields: vec!["ho_ten".to_owned(), "tinh_trang_hon_nhan".to_owned()], ..handling.clone() };
    let outcome = call::call(office, GET_CITIZEN, person, &asked).await?;
    expect_reason(
        narrator,
        "asking for tinh_trang_hon_nhan by name is denied, and on record",
        Reason::DenyField,
        &outcome,
    );
    Ok(())
}

async fn enterprise(tax: &Client, narrator: &mut Narrator) -> Result<()> {
    narrator.scenario("enterprise", "The tax authority (G12.90) looks up an enterprise at G12");
    let company = r#"{"maSoDoanhNghiep":"9900000017"}"#;
    let outcome = call::call(tax, GET_ENTERPRISE, company, &purpose("STATE_MANAGEMENT")).await?;
    let name = outcome.messages.first().and_then(|message| message.pointer("/enterprise/tenDoanhNghiep"));
    narrator.step(
        "company 9900000017 is found, with its legal status",
        "Công ty TNHH Thử Nghiệm",
        &told(&outcome),
        name.and_then(Value::as_str) == Some("Công ty TNHH Thử Nghiệm"),
    );
    Ok(())
}

async fn code_list(office: &Client, narrator: &mut Narrator) -> Result<()> {
    narrator.scenario("code-list", "Open data: the code list of administrative units (G09), page by page");
    let begun = Instant::now();
    let (mut codes, mut pages, mut token) = (BTreeSet::new(), 0, String::new());
    let total = loop {
        let request = serde_json::json!({ "pageSize": 500, "pageToken": token }).to_string();
        let outcome = call::call(office, LIST_UNITS, &request, &purpose("STATISTICS")).await?;
        if let Some(error) = &outcome.error {
            narrator.step("every unit comes once", "every unit", &error.to_string(), false);
            return Ok(());
        }
        let message = outcome.messages.first().context("a page without a message")?;
        pages += 1;
        let total = message.get("totalSize").and_then(Value::as_u64).unwrap_or_default();
        for unit in message.get("units").and_then(Value::as_array).into_iter().flatten() {
            codes.extend(unit.get("maDvhc").and_then(Value::as_str).map(str::to_owned));
        }
        message.get("nextPageToken").and_then(Value::as_str).unwrap_or_default().clone_into(&mut token);
        if token.is_empty() {
            break total;
        }
    };
    let observed = format!(
        "{} units in {pages} pages, {} ms, each page an exchange on record",
        codes.len(),
        begun.elapsed().as_millis()
    );
    narrator.step(
        "every unit comes once",
        &format!("{total} units"),
        &observed,
        total > 0 && codes.len() as u64 == total,
    );
    Ok(())
}

async fn refusals(mesh: &Mesh, office: &Client, narrator: &mut Narrator) -> Result<()> {
    narrator.scenario("refusals", "What the law does not grant is denied, with the rule and what to do");
    let person = r#"{"soDinhDanh":"999190000001"}"#;
    let outcome = call::call(office, GET_CITIZEN, person, &purpose("STATISTICS")).await?;
    expect_reason(narrator, "a purpose that the catalog does not grant", Reason::DenyPurpose, &outcome);
    let outcome = call::call(office, GET_CITIZEN, person, &Stated::default()).await?;
    expect_reason(narrator, "no purpose at all", Reason::DenyPurpose, &outcome);
    let outcome = call::call(office, GET_CITIZEN, person, &purpose("COMMERCIAL")).await?;
    expect_reason(narrator, "trade", Reason::DenyCommercial, &outcome);

    let (code, name) = OUTSIDER;
    let outsider = mesh.client("outsider")?;
    let outcome = outsider_call(&outsider, office, person).await?;
    expect_reason(
        narrator,
        &format!("{name} ({code}), whose public certificate the mesh trusts, calls G01's node"),
        Reason::DenyNotEntitled,
        &outcome,
    );
    Ok(())
}

/// The outsider has no node to learn the contract from; it uses the one that integrators can read anywhere.
async fn outsider_call(outsider: &Client, office: &Client, person: &str) -> Result<Outcome> {
    let pool = office.contract(GET_CITIZEN, &Stated::default()).await?;
    call::call_with(&pool, outsider, GET_CITIZEN, person, &purpose("STATE_MANAGEMENT")).await
}

async fn without_the_broker(mesh: &mut Mesh, office: &Client, narrator: &mut Narrator) -> Result<()> {
    narrator.scenario("without-the-broker", "The broker is stopped; the law does not stop");
    mesh.stop_broker().await?;
    let handling = Stated { dossier: Some(DOSSIER.to_owned()), ..purpose("ADMIN_PROCEDURE") };
    let outcome = call::call(office, GET_CITIZEN, r#"{"soDinhDanh":"999190000001"}"#, &handling).await?;
    narrator.step(
        "both nodes decide by the rights they hold; their journals keep the records",
        "an answer",
        &told(&outcome),
        outcome.error.is_none() && !outcome.messages.is_empty(),
    );
    let exchange = outcome.exchange_id.clone().unwrap_or_default();
    mesh.start_broker().await?;
    let found = records_in_log(&mesh.layout.log, &exchange).await;
    narrator.step(
        "the broker is back: the records made meanwhile arrive, one from each side",
        "2 records of the exchange in the published log",
        &format!("{found} records of exchange {exchange}"),
        found == 2,
    );
    Ok(())
}

async fn compliance(mesh: &Mesh, narrator: &mut Narrator) -> Result<()> {
    narrator.scenario("compliance", "Does G01 keep its duty to share? Nobody asks G01: the log is counted");
    let operator = mesh.client("operator-1")?;
    let until = Instant::now() + Duration::from_millis(RECORDS_TIMEOUT_MS);
    let card = loop {
        let mut service = ComplianceServiceClient::new(operator.channel());
        let request = GetScorecardRequest { name: "agencies/G01/scorecard".to_owned() };
        let answer = service.get_scorecard(request).await;
        let card = answer.map(|answer| answer.into_inner().scorecard.unwrap_or_default());
        let counted = card.as_ref().is_ok_and(|card| card.calls.is_some_and(|calls| calls.served > 0));
        if counted || Instant::now() > until {
            break card?;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let calls = card.calls.unwrap_or_default();
    let deadline = card.entries.first().and_then(|entry| entry.deadline.clone()).unwrap_or_default();
    narrator.step(
        "the scorecard of G01, from both sides' records of the calls above",
        "calls requested and served, a score, the deadline of its entries",
        &format!(
            "score {} %, {} of {} entries kept, {} of {} calls served, {} denied by the catalog, {} refusals; due {}",
            card.score,
            card.entries_kept,
            card.entry_count,
            calls.served,
            calls.requested,
            calls.denied,
            card.refusals.map_or(0, |counts| counts.declared + counts.unjustified + counts.undeclared),
            deadline.date
        ),
        calls.served > 0 && calls.requested >= calls.served && card.score > 0,
    );
    Ok(())
}

fn the_log(mesh: &Mesh, narrator: &mut Narrator) -> Result<()> {
    narrator.scenario("log", "Who looked at what? The log proves itself, offline");
    let log = mesh.layout.log.clone();
    let policy = mesh.layout.policy.clone();
    let report = verify(&log, &policy)?;
    narrator.step(
        "every byte of the log is verified; the three national data centres witness one and the same history",
        "VERIFIED, signed by the log and at least two of three witnesses",
        &summary(&report),
        report.verdict == Verdict::Verified && report.entries > 0 && report.signers.len() >= 3,
    );

    let copy = mesh.layout.dir.join("tampered-log");
    copy_folder(&log, &copy)?;
    let (file, place) = flip_one_byte(&copy)?;
    let report = verify(&copy, &policy)?;
    let named = report.findings.iter().find(|finding| finding.file == file);
    let observed = match named {
        Some(finding) => format!("{}\n{finding}", report.verdict),
        None => report.to_string(),
    };
    narrator.step(
        &format!("one byte of a copy is flipped ({file}, byte {place})"),
        "FAILED, naming the file and the first bad index",
        &observed,
        report.verdict == Verdict::Failed && named.is_some_and(|finding| finding.first_index.is_some()),
    );
    Ok(())
}

fn verify(log: &Path, policy: &Path) -> Result<VerifyReport> {
    let policy = Policy::parse(&fs::read(policy)?)?;
    Ok(verify_dir(log, &VerifyOptions { policy: Some(policy), ..VerifyOptions::default() }))
}

fn summary(report: &VerifyReport) -> String {
    let VerifyReport { verdict, entries, files, bytes, signers, .. } = report;
    format!("{verdict}: {entries} entries, {files} files, {bytes} bytes\nsigned by {}", signers.join(", "))
}

/// Counts the records of an exchange in the published log, waiting until there are two.
async fn records_in_log(log: &Path, exchange: &str) -> usize {
    let until = Instant::now() + Duration::from_millis(RECORDS_TIMEOUT_MS);
    loop {
        let found = count_records(log, exchange).unwrap_or_default();
        if found >= 2 || Instant::now() > until {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn count_records(log: &Path, exchange: &str) -> Result<usize> {
    use lienthong_audit::{log::LogReader, record};
    use lienthong_proto::lienthong::audit::v1::record::Body;

    let id = uuid::Uuid::parse_str(exchange)?;
    let reader = LogReader::new(log);
    let size = reader.size()?;
    let mut found = 0;
    for entry in reader.entries(0..size)? {
        let record = record::decode(&entry)?;
        if let Some(Body::Closing(closing)) = record.body
            && closing.exchange.is_some_and(|exchange| exchange.id == id.as_bytes())
        {
            found += 1;
        }
    }
    Ok(found)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Flips one bit in the middle of the first entry bundle; returns the file, relative to the log, and the place.
fn flip_one_byte(log: &Path) -> Result<(String, usize)> {
    let mut file = log.join("tile/entries");
    while file.is_dir() {
        let mut inside: Vec<_> =
            fs::read_dir(&file)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        inside.sort();
        file = inside.pop().context("the log has no entry bundle")?;
    }
    let mut bytes = fs::read(&file)?;
    let place = bytes.len() / 2;
    *bytes.get_mut(place).context("the entry bundle is empty")? ^= 1;
    fs::write(&file, bytes)?;
    Ok((file.strip_prefix(log)?.display().to_string(), place))
}

fn purpose(name: &str) -> Stated {
    Stated { purpose: Some(name.to_owned()), ..Stated::default() }
}

fn fields_of(outcome: &Outcome, record: &str) -> BTreeSet<String> {
    let record = outcome.messages.first().and_then(|message| message.get(record)).and_then(Value::as_object);
    record.map(|record| record.keys().cloned().collect()).unwrap_or_default()
}

fn expect_reason(narrator: &mut Narrator, step: &str, expected: Reason, outcome: &Outcome) {
    let seen = outcome.error.as_ref().and_then(status::read).map(|read| read.reason);
    let ok = seen == Some(expected) && outcome.exchange_id.is_some() && outcome.messages.is_empty();
    narrator.step(step, expected.name(), &told(outcome), ok);
}

/// An outcome in a line or two.
fn told(outcome: &Outcome) -> String {
    let exchange = outcome.exchange_id.as_deref().unwrap_or("none");
    if let Some(error) = &outcome.error {
        let vi = status::read(error).and_then(|read| read.vi).map(|vi| format!("\n{vi}")).unwrap_or_default();
        return format!("{}{vi}\nexchange {exchange}", error.message());
    }
    let messages: Vec<_> = outcome.messages.iter().map(Value::to_string).collect();
    format!("{}\nexchange {exchange}", messages.join("\n"))
}
