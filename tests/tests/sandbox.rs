//! `lienthong node run --sandbox`: real processes and real TLS on synthetic data, every reason on demand.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use lienthong::{
    client::{self, Client, Stated},
    commands::call,
};
use lienthong_proto::{dynamic::DynamicCodec, reason::Reason, status};
use lienthong_tests::{GET_CITIZEN, PERSON, TestMesh, handling, program, reason};
use prost_reflect::DynamicMessage;
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A running sandbox; it ends with this value.
struct Sandbox {
    process: Child,
    said: Value,
    _folder: TempDir,
}

impl Sandbox {
    fn start(arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lienthong-test-").tempdir()?;
        let mut process = Command::new(program()?)
            .args(["node", "run", "--sandbox", "--json", "--with-parent", "--data"])
            .arg(folder.path().join("sandbox"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let said = serde_json::from_str(&line).with_context(|| format!("the sandbox said {line:?}"))?;
        Ok(Self { process, said, _folder: folder })
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(self.said[key].as_str().with_context(|| format!("no {key}"))?))
    }

    fn client(&self) -> Result<Client> {
        Client::new(&client::profile(&self.path("profile")?)?)
    }

    /// The calls of one message that it invites to: method, what is stated, question.
    fn calls(&self) -> Result<Vec<(String, Stated, String)>> {
        let calls = self.said["calls"].as_array().context("no calls")?;
        calls
            .iter()
            .filter(|call| !call["question"].is_null())
            .map(|call| {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let stated = Stated {
                    purpose: text(&call["purposes"][0]),
                    dossier: text(&call["dossier"]),
                    ..Stated::default()
                };
                let method = text(&call["method"]).context("no method")?;
                Ok((method, stated, text(&call["question"]).context("no question")?))
            })
            .collect()
    }

    /// Closes its stdin, and waits for its end.
    fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait()?;
        anyhow::ensure!(status.success(), "the sandbox ended with {status}");
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Its roles end with it; one that has ended already cannot be killed again.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_sandbox_answers_what_it_invites_to_and_gives_every_reason_on_demand() -> Result<()> {
    let sandbox = Sandbox::start(&[])?;
    let client = sandbox.client()?;

    let calls = sandbox.calls()?;
    assert!(calls.len() >= 7, "{calls:?}");
    for (method, stated, question) in &calls {
        let once = call::call(&client, method, question, stated).await?;
        assert!(once.error.is_none(), "{method}: {:?}", once.error);
        let again = call::call(&client, method, question, stated).await?;
        assert_eq!(once.messages, again.messages, "{method}: the same question, the same answer");
        assert!(!once.messages.is_empty() && once.exchange_id.is_some(), "{method}");
    }

    callers_that_stream_are_answered(&client).await?;

    // The mesh decides here as everywhere, and a backend's NOT_FOUND passes.
    let outcome = call::call(&client, GET_CITIZEN, PERSON, &handling()).await?;
    let citizen = outcome.messages[0]["citizen"].as_object().context("no citizen")?;
    assert_eq!(citizen["soDinhDanh"], "999190000001");
    assert_eq!(citizen.len(), 3, "only what is granted: {citizen:?}");
    let outcome = call::call(&client, GET_CITIZEN, PERSON, &Stated::default()).await?;
    assert_eq!(reason(&outcome), Some(Reason::DenyPurpose));
    for nobody in [r#"{"soDinhDanh":"999190000404"}"#, r#"{"soDinhDanh":"001190000001"}"#] {
        let outcome = call::call(&client, GET_CITIZEN, nobody, &handling()).await?;
        assert_eq!(outcome.error.map(|error| error.code()), Some(Code::NotFound), "{nobody}");
    }

    for info in Reason::all() {
        let error =
            demand(&client, info.name).await?.err().with_context(|| format!("{}: an answer", info.name))?;
        let read = status::read(&error).with_context(|| format!("{}: no reason", info.name))?;
        assert_eq!(read.reason, info.reason);
        assert_eq!(error.code(), info.code, "{}", info.name);
        assert!(read.vi.is_some_and(|vi| vi.to_lowercase().contains(info.vi)), "{}", info.name);
        assert_eq!(error.metadata().get("mesh-sandbox").context("no mark")?, "synthetic-data");
        let waits = error.get_error_details().retry_info().is_some();
        assert_eq!(waits, info.reason == Reason::DenyQuota, "{}", info.name);
    }
    let error = demand(&client, "DENY_EVERYTHING").await?.err().context("an answer")?;
    assert_eq!(status::read(&error).map(|read| read.reason), Some(Reason::DenyContext));

    everybody_can_see_that_it_is_a_sandbox(&sandbox)?;
    sandbox.stop()
}

#[tokio::test]
async fn a_sandbox_of_ones_own_contracts_serves_those_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("dancu.binpb"), lienthong_proto::descriptors::DANCU)?;
    let contracts = folder.path().to_str().context("the folder has no name")?;
    let sandbox = Sandbox::start(&["--contracts", contracts, "--as", "G12.90/thue"])?;
    let methods: Vec<_> = sandbox.calls()?.into_iter().map(|(method, ..)| method).collect();
    assert!(methods.iter().all(|method| method.starts_with("/vn.dancu.v1.")), "{methods:?}");
    assert_eq!(sandbox.said["agency"], "G12.90");
    sandbox.stop()
}

#[test]
fn a_sandbox_that_cannot_be_says_why() -> Result<()> {
    let empty = tempfile::tempdir()?;
    let empty = empty.path().to_str().context("the folder has no name")?;
    for (arguments, words) in [
        (&["--as", "H99/x"][..], "no agency H99"),
        (&["--as", "H26.90/x"], "no system x"),
        (&["--as", "H26.90"], "AGENCY/SYSTEM"),
        (&["--contracts", empty], "holds no contract"),
        (&["--catalog", empty], "no *.yaml file"),
        (&["--config", "node.toml"], "cannot be used with"),
    ] {
        let output = Command::new(program()?).args(["node", "run", "--sandbox"]).args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{arguments:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn outside_a_sandbox_no_reason_can_be_demanded() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let client = mesh.mesh.client(lienthong_tests::OFFICE)?;
    let answer = demand(&client, "DENY_QUOTA").await?;
    let metadata = answer.map_err(|error| anyhow::anyhow!("{error}"))?;
    assert!(metadata.get("mesh-sandbox").is_none());
    mesh.stop().await
}

/// A caller that streams gets one answer to all its messages, or one to each, by what the method is.
async fn callers_that_stream_are_answered(client: &Client) -> Result<()> {
    const SEND: &str = "/vn.thunghiem.v1.TrialService/SendRecords";
    const MIRROR: &str = "/vn.thunghiem.v1.TrialService/Mirror";
    let pool = client.contract(SEND, &Stated::default()).await?;
    let stated = Stated { purpose: Some("STATE_MANAGEMENT".to_owned()), ..Stated::default() };
    for (path, answers) in [(SEND, 1), (MIRROR, 3)] {
        let method = client::method_of(&pool, path)?;
        let questions: Vec<_> = (0..3).map(|_| DynamicMessage::new(method.input())).collect();
        let mut request = tonic::Request::new(tokio_stream::iter(questions));
        stated.write(&mut request)?;
        let mut grpc = tonic::client::Grpc::new(client.channel());
        grpc.ready().await?;
        let codec = DynamicCodec::decoding(method.output());
        let mut answer = grpc.streaming(request, path.parse()?, codec).await?.into_inner();
        let mut count = 0;
        while answer.message().await?.is_some() {
            count += 1;
        }
        assert_eq!(count, answers, "{path}");
    }
    Ok(())
}

/// Calls with a demanded reason: the metadata of the answer, or the error.
async fn demand(client: &Client, name: &str) -> Result<Result<tonic::metadata::MetadataMap, Status>> {
    let pool = client.contract(GET_CITIZEN, &Stated::default()).await?;
    let method = client::method_of(&pool, GET_CITIZEN)?;
    let mut request = tonic::Request::new(client::message_from_json(method.input(), PERSON)?);
    handling().write(&mut request)?;
    request.metadata_mut().insert("mesh-sandbox-reason", name.parse()?);
    let mut grpc = tonic::client::Grpc::new(client.channel());
    grpc.ready().await?;
    let codec = DynamicCodec::decoding(method.output());
    Ok(grpc.unary(request, GET_CITIZEN.parse()?, codec).await.map(|answer| answer.metadata().clone()))
}

fn everybody_can_see_that_it_is_a_sandbox(sandbox: &Sandbox) -> Result<()> {
    let health = sandbox.said["health"].as_str().context("no health")?;
    let (address, path) =
        health.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("no address")?;
    let page = get(address, &format!("/{path}"))?;
    assert!(page.contains(r#""mesh":"sandbox""#) && page.contains(r#""development":true"#), "{page}");

    // What it issued is refused wherever development is not accepted.
    let trust = sandbox.said["trust"][0].as_str().context("no trust")?;
    let inspected = Command::new(program()?)
        .args(["certs", "inspect", "--state", trust])
        .arg(sandbox.path("certificate")?)
        .output()?;
    let said = String::from_utf8_lossy(&inspected.stderr).into_owned();
    assert!(!inspected.status.success() && said.contains("development"), "{said}");
    refuses_a_production_node(sandbox)
}

/// A node that claims the sandbox's mesh without development does not start.
fn refuses_a_production_node(sandbox: &Sandbox) -> Result<()> {
    let config = sandbox.path("contracts")?.with_file_name("config").join("node-H26.90.toml");
    let text = std::fs::read_to_string(&config)?.replace("development = true", "development = false");
    let changed = config.with_file_name("production.toml");
    std::fs::write(&changed, text)?;
    let output = check_config(&changed)?;
    assert!(output.contains("mesh of sandboxes"), "{output}");
    std::fs::write(
        &changed,
        std::fs::read_to_string(&changed)?.replace("mesh = \"sandbox\"", "mesh = \"demo\""),
    )?;
    let output = check_config(&changed)?;
    assert!(output.contains("development"), "{output}");
    Ok(())
}

fn check_config(path: &Path) -> Result<String> {
    let output = Command::new(program()?).args(["node", "check-config", "--config"]).arg(path).output()?;
    assert!(!output.status.success());
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn get(address: &str, path: &str) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
