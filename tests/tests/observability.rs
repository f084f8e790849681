//! What others see of a running mesh: an OpenTelemetry collector that is not ours, a Prometheus, and whoever asks a role how
//! it feels.
#![allow(clippy::unwrap_used)] // test code

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use lienthong::demo::{layout::Layout, plan::Plan, ports::Ports};
use lienthong_tests::{GET_CITIZEN, PERSON, TestMesh, eventually, web::Web};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The span of the consumer's own application.
const PARENT: &str = "00f067aa0ba902b7";

/// Everything that a span may say. A new key is a new thing that leaves the mesh: think of decision 0027 first.
const SAID: [&str; 8] = [
    "rpc.system",
    "rpc.service",
    "rpc.method",
    "rpc.grpc.status_code",
    "lienthong.node",
    "lienthong.side",
    "lienthong.exchange_id",
    "lienthong.reason",
];

/// The collector: `tests/observability/otlp_receiver.py`.
struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<Value>>>,
    _process: Child,
}

impl Collector {
    async fn start() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("LIENTHONG_OTEL_PYTHON")
            .map_or_else(|| root.join("../.tools/otel/bin/python"), Into::into);
        ensure!(python.exists(), "{} is missing; tests/run fetches it", python.display());
        let mut process = Command::new(python)
            .arg(root.join("observability/otlp_receiver.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no stdout")?).lines();
        let port: u16 = lines.next_line().await?.context("the collector did not start")?.parse()?;
        let spans = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&spans);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                written.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Ok(Self { address: format!("http://127.0.0.1:{port}"), spans, _process: process })
    }

    /// Lets the role of this configuration export here.
    fn follow(&self, config: &Path) -> Result<()> {
        let text = std::fs::read_to_string(config)?;
        let told = format!("[telemetry]\notlp_endpoint = \"{}\"", self.address);
        ensure!(text.contains("[telemetry]"), "{} has no [telemetry]", config.display());
        Ok(std::fs::write(config, text.replacen("[telemetry]", &told, 1))?)
    }

    fn follow_backends(&self, layout: &Layout) -> Result<()> {
        layout.backends.iter().try_for_each(|backend| self.follow(&backend.config))
    }

    /// The spans of a trace, in the order of descent from the caller's own.
    fn trace(&self, trace: &str) -> Vec<Value> {
        let spans = self.spans.lock().unwrap();
        let mut chain: Vec<Value> = Vec::new();
        while let Some(next) = spans.iter().find(|span| {
            let above = chain.last().map_or(PARENT, |last| last["span"].as_str().unwrap());
            span["trace"] == trace && span["parent"] == above
        }) {
            chain.push(next.clone());
        }
        chain
    }
}

/// One call in plain HTTP that belongs to `trace`; its status and exchange.
async fn call(web: &Web, trace: &str, purpose: &str) -> Result<(u16, String)> {
    let mut curl = web.curl();
    curl.args(["-H", &format!("mesh-purpose: {purpose}"), "-H", "content-type: application/json"]);
    curl.args(["-H", "mesh-dossier: H26.90-261121-0001", "-H", "mesh-user: clerk-77"]);
    curl.args(["-H", &format!("traceparent: 00-{trace}-{PARENT}-01"), "-H", "tracestate: note=999190000001"]);
    curl.args(["--data-binary", PERSON]).arg(web.url(GET_CITIZEN));
    let answer = lienthong_tests::web::answered(&curl.output().await?)?;
    Ok((answer.status, answer.header("mesh-exchange-id").to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_the_consumers_system_through_both_nodes_into_the_backend() -> Result<()> {
    let collector = Collector::start().await?;
    let mesh = TestMesh::start_changed(|layout| {
        layout.nodes.iter().try_for_each(|(_, config, _)| collector.follow(config))?;
        collector.follow_backends(layout)
    })
    .await?;
    let web = Web::office(&mesh)?;
    let (asked, denied) = ("4bf92f3577b34da6a3ce929d0e0e4736", "a0000000000000000000000000000001");
    let (status, exchange) = call(&web, asked, "ADMIN_PROCEDURE").await?;
    ensure!(status == 200, "{status}");
    let (status, refused) = call(&web, denied, "STATISTICS").await?;
    ensure!(status == 403, "{status}");
    eventually("all spans are at the collector", async || {
        Ok(collector.trace(asked).len() == 3 && collector.trace(denied).len() == 1)
    })
    .await?;

    let chain = collector.trace(asked);
    let services: Vec<_> = chain.iter().map(|span| span["service"].as_str().unwrap()).collect();
    assert_eq!(services, ["lienthong-node", "lienthong-node", "lienthong-backend"]);
    for span in &chain {
        assert_eq!(span["name"], "vn.dancu.v1.CitizenService/GetCitizen");
        assert_eq!(span["attributes"]["rpc.system"], "grpc");
        assert_eq!(span["attributes"]["rpc.method"], "GetCitizen");
        assert_eq!(span["attributes"]["rpc.grpc.status_code"], 0);
        assert_eq!((&span["kind"], &span["fault"]), (&Value::from(2), &Value::from(false)));
    }
    for (span, side, node) in [
        (&chain[0], "consumer", "agencies/H26.90/nodes/n1"),
        (&chain[1], "provider", "agencies/G01/nodes/n1"),
    ] {
        assert_eq!(span["attributes"]["lienthong.side"], side);
        assert_eq!(span["attributes"]["lienthong.node"], node);
        assert_eq!(span["attributes"]["lienthong.exchange_id"], exchange, "from the trace to the records");
    }
    let [stopped] = &collector.trace(denied)[..] else { anyhow::bail!("a denied call goes no further") };
    assert_eq!(stopped["attributes"]["lienthong.exchange_id"], refused);
    assert_eq!(stopped["attributes"]["rpc.grpc.status_code"], 7);
    assert_eq!(stopped["attributes"]["lienthong.reason"], "DENY_PURPOSE");
    assert_eq!(stopped["fault"], false, "a denial is an answer");

    // Who was asked about, by whom, for which dossier: the audit log knows, no collector does.
    for span in collector.spans.lock().unwrap().iter() {
        for key in span["attributes"].as_object().unwrap().keys() {
            assert!(SAID.contains(&key.as_str()), "{key} in {span}");
        }
        for secret in ["999190000001", "261121-0001", "clerk-77", "note="] {
            assert!(!span.to_string().contains(secret), "{secret} in {span}");
        }
    }
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_export_nothing_let_the_trace_pass() -> Result<()> {
    let collector = Collector::start().await?;
    let mesh = TestMesh::start_changed(|layout| collector.follow_backends(layout)).await?;
    let trace = "b0000000000000000000000000000002";
    let (status, _) = call(&Web::office(&mesh)?, trace, "ADMIN_PROCEDURE").await?;
    ensure!(status == 200, "{status}");
    eventually("the backend's span is at the collector", async || Ok(collector.trace(trace).len() == 1))
        .await?;
    assert_eq!(collector.trace(trace)[0]["service"], "lienthong-backend");
    assert_eq!(collector.trace(trace)[0]["state"], "", "free text goes no further");
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_reads_every_role_and_every_role_says_how_it_feels() -> Result<()> {
    let mesh = TestMesh::start_plan(&Plan::demo().with_gateway(), |_| Ok(())).await?;
    let layout = &mesh.mesh.layout;
    let gateway = layout.gateway.as_ref().context("there is no gateway")?;
    let (status, _) =
        call(&Web::office(&mesh)?, "c0000000000000000000000000000003", "ADMIN_PROCEDURE").await?;
    ensure!(status == 200, "{status}");
    http(gateway.public, "/").await?;
    let roles: Vec<(&str, SocketAddr)> = [("broker", layout.broker.1), ("gateway", gateway.admin)]
        .into_iter()
        .chain(layout.nodes.iter().map(|(name, _, admin)| (name.as_str(), *admin)))
        .chain(layout.witnesses.iter().map(|witness| (witness.id.as_str(), witness.admin)))
        .collect();
    for (role, admin) in &roles {
        for path in ["/health", "/ready"] {
            let answer = http(*admin, path).await?;
            let report: Value =
                serde_json::from_str(&answer).with_context(|| format!("{role}{path}: {answer}"))?;
            ensure!(report["ok"] == true && report["mesh"].is_string(), "{role}{path}: {report}");
        }
    }

    let mut ports = Ports::reserve(1)?;
    let prometheus = Prometheus::start(mesh.folder.path(), ports.take()?, &roles)?;
    eventually("every role was read, without an error", async || {
        let targets = prometheus.ask("/api/v1/targets?state=active").await?;
        let targets = targets["data"]["activeTargets"].as_array().context("no targets")?.clone();
        let up = targets.iter().filter(|target| target["health"] == "up").count();
        let errors: Vec<_> = targets.iter().map(|target| &target["lastError"]).collect();
        ensure!(up == roles.len(), "{up} of {} are up: {errors:?}", roles.len());
        Ok(true)
    })
    .await?;
    for (query, least) in [
        ("sum(lienthong_node_exchanges_total{status=\"DELIVERED\"})", 2.0),
        ("sum(lienthong_node_http_answers_total{status=\"200\"})", 1.0),
        ("sum(lienthong_gateway_pages_total{door=\"public\",status=\"200\"})", 1.0),
        ("sum(lienthong_gateway_page_duration_seconds_count{door=\"public\"})", 1.0),
        ("count(lienthong_build_info)", f64::from(u32::try_from(roles.len())?)),
        ("sum(lienthong_node_exchange_duration_seconds_count)", 2.0),
    ] {
        let query_ = query.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
        eventually(query, async || {
            let found = prometheus.ask(&format!("/api/v1/query?query={query_}")).await?;
            let value = found["data"]["result"][0]["value"][1].as_str().unwrap_or("0").parse::<f64>()?;
            ensure!(value >= least, "{found}");
            Ok(true)
        })
        .await?;
    }
    mesh.stop().await
}

/// Debian's Prometheus, reading every role.
struct Prometheus {
    address: SocketAddr,
    _process: Child,
}

impl Prometheus {
    fn start(folder: &Path, address: SocketAddr, roles: &[(&str, SocketAddr)]) -> Result<Self> {
        let targets: Vec<_> = roles.iter().map(|(_, admin)| format!("'{admin}'")).collect();
        let config = folder.join("prometheus.yml");
        std::fs::write(
            &config,
            format!(
                "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: lienthong\n    static_configs:\n      - targets: [{}]\n",
                targets.join(", ")
            ),
        )?;
        let log = std::fs::File::create(folder.join("prometheus.log"))?;
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("prometheus is missing: install the package prometheus of Debian; tests/run does")?;
        Ok(Self { address, _process: process })
    }

    async fn ask(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&http(self.address, path).await?)?)
    }
}

/// The body of a page.
async fn http(address: SocketAddr, path: &str) -> Result<String> {
    let url = format!("http://{address}{path}");
    let got =
        Command::new("curl").args(["--silent", "--show-error", "--max-time", "20", &url]).output().await?;
    ensure!(got.status.success(), "{url}: {}", String::from_utf8_lossy(&got.stderr));
    Ok(String::from_utf8(got.stdout)?)
}
