//! A node's certificate nears its end, and the node has it replaced by itself: nobody types a command, and no call fails.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use lienthong::client::{self, Client};
use lienthong::demo::process::Role;
use lienthong_certs::{
    Branch, DevPki, KeySource, PeerCertificate, files,
    pki::{Holder, Request},
};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_tests::{
    TestMesh, eventually,
    load::Load,
    metric,
    new_agency::{NewAgency, answered, fingerprint_of, presented, stated, text},
    records::records,
    softhsm::SoftHsm,
};
use time::{Duration, OffsetDateTime};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_renews_its_certificate_by_itself_under_load() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let ending = Ending::prepare(&mesh).await?;
    let mut role = ending.start().await?;
    let mut load = Load::start(&ending.agency.dir.join("mot-cua.profile.toml"), &stated())?;
    load.goes_on().await?;

    // What does not stand for this node changes nothing, and is said.
    eventually("the node asks", async || Ok(ending.place("next.csr").exists())).await?;
    let other = ending.pki.issue_node("H26", "DEMO – Cơ quan khác", "n1", &["n1.h26.demo.invalid"])?;
    fs::copy(&other.certificate, ending.place("next.crt"))?;
    let refused = ending.outcome("refused");
    eventually("another's certificate is refused", async || Ok(refused().await? > 0.0)).await?;
    ensure!(
        ending.place("next.csr").exists() && ending.place("next.key").exists(),
        "it asks for the same still"
    );
    load.goes_on().await?;

    let fingerprint = ending.answered_by_the_authority()?;
    eventually("the node shows its next certificate", async || {
        Ok(presented(&ending.agency).await? == fingerprint)
    })
    .await?;
    load.goes_on().await?;
    let answered = load.end().await?;
    ensure!(answered > 50, "{answered} answers are no load");
    let renewed = ending.outcome("renewed")().await?;
    ensure!((0.5..1.5).contains(&renewed), "once, and not {renewed} times");
    for left in ["next.csr", "next.crt", "next.key"] {
        ensure!(!ending.place(left).exists(), "{left} is left over");
    }
    let before = ending.agency.dir.join("node.key.before");
    ensure!(
        files::private_key(&before).is_ok(),
        "the key before stays beside the new one, for its owner alone"
    );

    // It is on record, and the data contact is told.
    let by_itself = records(&mesh.mesh.layout.log)?.into_iter().any(|record| match record.body {
        Some(Body::Administration(act)) => {
            act.action == "enrollment.renew" && act.actor == "agencies/H29/nodes/n1"
        }
        _ => false,
    });
    ensure!(by_itself, "the renewal is not on record");
    let told = ending.agency.enroll(&mesh, "operator-2", &["notices"]).await?;
    let notices = told.steps().next().with_context(|| format!("{told:?}"))?;
    let notice = &notices["notices"][0];
    ensure!(notice["kind"] == "renewed" && notice["holder"] == "agencies/H29/nodes/n1", "{notices}");
    ensure!(notice["contact"]["email"].as_str().is_some_and(|email| email.contains('@')), "{notices}");

    role.kill().await?;
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_a_token_stays_and_its_certificate_is_renewed() -> Result<()> {
    let Some(hsm) = SoftHsm::within("a_key_in_a_token_stays_and_its_certificate_is_renewed") else {
        return Ok(());
    };
    let mesh = TestMesh::start().await?;
    let ending = Ending::prepare(&mesh).await?;
    ending.start().await?.kill().await?;
    fs::remove_dir_all(ending.place(""))?;
    let config = ending.agency.dir.join("node.toml");
    let key = ending.agency.dir.join("node.key");
    let token = KeySource::from(hsm.token("H29", &key));
    fs::remove_file(key)?;
    let mut table: toml::Table = toml::from_str(&fs::read_to_string(&config)?)?;
    table.insert("key".to_owned(), toml::Value::try_from(&token)?);
    fs::write(&config, toml::to_string(&table)?)?;
    let mut role = ending.agency.run_node().await?;

    eventually("the node asks", async || Ok(ending.place("next.csr").exists())).await?;
    ensure!(!ending.place("next.key").exists(), "the key stays where it is");
    let fingerprint = ending.answered_by_the_authority()?;
    eventually("the node shows its next certificate", async || {
        Ok(presented(&ending.agency).await? == fingerprint)
    })
    .await?;
    role.kill().await?;
    mesh.stop().await
}

/// An enrolled agency whose node's certificate ends in some hours.
struct Ending {
    agency: NewAgency,
    pki: DevPki,
}

impl Ending {
    async fn prepare(mesh: &TestMesh) -> Result<Self> {
        let agency = NewAgency::prepare(mesh).await?;
        ensure!(agency.onboard(&[]).await?.code == Some(10));
        let pki = DevPki::open(&agency.pki)?;
        let path = agency.dir.join("node.crt");
        let certificate = PeerCertificate::read(&files::certificates(&path)?)?;
        let holder = Holder::Node {
            agency_code: certificate.agency_urn.clone().context("no agency")?,
            agency_name: certificate.subject.organization.clone().context("no name")?,
            node_id: certificate.subject.common_name.clone().context("no id")?,
        };
        let names: Vec<&str> = certificate.dns_names.iter().map(String::as_str).collect();
        let now = OffsetDateTime::now_utc();
        let request = Request::new(holder)
            .with_dns_names(&names)
            .with_validity(now - Duration::days(9), now + Duration::hours(12));
        fs::write(&path, pki.certify(&request, &certificate.spki_der)?)?;

        let (node, system) = agency.tokens(mesh).await?;
        let tokens = ["--token-file", text(&node), "--system-token-file", text(&system)];
        let (enrolled, approved) = tokio::join!(agency.onboard(&tokens), agency.approve_all(mesh, 2));
        let (enrolled, _) = (enrolled?, approved?);
        ensure!(enrolled.code == Some(10), "it was not told to start the node: {enrolled:?}");
        Ok(Self { agency, pki })
    }

    /// Starts the node, and waits until its system gets an answer.
    async fn start(&self) -> Result<Role> {
        let role = self.agency.run_node().await?;
        let (node, system) = (self.agency.home.join("node.token"), self.agency.home.join("mot-cua.token"));
        let tokens = ["--token-file", text(&node), "--system-token-file", text(&system)];
        let onboarded = self.agency.onboard(&tokens).await?;
        ensure!(onboarded.code == Some(0), "the node runs: {onboarded:?}");
        let client = Client::new(&client::profile(&self.agency.dir.join("mot-cua.profile.toml"))?)?;
        eventually("the new agency gets an answer", async || answered(&client).await).await?;
        Ok(role)
    }

    /// The authority's part: what is asked for is certified and put beside the request.
    fn answered_by_the_authority(&self) -> Result<[u8; 32]> {
        let request = fs::read_to_string(self.place("next.csr"))?;
        let chain = self.pki.answer(&request, Branch::State, 365)?;
        let certificate = self.agency.home.join("answer.crt");
        fs::write(&certificate, chain)?;
        let fingerprint = fingerprint_of(&certificate)?;
        fs::rename(&certificate, self.place("next.crt"))?;
        Ok(fingerprint)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.agency.dir.join("renewal").join(name)
    }

    fn outcome(&self, word: &str) -> impl AsyncFn() -> Result<f64> {
        let name = format!("lienthong_node_renewals_total{{outcome=\"{word}\"}}");
        let admin = self.agency.admin_address;
        async move || metric(admin, &name).await
    }
}
