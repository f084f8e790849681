//! Systems that speak plain HTTP: curl and `buf curl` through the same two nodes as gRPC, with the same records, the same
//! reasons and the same rules.
#![allow(clippy::unwrap_used, clippy::too_many_lines)] // test code

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use lienthong_node::{
    NodeConfig,
    config::{LocalListenerConfig, UnixListenerConfig},
};
use lienthong_proto::{
    lienthong::audit::v1::{Closing, Status, record::Body},
    reason::Reason,
};
use lienthong_tests::{
    GET_CITIZEN, PERSON, TestMesh, eventually,
    records::{closings, records},
    trial,
    web::Web,
};
use prost::Message;
use serde_json::{Value, json};

const GET: &str = "/vn.thunghiem.v1.TrialService/GetRecord";
const PUT: &str = "/vn.thunghiem.v1.TrialService/PutRecord";
const LIST: &str = "/vn.thunghiem.v1.TrialService/ListRecords";
const SEND: &str = "/vn.thunghiem.v1.TrialService/SendRecords";
const MIRROR: &str = "/vn.thunghiem.v1.TrialService/Mirror";
/// What the contract of the administrative units declares: `google.api.http`.
const DECLARED: &str = "/danhmuc/v1/administrative-units";
const ASKED: &str = r#"{"maBanGhi":"TN-000007"}"#;

#[tokio::test]
async fn every_protocol_passes_and_both_sides_record_the_same() -> Result<()> {
    let mesh = TestMesh::start().await?;
    trial::client(&mesh).await?;
    let web = Web::office(&mesh)?;
    let mut exchanges = Vec::new();

    // curl, HTTP/1.1 and HTTP/2, JSON.
    for version in ["--http1.1", "--http2"] {
        let mut curl = web.curl();
        curl.args([version, "-H", "mesh-purpose: STATE_MANAGEMENT", "-H", "content-type: application/json"]);
        curl.args(["--data-binary", ASKED]).arg(web.url(GET));
        let answer = lienthong_tests::web::answered(&curl.output().await?)?;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.json()?["record"]["maBanGhi"], "TN-000007");
        assert!(answer.json()?["record"].get("noiBo").is_none(), "nobody was granted that field");
        exchanges.push((answer.header("mesh-exchange-id").to_owned(), 1));
    }
    // Binary, as a generated Connect client sends it; packed.
    let wire = lienthong_proto::vn::thunghiem::v1::GetRecordRequest {
        ma_ban_ghi: "TN-000007".into(),
        instruction: None,
    };
    let answer = web.post(GET, "application/proto", &[], &wire.encode_to_vec()).await?;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/proto"));
    let got = lienthong_proto::vn::thunghiem::v1::GetRecordResponse::decode(&*answer.body)?;
    assert_eq!(got.record.context("no record")?.ma_ban_ghi, "TN-000007");
    exchanges.push((answer.header("mesh-exchange-id").to_owned(), 1));
    let answer = web.post(GET, "application/json", &["content-encoding: gzip"], &packed(ASKED)).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    exchanges.push((answer.header("mesh-exchange-id").to_owned(), 1));

    // Streams, in envelopes.
    let list = enveloped(&[r#"{"count":5}"#]);
    let answer = web.post(LIST, "application/connect+json", &["connect-protocol-version: 1"], &list).await?;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/connect+json"));
    let messages = opened(&answer.body)?;
    assert_eq!(messages.iter().map(|(flags, _)| *flags).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 2]);
    assert_eq!(messages[4].1["record"]["soThuTu"], "4");
    assert!(messages[5].1.get("error").is_none(), "{}", messages[5].1);
    exchanges.push((answer.header("mesh-exchange-id").to_owned(), 5));
    let sent = [r#"{"record":{"maBanGhi":"TN-000001"}}"#, r#"{"record":{"maBanGhi":"TN-000002"}}"#];
    let answer = web.post(SEND, "application/connect+json", &[], &enveloped(&sent)).await?;
    assert_eq!(opened(&answer.body)?[0].1["messages"], "2", "{answer:?}");
    exchanges.push((answer.header("mesh-exchange-id").to_owned(), 1));

    // buf curl in each protocol, every kind of call, the contract by reflection.
    for protocol in ["connect", "grpc", "grpcweb"] {
        let two = sent.join("\n");
        for (path, messages, answers) in [
            (GET, ASKED, 1),
            (PUT, sent[0], 1),
            (LIST, r#"{"count":3}"#, 3),
            (SEND, &two, 1),
            (MIRROR, &two, 2),
        ] {
            let (ok, out, said) = web.buf(protocol, path, &[], messages).await?;
            ensure!(ok, "{protocol} {path}: {said}");
            let values: Vec<Value> =
                serde_json::Deserializer::from_str(&out).into_iter().collect::<Result<_, _>>()?;
            assert_eq!(values.len(), answers, "{protocol} {path}: {out}");
            let id = said.lines().find_map(|line| {
                line.to_ascii_lowercase().split_once("mesh-exchange-id: ").map(|(_, id)| id.to_owned())
            });
            exchanges.push((id.with_context(|| format!("no exchange id: {said}"))?, answers as u64));
        }
    }

    let log = mesh.mesh.layout.log.clone();
    eventually("both records of each exchange are in the log and agree", async || {
        let records = records(&log)?;
        for (exchange, messages) in &exchanges {
            let pair = closings(&records, exchange)?;
            ensure!(pair.len() == 2, "{} closing records of {exchange}", pair.len());
            agree(pair[0], pair[1], *messages)?;
        }
        Ok(true)
    })
    .await?;
    mesh.stop().await
}

#[tokio::test]
async fn what_is_refused_says_why_in_every_tongue_and_is_on_record() -> Result<()> {
    let mesh = TestMesh::start().await?;
    trial::client(&mesh).await?;
    let web = Web::office(&mesh)?;
    let deep = format!(r#"{{"instruction":{}{}}}"#, r#"{"delay":"#.repeat(1000), "}".repeat(1000));
    let huge = format!(r#"{{"maBanGhi":"{}"}}"#, "x".repeat(5_000_000));
    let mut denied = BTreeSet::new();
    for (what, path, headers, body, status, reason) in [
        ("an unknown field", GET, &[][..], r#"{"maBanGhi":"TN-000007","ten":1}"#, 400, "DENY_CONTEXT"),
        ("a field twice", GET, &[], r#"{"maBanGhi":"a","ma_ban_ghi":"b"}"#, 400, "DENY_CONTEXT"),
        ("a wrong type", GET, &[], r#"{"maBanGhi":7}"#, 400, "DENY_CONTEXT"),
        ("half a message", GET, &[], r#"{"maBanGhi":"TN-0"#, 400, "DENY_CONTEXT"),
        ("nothing", GET, &[], "", 400, "DENY_CONTEXT"),
        ("two messages", GET, &[], "{}{}", 400, "DENY_CONTEXT"),
        ("depth", GET, &[], &deep, 400, "DENY_CONTEXT"),
        ("size", GET, &[], &huge, 429, "FAIL_MESSAGE_TOO_LARGE"),
        ("a packing", GET, &["content-encoding: br"], ASKED, 501, "FAIL_UNSUPPORTED_ENCODING"),
        ("a damaged packing", GET, &["content-encoding: gzip"], ASKED, 400, "DENY_CONTEXT"),
        ("a timeout that is none", GET, &["connect-timeout-ms: soon"], ASKED, 400, "DENY_CONTEXT"),
        ("a purpose", GET, &["mesh-purpose: VACATION"], ASKED, 400, "DENY_CONTEXT"),
        ("a field that nobody has", GET, &["mesh-fields: noi_bo"], ASKED, 403, "DENY_FIELD"),
        ("no such method", "/vn.thunghiem.v1.TrialService/Drop", &[], "{}", 501, "DENY_UNKNOWN_METHOD"),
        ("a provider", GET_CITIZEN, &["mesh-provider: G12.90"], PERSON, 501, "DENY_UNKNOWN_METHOD"),
    ] {
        let answer = web.json(path, headers, body).await.with_context(|| what.to_owned())?;
        let json = answer.json().with_context(|| what.to_owned())?;
        assert_eq!((answer.status, json["reason"].as_str()), (status, Some(reason)), "{what}: {json:#}");
        assert_eq!(
            (&json["status"], answer.header("content-type")),
            (&json!(status), "application/json"),
            "{what}"
        );
        assert_eq!(json["type"], format!("/errors/{reason}"), "{what}");
        for text in ["code", "message", "title", "title_vi", "remedy", "remedy_vi", "rule"] {
            assert!(
                json[text].as_str().is_some_and(|text| !text.is_empty()),
                "{what}: no {text} in {json:#}"
            );
        }
        assert_eq!(json["details"][0]["debug"]["reason"], reason, "{what}");
        let id = json["exchange_id"].as_str().with_context(|| format!("{what}: no exchange"))?;
        assert_eq!(answer.header("mesh-exchange-id"), id, "{what}");
        assert!(denied.insert((id.to_owned(), reason)), "{what}");
    }
    // As a problem document, where the caller prefers that.
    let answer = web.json(GET, &["accept: application/problem+json"], "{").await?;
    assert_eq!((answer.status, answer.header("content-type")), (400, "application/problem+json"));

    // What speaks no language of the front is no call.
    for (verb, path, content_type, status) in [
        ("POST", GET, "text/plain", 415),
        ("POST", GET, "application/x-www-form-urlencoded", 415),
        ("POST", GET, "application/grpc", 505),
        ("POST", LIST, "application/json", 415),
        ("POST", GET, "application/connect+json", 415),
        ("PUT", GET, "application/json", 405),
        ("POST", "/nothing", "application/json", 404),
        ("GET", PUT, "", 405),
    ] {
        let mut curl = web.curl();
        curl.args([
            "--http1.1",
            "-X",
            verb,
            "-H",
            &format!("content-type: {content_type}"),
            "--data-binary",
            "{}",
        ]);
        let answer = lienthong_tests::web::answered(&curl.arg(web.url(path)).output().await?)?;
        assert_eq!(answer.status, status, "{verb} {path} {content_type}: {}", answer.text());
        assert_eq!(answer.json()?["status"], status);
    }

    let log = mesh.mesh.layout.log.clone();
    eventually("every denial is on record", async || {
        let told: BTreeSet<(String, String)> = records(&log)?
            .into_iter()
            .filter_map(|record| match record.body {
                Some(Body::Denial(denial)) => Some(denial),
                _ => None,
            })
            .filter_map(|denial| {
                Some((uuid::Uuid::from_slice(&denial.exchange?.id).ok()?.to_string(), denial.reason))
            })
            .collect();
        for (id, reason) in &denied {
            ensure!(told.contains(&(id.clone(), (*reason).to_owned())), "{reason} of {id} is not on record");
        }
        Ok(true)
    })
    .await?;
    mesh.stop().await
}

/// Of the paths that a real dataset's contract declares each answers, is on record as the method that it is, and stands in
/// the document with a line that works.
#[tokio::test]
async fn paths_of_a_contract_are_rest() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let web = Web::office(&mesh)?;
    let purpose = &["mesh-purpose: STATE_MANAGEMENT"][..];
    let hanoi = format!("{DECLARED}/01");
    eventually("the code lists are published", async || Ok(web.get(&hanoi, purpose).await?.status == 200))
        .await?;

    let one = web.get(&hanoi, purpose).await?;
    assert_eq!((one.header("content-type"), one.header("cache-control")), ("application/json", "no-store"));
    assert_eq!(one.json()?["unit"]["maDvhc"], "01", "{}", one.text());
    let first = web.get(&format!("{DECLARED}?page_size=2"), purpose).await?.json()?;
    assert_eq!(first["units"].as_array().map(Vec::len), Some(2), "{first:#}");
    let token = first["nextPageToken"].as_str().context("there is no second page")?;
    let second = web.get(&format!("{DECLARED}?pageSize=2&page_token={token}"), purpose).await?.json()?;
    assert!(second["units"][0]["maDvhc"].is_string() && second["units"] != first["units"], "{second:#}");
    let below = web.get(&format!("{hanoi}/units?page_size=1000"), purpose).await?.json()?;
    let below = below["units"].as_array().context("no units")?;
    assert!(!below.is_empty() && below.iter().all(|unit| unit["maCapTren"] == "01"), "{below:?}");

    // What goes wrong is a problem document, by the same rules.
    for (path, headers, status, reason) in [
        (format!("{DECLARED}/99999"), purpose, 404, Value::Null),
        (hanoi.clone(), &[], 403, json!("DENY_PURPOSE")),
        (format!("{hanoi}?nothing=1"), purpose, 400, json!("DENY_CONTEXT")),
        (format!("{hanoi}?ma_dvhc=02"), purpose, 400, json!("DENY_CONTEXT")),
        (format!("{hanoi}/nothing"), purpose, 404, Value::Null),
    ] {
        let answer = web.get(&path, headers).await?;
        let json = answer.json()?;
        assert_eq!((answer.status, &json["reason"]), (status, &reason), "{path}: {json:#}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }

    // The reader's page has the paths, and a line for each; the line is run as it stands, by a shell.
    let document = web.get("/openapi/danhmuc.dvhc.json", &[]).await?.json()?;
    let operation = |path: &str| document["paths"][path]["get"].clone();
    let (one_of, list, under) = (
        operation(&format!("{DECLARED}/{{ma_dvhc}}")),
        operation(DECLARED),
        operation(&format!("{DECLARED}/{{ma_cap_tren}}/units")),
    );
    let said = |operation: &Value, place: &str| -> BTreeSet<String> {
        let all = operation["parameters"].as_array().into_iter().flatten();
        all.filter(|one| one["in"] == place)
            .filter_map(|one| Some(one["name"].as_str()?.to_owned()))
            .collect()
    };
    assert_eq!(said(&one_of, "path"), ["ma_dvhc".to_owned()].into());
    assert_eq!(said(&list, "query"), ["ma_cap_tren", "page_size", "page_token"].map(str::to_owned).into());
    assert_eq!(said(&under, "query"), ["page_size", "page_token"].map(str::to_owned).into());
    let line = one_of["x-codeSamples"][0]["source"].as_str().context("no line")?.replace('…', "01");
    let folder = tempfile::tempdir()?;
    web.put_files(folder.path())?;
    let line = line.replacen("curl ", &format!("curl --silent --connect-to ::{} ", web.address), 1);
    let done =
        tokio::process::Command::new("sh").args(["-c", &line]).current_dir(folder.path()).output().await?;
    let answer: Value = serde_json::from_slice(&done.stdout).with_context(|| format!("{line}: {done:?}"))?;
    assert_eq!(answer["unit"]["maDvhc"], "01", "{line}: {answer:#}");
    let page = web.get("/openapi/danhmuc.dvhc", &[]).await?.text();
    assert!(page.contains(&format!("GET {DECLARED}/{{ma_dvhc}}")), "{page}");

    let (log, exchange) = (mesh.mesh.layout.log.clone(), one.header("mesh-exchange-id").to_owned());
    eventually("both sides have it on record as what it is", async || {
        let records = records(&log)?;
        let pair = closings(&records, &exchange)?;
        let method = "/vn.danhmuc.v1.AdministrativeUnitService/GetAdministrativeUnit";
        let known = |closing: &&Closing| closing.exchange.as_ref().is_some_and(|it| it.method == method);
        Ok(pair.len() == 2 && pair.iter().all(known))
    })
    .await?;
    mesh.stop().await
}

#[tokio::test]
async fn a_backend_s_errors_timeouts_and_callers_that_leave_end_as_they_do_in_grpc() -> Result<()> {
    let mesh = TestMesh::start().await?;
    trial::client(&mesh).await?;
    let web = Web::office(&mesh)?;
    // The backend's own words, as its dataset declares them.
    for (code, connect, status) in [
        (3, "invalid_argument", 400),
        (5, "not_found", 404),
        (9, "failed_precondition", 400),
        (8, "resource_exhausted", 429),
    ] {
        let body = json!({ "maBanGhi": "TN-000007", "instruction": { "code": code, "message": "không có", "errorReason": "HET" } });
        let answer = web.json(GET, &[], &body.to_string()).await?;
        let json = answer.json()?;
        assert_eq!((answer.status, json["code"].as_str()), (status, Some(connect)), "{json:#}");
        assert_eq!(json["message"], "không có");
        assert_eq!(json["details"][0]["debug"]["reason"], "HET", "{json:#}");
    }
    // In a stream, after some messages.
    let failing =
        json!({ "count": 3, "instruction": { "code": 5, "failAfter": 2, "message": "hết" } }).to_string();
    let answer = web.post(LIST, "application/connect+json", &[], &enveloped(&[&failing])).await?;
    let messages = opened(&answer.body)?;
    assert_eq!((answer.status, messages.len()), (200, 3), "{answer:?}");
    assert_eq!((messages[2].0, messages[2].1["error"]["code"].as_str()), (2, Some("not_found")));
    // A stream that is refused.
    let (ok, _, said) = web.buf("connect", LIST, &["mesh-fields: noi_bo"], r#"{"count":1}"#).await?;
    assert!(!ok && said.contains("DENY_FIELD"), "{said}");

    // Time is over, as Connect and as gRPC say how long there is.
    let slow = json!({ "maBanGhi": "TN-000007", "instruction": { "delay": "30s" } }).to_string();
    let mut exchanges = Vec::new();
    for timeout in ["connect-timeout-ms: 300", "grpc-timeout: 300m"] {
        let answer = web.json(GET, &[timeout], &slow).await?;
        assert_eq!((answer.status, &answer.json()?["reason"]), (504, &json!("FAIL_DEADLINE")), "{answer:?}");
        exchanges.push(answer.header("mesh-exchange-id").to_owned());
    }
    let log = mesh.mesh.layout.log.clone();
    eventually("both sides say that time was over", async || {
        let records = records(&log)?;
        Ok(exchanges.iter().all(|id| closings(&records, id).is_ok_and(|pair| pair.len() == 2)))
    })
    .await?;

    // Callers that leave are heard at the backend, over either version of HTTP.
    let mut client = trial::client(&mesh).await?;
    for version in ["--http1.1", "--http2"] {
        let name = format!("leaver{version}");
        let body =
            json!({ "maBanGhi": "TN-000007", "instruction": { "waitForCancellation": true, "watch": name } });
        let mut curl = web.curl();
        curl.args([version, "-H", "mesh-purpose: STATE_MANAGEMENT", "-H", "content-type: application/json"]);
        let child = curl.args(["--data-binary", &body.to_string()]).arg(web.url(GET)).spawn()?;
        eventually("the call is at the backend", async || {
            Ok(trial::watch(&mut client.clone(), &name).await?.begun == 1)
        })
        .await?;
        drop(child);
        eventually("the backend hears that the caller left", async || {
            Ok(trial::watch(&mut client, &name).await?.cancelled == 1)
        })
        .await?;
    }
    mesh.stop().await
}

#[tokio::test]
async fn who_calls_is_judged_as_for_grpc() -> Result<()> {
    let mesh = TestMesh::start().await?;
    trial::client(&mesh).await?;
    // Nobody without a certificate, and nobody with one that the registry does not bind to a system.
    let web = Web::office(&mesh)?;
    let strangers = std::process::Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "20", "--connect-to"])
        .args([format!("::{}", web.address), web.url(GET)])
        .output()?;
    assert!(!strangers.status.success(), "{strangers:?}");
    let auditor = Web::of(&mesh, "auditor")?;
    let answer = auditor.json(GET, &[], ASKED).await?;
    assert_eq!((answer.status, &answer.json()?["reason"]), (403, &json!(Reason::DenyCertificate.name())));
    // The node's own services too, and GET of what changes nothing.
    let mine = web.json("/lienthong.catalog.v1.NodeCatalogService/ListCallableMethods", &[], "{}").await?;
    let paths = mine.json()?["methods"].as_array().context("no methods")?.len();
    assert!(paths > 3, "{}", mine.text());
    let unit = "/vn.danhmuc.v1.AdministrativeUnitService/ListAdministrativeUnits?connect=v1&encoding=json&message=%7B%7D";
    let answer = web.get(unit, &["mesh-purpose: STATE_MANAGEMENT"]).await?;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{}", answer.text());
    tokio::time::timeout(Duration::from_secs(30), mesh.stop()).await?
}

#[tokio::test]
async fn each_system_reads_what_it_may_call_and_a_line_of_the_page_works() -> Result<()> {
    let mesh = TestMesh::start().await?;
    trial::client(&mesh).await?;
    let web = Web::office(&mesh)?;
    let index = web.get("/openapi", &[]).await?;
    assert_eq!(index.status, 200, "{}", index.text());
    assert!(index.header("content-security-policy").starts_with("default-src 'none'"), "{index:?}");
    let mine =
        web.json("/lienthong.catalog.v1.NodeCatalogService/ListCallableMethods", &[], "{}").await?.json()?;
    let callable = mine["methods"].as_array().context("no methods")?;
    let datasets: BTreeSet<&str> = callable.iter().filter_map(|method| method["dataset"].as_str()).collect();
    assert!(datasets.len() > 2, "{datasets:?}");
    let documents = tempfile::tempdir()?;
    let mut files = Vec::new();
    for id in &datasets {
        assert!(index.text().contains(&format!("/openapi/{id}.json")), "{id} is not listed");
        let document = web.get(&format!("/openapi/{id}.json"), &[]).await?.json()?;
        assert_eq!(document["openapi"], "3.1.0");
        // Beside them stand the paths that the contract declares itself; no full name of a service is in those.
        let paths = document["paths"].as_object().context("no paths")?.keys().map(String::as_str);
        let paths: BTreeSet<&str> = paths.filter(|path| !path.starts_with(DECLARED)).collect();
        let of_it = callable.iter().filter(|method| method["dataset"] == **id);
        assert_eq!(paths, of_it.filter_map(|method| method["path"].as_str()).collect(), "{id}");
        for reference in references(&document) {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{id}: {reference} leads nowhere");
        }
        let file = documents.path().join(format!("{id}.json"));
        std::fs::write(&file, document.to_string())?;
        files.push(file);
    }
    // What others make of the specification, our documents keep.
    let validator = std::env::var_os("LIENTHONG_OPENAPI_PYTHON").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/openapi/bin/python"),
        Into::into,
    );
    ensure!(validator.exists(), "{} is missing; tests/run fetches it", validator.display());
    let judged = tokio::process::Command::new(validator)
        .args(["-m", "openapi_spec_validator", "--schema", "3.1"])
        .args(&files)
        .output()
        .await?;
    ensure!(judged.status.success(), "{judged:?}");
    // The line for curl is run as it stands, by a shell.
    let document = web.get("/openapi/dancu.cong_dan.json", &[]).await?.json()?;
    let samples = document["paths"][GET_CITIZEN]["post"]["x-codeSamples"].as_array().context("no lines")?;
    let tools: Vec<&str> = samples.iter().filter_map(|line| line["label"].as_str()).collect();
    assert_eq!(tools, ["curl", "buf curl", "lienthong call"]);
    let line = samples[0]["source"].as_str().context("no line")?.replace('…', "999190000001");
    let folder = tempfile::tempdir()?;
    web.put_files(folder.path())?;
    let line = line.replacen("curl ", &format!("curl --silent --connect-to ::{} ", web.address), 1);
    let line = line.replacen("-d ", "-H 'mesh-dossier: H26.90-261121-0001' -d ", 1);
    let done =
        tokio::process::Command::new("sh").args(["-c", &line]).current_dir(folder.path()).output().await?;
    let answer: Value = serde_json::from_slice(&done.stdout).with_context(|| format!("{line}: {done:?}"))?;
    assert_eq!(answer["citizen"]["hoTen"], "Nguyễn Văn Mẫu", "{line}: {answer:#}");

    let page = web.get("/openapi/dancu.cong_dan", &[]).await?;
    assert!(page.status == 200 && page.text().contains("buf curl") && !page.text().contains("<script"));
    assert_eq!(web.get("/openapi/khong.co", &[]).await?.status, 404);
    assert_eq!(Web::of(&mesh, "auditor")?.get("/openapi", &[]).await?.status, 403);
    assert_eq!(web.get("/errors/DENY_FIELD", &[]).await?.status, 200);
    let health = web.get("/ready", &[]).await?;
    assert_eq!((health.status, &health.json()?["role"]), (200, &json!("node")));
    mesh.stop().await
}

#[tokio::test]
async fn the_demo_s_curl_works_as_it_stands() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let line = format!("{} --silent --show-error", mesh.mesh.curl()?);
    let done = tokio::process::Command::new("sh").args(["-c", &line]).output().await?;
    let answer: Value = serde_json::from_slice(&done.stdout).with_context(|| format!("{line}: {done:?}"))?;
    assert_eq!(answer["citizen"]["soDinhDanh"], "999190000001", "{answer:#}");
    assert!(mesh.mesh.invitation().contains(&mesh.mesh.curl()?));
    mesh.stop().await
}

#[tokio::test]
async fn behind_a_unix_socket_the_uid_is_the_system() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("http.sock");
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path())?);
    let mesh = TestMesh::start_changed(|layout| {
        let (_, path, _) = layout.nodes.iter().find(|(name, ..)| name == "H26.90").context("no node")?;
        let mut config: NodeConfig = lienthong_telemetry::load(path)?;
        let systems = [(uid.to_string(), "agencies/H26.90/systems/mot-cua".to_owned())].into();
        let unix = UnixListenerConfig { path: socket.clone(), systems };
        config.http_listener = Some(LocalListenerConfig::Unix(unix));
        Ok(std::fs::write(path, toml::to_string(&config)?)?)
    })
    .await?;
    let ask = async |more: &[&str]| -> Result<Value> {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--unix-socket"]).arg(&socket).args(more);
        curl.args(["-H", "mesh-purpose: ADMIN_PROCEDURE", "-H", "mesh-dossier: H26.90-261121-0001"]);
        curl.args([
            "-H",
            "content-type: application/json",
            "-d",
            PERSON,
            &format!("http://node{GET_CITIZEN}"),
        ]);
        let done = curl.output().await?;
        serde_json::from_slice(&done.stdout).with_context(|| format!("{done:?}"))
    };
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(ask(&[version]).await?["citizen"]["soDinhDanh"], "999190000001", "{version}");
    }
    mesh.stop().await
}

/// Every reference of a document.
fn references(document: &Value) -> Vec<String> {
    match document {
        Value::Object(object) => {
            let own = object.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(object.values().flat_map(references)).collect()
        }
        Value::Array(list) => list.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// What the two sides of one exchange must say alike.
fn agree(one: &Closing, other: &Closing, messages: u64) -> Result<()> {
    for closing in [one, other] {
        let response = closing.response.as_ref().context("no response")?;
        ensure!(closing.status == i32::from(Status::Delivered), "ended with {:?}", closing.status());
        ensure!(response.messages == messages, "{} messages", response.messages);
    }
    ensure!(one.request == other.request, "the digests of the request differ");
    ensure!(one.response == other.response, "the digests of the response differ");
    ensure!(one.exchange.as_ref().map(|it| it.side) != other.exchange.as_ref().map(|it| it.side));
    Ok(())
}

fn enveloped(messages: &[&str]) -> Vec<u8> {
    let one = |message: &&str| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0][..], &length, message.as_bytes()].concat()
    };
    messages.iter().flat_map(one).collect()
}

fn opened(mut bytes: &[u8]) -> Result<Vec<(u8, Value)>> {
    let mut messages = Vec::new();
    while let [flags, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        messages.push((*flags, serde_json::from_slice(rest.get(..length).context("cut off")?)?));
        bytes = &rest[length..];
    }
    Ok(messages)
}

fn packed(text: &str) -> Vec<u8> {
    // Deflate's stored form needs no packer: RFC 1951 §3.2.4 in RFC 1952's frame.
    let length = u16::try_from(text.len()).unwrap();
    let mut crc = !0u32;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let sizes = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    let tail = [(!crc).to_le_bytes(), u32::from(length).to_le_bytes()].concat();
    [&head[..], &sizes, text.as_bytes(), &tail].concat()
}
