//! A new agency comes in: from nothing to its first answered call by commands alone, four eyes on it; each misuse of a
//! token; renewal under load; and the way out.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use lienthong::{
    client::{self, Client},
    commands::call,
    demo::process::Role,
    out,
};
use lienthong_certs::DevPki;
use lienthong_tests::{
    GET_CITIZEN, PERSON, TestMesh, eventually,
    new_agency::{NewAgency, acts, answered, fingerprint_of, hang_up, presented, stated, text},
    records::{closings, records},
};

/// What a scripted onboarding may take at most, approvals included. On an idle machine it takes some seconds.
const ONBOARDING_MS_MAX: u128 = 60_000;

#[tokio::test]
async fn a_new_agency_gets_from_nothing_to_an_answered_call() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let agency = NewAgency::prepare(&mesh).await?;

    let begun = Instant::now();
    let first = agency.onboard(&[]).await?;
    ensure!(first.code == Some(10), "without a token it says what is missing: {first:?}");
    ensure!(first.text.contains("--issuer") && first.text.contains("--subject"), "{first:?}");
    let (node, system) = agency.tokens(&mesh).await?;
    let call = ["--call", GET_CITIZEN, "--data", PERSON, "--purpose", "ADMIN_PROCEDURE"];
    let dossier = ["--dossier", "H29-261121-0001", "--start", "--once"];
    let with_tokens = ["--token-file", text(&node), "--system-token-file", text(&system)];
    let arguments: Vec<&str> = with_tokens.into_iter().chain(call).chain(dossier).collect();
    let (done, approved) = tokio::join!(agency.onboard(&arguments), agency.approve_all(&mesh, 2));
    let (done, _) = (done?, approved?);
    let took = begun.elapsed();
    ensure!(done.code == Some(0), "{done:?}");
    let steps: Vec<String> =
        done.steps().filter_map(|step| step["step"].as_str().map(str::to_owned)).collect();
    let expected = [
        "card",
        "certificate",
        "certificate",
        "config",
        "enroll",
        "enroll",
        "approved",
        "approved",
        "node",
        "profile",
        "call",
    ];
    assert_eq!(steps, expected);
    let call = done.steps().find(|step| step["step"] == "call").context("no call")?;
    assert_eq!(call["facts"]["messages"][0]["citizen"]["hoTen"], "Nguyễn Văn Mẫu");
    // Seen by whoever runs the tests with their output.
    let end = done.steps().last().context("no end")?;
    out::note(&format!("onboarding took {} ms in all; the last command said {end}", took.as_millis()));
    ensure!(took.as_millis() < ONBOARDING_MS_MAX, "{took:?}");

    // The same once more finds everything done; only the node was stopped.
    let again = agency.onboard(&[]).await?;
    ensure!(again.code == Some(10) && again.text.contains("systemd"), "{again:?}");

    // The log publishes once a second.
    eventually("each step of both is on record", async || {
        let acts = acts(&mesh)?;
        let found = |action: &str| acts.iter().filter(|act| act.starts_with(action)).count();
        Ok(["enrollment.offer", "enrollment.enroll", "enrollment.approve"].map(found) == [2, 2, 2])
    })
    .await?;
    mesh.stop().await
}

#[tokio::test]
async fn a_token_is_good_once_in_time_for_one_certificate_and_two_operators() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let agency = NewAgency::prepare(&mesh).await?;
    ensure!(agency.onboard(&[]).await?.code == Some(10));
    let unknown = agency
        .enroll(
            &mesh,
            "operator-1",
            &["token", "--agency", "X99", "--node", "n1", "--issuer", "CN=x", "--subject", "CN=y"],
        )
        .await?;
    ensure!(unknown.code == Some(1) && unknown.errors.contains("danh mục"), "both languages: {unknown:?}");

    // Another agency's certificate, another subject's, and one of an authority that nobody knows.
    let (node, _) = agency.tokens(&mesh).await?;
    for (code, id, words) in [("H26", "n1", "names agency H26"), ("H29", "n9", "another subject")] {
        let other =
            NewAgency { code, node: id, dir: agency.home.join(format!("{code}-{id}")), ..agency.clone() };
        let refused = other.onboard(&["--token-file", text(&node)]).await?;
        ensure!(refused.code == Some(1) && refused.errors.contains(words), "{refused:?}");
    }
    let foreign = agency.home.join("foreign");
    DevPki::create(&foreign, "demo")?;
    let stranger = NewAgency { pki: foreign, dir: agency.home.join("stranger"), ..agency.clone() };
    let unheard = stranger.onboard(&["--token-file", text(&node)]).await?;
    ensure!(
        unheard.code == Some(1) && !unheard.errors.contains("token"),
        "no handshake, no word: {unheard:?}"
    );

    // Used, killed, used again.
    let waits = ["--wait-minutes", "0"];
    let enrolled = agency.onboard(&[&["--token-file", text(&node)], &waits[..]].concat()).await?;
    ensure!(enrolled.code == Some(10), "the system has no token yet: {enrolled:?}");
    let mut mesh = mesh;
    mesh.mesh.kill_broker().await?;
    mesh.mesh.start_broker().await?;
    fs::remove_file(agency.dir.join("node.enrollment"))?;
    let again = agency.onboard(&[&["--token-file", text(&node)], &waits[..]].concat()).await?;
    ensure!(again.code == Some(10), "the same certificate gets the same answer after the kill: {again:?}");
    let thief = NewAgency { dir: agency.home.join("thief"), ..agency.clone() };
    let spent = thief.onboard(&["--token-file", text(&node)]).await?;
    ensure!(spent.code == Some(1) && spent.errors.contains("used already"), "{spent:?}");

    // Whoever made the token may look, and not approve.
    let waiting = agency.waiting(&mesh).await?;
    let (name, fingerprint) = waiting.first().context("nothing waits")?;
    let alone = agency.enroll(&mesh, "operator-1", &["approve", name, "--fingerprint", fingerprint]).await?;
    ensure!(alone.code == Some(1) && alone.errors.contains("bốn mắt"), "{alone:?}");
    let unseen = agency.enroll(&mesh, "operator-2", &["approve", name]).await?;
    ensure!(unseen.code == Some(1) && unseen.text.contains(fingerprint.as_str()), "{unseen:?}");
    let wrong =
        agency.enroll(&mesh, "operator-2", &["approve", name, "--fingerprint", &"00".repeat(32)]).await?;
    ensure!(wrong.code == Some(1) && wrong.errors.contains("fingerprint"), "{wrong:?}");
    let rejected =
        agency.enroll(&mesh, "operator-2", &["reject", name, "--reason", "telephone said no"]).await?;
    ensure!(rejected.code == Some(0), "{rejected:?}");
    let told = agency.onboard(&["--token-file", text(&node)]).await?;
    ensure!(told.code == Some(1) && told.errors.contains("telephone said no"), "{told:?}");
    mesh.stop().await
}

#[tokio::test]
async fn a_certificate_is_renewed_under_load_and_unbound_at_once() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let agency = NewAgency::prepare(&mesh).await?;
    ensure!(agency.onboard(&[]).await?.code == Some(10));
    let (node, system) = agency.tokens(&mesh).await?;
    let tokens = ["--token-file", text(&node), "--system-token-file", text(&system)];
    let (enrolled, approved) = tokio::join!(agency.onboard(&tokens), agency.approve_all(&mesh, 2));
    ensure!(enrolled?.code == Some(10), "it was not told to start the node");
    let names = approved?;
    let mut role = agency.run_node().await?;
    ensure!(agency.onboard(&tokens).await?.code == Some(0), "the node runs");
    let client = Client::new(&client::profile(&agency.dir.join("mot-cua.profile.toml"))?)?;
    eventually("the new agency gets an answer", async || answered(&client).await).await?;

    let enrollment =
        names.iter().find(|(holder, _)| holder.contains("/nodes/")).context("no node")?.1.clone();
    renewed_under_load(&agency, &role, &client, &enrollment).await?;
    let client = system_renewed(&agency, &names).await?;
    // The journal ships under the new certificate: a record made now reaches the log.
    let outcome = call::call(&client, GET_CITIZEN, PERSON, &stated()).await?;
    let exchange = outcome.exchange_id.context("no exchange")?;
    eventually("both records of the exchange are in the log", async || {
        Ok(closings(&records(&mesh.mesh.layout.log)?, &exchange)?.len() == 2)
    })
    .await?;
    eventually("the renewal is on record", async || {
        Ok(acts(&mesh)?.iter().any(|act| act.starts_with("enrollment.renew")))
    })
    .await?;

    let out =
        agency.enroll(&mesh, "operator-1", &["unbind", &enrollment, "--reason", "key device lost"]).await?;
    ensure!(out.code == Some(0), "{out:?}");
    eventually("no call of the unbound node is answered", async || Ok(!answered(&client).await?)).await?;
    eventually("its watch has ended", async || {
        Ok(fs::read_to_string(agency.dir.join("node.log"))?.contains("the broker is not heard"))
    })
    .await?;
    eventually("the provider cut its connection", async || {
        Ok(mesh.log_of("node-G01")?.contains("the registry no longer binds its certificate as it did"))
    })
    .await?;
    role.kill().await?;
    mesh.stop().await
}

#[tokio::test]
async fn a_provider_comes_in_with_its_contract_while_the_broker_is_killed() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    // A second node for the code lists, before the backend of the first.
    let prepared = NewAgency::prepare(&mesh).await?;
    let agency = NewAgency { code: "G09", node: "n2", dir: prepared.home.join("g09-n2"), ..prepared };
    let layout = &mesh.mesh.layout;
    let backend =
        layout.backends.iter().find(|backend| backend.name == "danhmuc").context("no code lists")?;
    let (contract, address) = (layout.dir.join("contracts/danhmuc.binpb"), backend.address.to_string());
    let publish = [
        "--publish",
        text(&contract),
        "--backend",
        &address,
        "--backend-name",
        "danhmuc.backend.demo.invalid",
    ];
    let asked = agency.onboard_node(&publish).await?;
    ensure!(asked.code == Some(10), "{asked:?}");
    let token = agency.token(&mesh, "node", &["--node", "n2"]).await?;
    let arguments = [&publish[..], &["--token-file", text(&token), "--start", "--once"]].concat();
    let killed_and_approved = async {
        eventually("it waits", async || Ok(agency.waiting(&mesh).await?.len() == 1)).await?;
        mesh.mesh.kill_broker().await?;
        mesh.mesh.start_broker().await?;
        agency.approve_all(&mesh, 1).await
    };
    let (done, approved) = tokio::join!(agency.onboard_node(&arguments), killed_and_approved);
    let (done, _) = (done?, approved?);
    ensure!(done.code == Some(0), "{done:?}");
    let published = done.steps().find(|step| step["step"] == "publish").context("nothing is published")?;
    assert_eq!(published["facts"]["datasets"][0], "danhmuc.dvhc");
    let config = fs::read_to_string(agency.dir.join("node.toml"))?;
    assert_eq!(config.matches("[[backends]]").count(), 1, "once, however often it is run: {config}");
    mesh.stop().await
}

/// The node's certificate is renewed and taken over while calls go on, none of which fails.
async fn renewed_under_load(
    agency: &NewAgency,
    role: &Role,
    client: &Client,
    enrollment: &str,
) -> Result<()> {
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (client, stop, calls) = (client.clone(), Arc::clone(&stop), Arc::clone(&calls));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let outcome = call::call(&client, GET_CITIZEN, PERSON, &stated()).await?;
                ensure!(outcome.error.is_none(), "a call failed: {:?}", outcome.error);
                calls.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    });
    let before = fs::read(agency.dir.join("node.crt"))?;
    let next_key = agency.dir.join("next.key");
    let config = agency.dir.join("node.toml");
    let renewed = agency
        .command(&[
            "enroll",
            "renew",
            "--config",
            text(&config),
            "--enrollment",
            enrollment,
            "--key",
            text(&next_key),
            "--development-ca",
            text(&agency.pki),
        ])
        .await?;
    ensure!(renewed.code == Some(0), "{renewed:?}");
    ensure!(fs::read(agency.dir.join("node.crt"))? != before, "the file was replaced");
    hang_up(role).await?;
    let fingerprint = fingerprint_of(&agency.dir.join("node.crt"))?;
    eventually("the node shows its new certificate", async || Ok(presented(agency).await? == fingerprint))
        .await?;
    let at_change = calls.load(Ordering::Relaxed);
    eventually("calls go on", async || Ok(calls.load(Ordering::Relaxed) > at_change + 20)).await?;
    stop.store(true, Ordering::Relaxed);
    load.await??;
    Ok(())
}

/// The system's certificate is renewed too; a client of it, under the new one.
async fn system_renewed(agency: &NewAgency, names: &[(String, String)]) -> Result<Client> {
    let enrollment = &names.iter().find(|(holder, _)| holder.contains("/systems/")).context("no system")?.1;
    let profile = agency.dir.join("mot-cua.profile.toml");
    let next_key = agency.dir.join("next-mot-cua.key");
    let renewed = agency
        .command(&[
            "enroll",
            "renew",
            "--profile",
            text(&profile),
            "--card",
            text(&agency.card),
            "--enrollment",
            enrollment,
            "--key",
            text(&next_key),
            "--development-ca",
            text(&agency.pki),
        ])
        .await?;
    ensure!(renewed.code == Some(0), "{renewed:?}");
    let client = Client::new(&client::profile(&profile)?)?;
    eventually("the system calls under its new certificate", async || answered(&client).await).await?;
    Ok(client)
}
