//! Trust changes while the mesh works: bundle key, log key, roots, authorities. Under live calls, and not one of them fails.
//!
//! Only the broker is given new versions of the trust file; the nodes get them over their watch.

#![allow(clippy::needless_pass_by_value)] // closures of a test read better so
use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use lienthong::{commands::call, demo::layout::Layout};
use lienthong_audit::{
    log::{LogKey, LogReader},
    policy::Policy,
};
use lienthong_certs::{
    Branch, DevPki, files,
    pki::{Holder, Request},
    request,
};
use lienthong_proto::lienthong::control::v1::SignedBundle;
use lienthong_tests::{
    GET_CITIZEN, OFFICE, PERSON, TestMesh, eventually, handling, load::Load, metric, program,
};
use lienthong_trust::ceremony;
use prost::Message;
use tokio::process::Command;

#[tokio::test]
async fn every_key_and_authority_changes_under_load_and_no_call_fails() -> Result<()> {
    let mesh = TestMesh::start_changed(prepare).await?;
    let ceremony = Ceremony::of(&mesh.mesh.layout);
    let mut load = Load::of_office(&mesh)?;

    // The bundle key: announced, then used.
    let next = text(&ceremony.path("keys/bundle-2.key"))?;
    ceremony.rotate(&mesh, 2, &["--next-bundle-key", &next]).await?;
    load.goes_on().await.context("the next bundle key is announced")?;
    ceremony.rotate(&mesh, 3, &["--use-next-bundle-key"]).await?;
    for code in ["H26.90", "G01"] {
        eventually("the bundle on disk is signed by the new key", async || {
            let bytes = fs::read(ceremony.path(&format!("nodes/{code}/bundle.binpb")))?;
            Ok(SignedBundle::decode(bytes.as_slice())?.key_name == "bundle-2")
        })
        .await?;
    }
    load.goes_on().await.context("the new bundle key signs")?;

    change_log_key(&mesh, &ceremony, &mut load).await?;

    // The root: the old one and the new one sign the change, then the new one alone.
    let new_root = ceremony.path("trust/root-2.key");
    ceremony
        .rotate_with(&mesh, 6, &["--add-root", &text(&new_root)?, "--drop-root", "demo/root-1"], true)
        .await?;
    fs::rename(&new_root, ceremony.path("trust/root.key"))?;
    ceremony.rotate(&mesh, 7, &["--days", "200"]).await?;
    load.goes_on().await.context("the new root signs alone")?;

    // The authorities: a second generation comes, a node changes over to it, an authority of the first goes.
    let second = text(&ceremony.path("pki-g2/trust/state.pem"))?;
    ceremony.rotate(&mesh, 8, &["--state", &format!("State G2={second}")]).await?;
    for ending in ["key", "crt"] {
        let from = ceremony.path(&format!("pki-g2/issued/G01-n1.{ending}"));
        let to = ceremony.path(&format!("pki/issued/G01-n1.{ending}"));
        fs::copy(&from, to.with_extension("next"))?;
        fs::rename(to.with_extension("next"), &to)?;
    }
    let pid = mesh.mesh.node_pid("G01")?.to_string();
    ensure!(Command::new("kill").args(["-HUP", &pid]).status().await?.success());
    eventually("the node of G01 uses a certificate of the second generation", async || {
        Ok(mesh.log_of("node-G01")?.contains("on disk are those in use"))
    })
    .await?;
    load.goes_on().await.context("a node works under the second generation")?;
    ceremony.rotate(&mesh, 9, &["--drop-anchor", "Party G1 (development)"]).await?;
    load.goes_on().await.context("an authority of the first generation is gone")?;

    let answered = load.end().await?;
    ensure!(answered > 100, "only {answered} calls: that is no load");

    // What no longer stands is closed: with its authority gone, the office's own certificate counts no more. Its node is
    // handed the file itself: the broker would cut every node that still lives under the first generation.
    let (file, root) = (text(&ceremony.file)?, text(&ceremony.path("trust/root.key"))?);
    let out = text(&ceremony.path("trust/node-H26.90.trust"))?;
    let drop_first = ["--drop-anchor", "State G1 (development)", "--drop-anchor", "public G1 (development)"];
    let arguments = [&["trust", "rotate", &file, "--root", &root, "--out", &out][..], &drop_first].concat();
    let (good, said) = ceremony.command(&arguments).await?;
    ensure!(good, "{said}");
    eventually("the office's certificate is refused", async || {
        let client = mesh.mesh.client(OFFICE)?;
        Ok(call::call(&client, GET_CITIZEN, PERSON, &handling()).await?.error.is_some())
    })
    .await
}

/// The change of a whole generation, as the real authorities make it: the second comes, every holder changes over to it one
/// after the other (nodes, broker, backends, systems, officers), and the first goes. No call fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_holder_changes_over_to_the_next_generation_and_the_first_goes() -> Result<()> {
    let mesh = TestMesh::start_changed(prepare_generation).await?;
    let layout = &mesh.mesh.layout;
    let ceremony = Ceremony::of(layout);
    let mut load = Load::of_office(&mesh)?;
    load.goes_on().await?;

    let second = text(&ceremony.path("pki-g2/trust/state.pem"))?;
    ceremony.rotate(&mesh, 2, &["--state", &format!("State G2={second}")]).await?;
    // Backends and clients know authorities by a file: both generations, then the second alone.
    let known = ceremony.path("pki/trust/state.pem");
    let both = [fs::read(&known)?, fs::read(&second)?].concat();
    files::replace(&known, &both)?;
    for backend in &layout.backends {
        took_over(&mesh, &format!("backend-{}", backend.name), 1).await?;
    }
    load.goes_on().await.context("both generations are known")?;

    roles_change_over(&mesh, &ceremony, &mut load).await?;
    for profile in layout.profiles.values() {
        change_over(&ceremony, profile)?;
    }
    // What is in force was approved under the first generation, too.
    mesh.mesh.reload_broker().await?;
    load.goes_on().await.context("everybody has changed over")?;
    let answered = load.end().await?;
    ensure!(answered > 50, "{answered} answers are no load");

    let mut load = Load::of_office(&mesh)?;
    load.goes_on().await?;
    ceremony.rotate(&mesh, 3, &["--drop-anchor", "State G1 (development)"]).await?;
    files::replace(&known, &fs::read(&second)?)?;
    for backend in &layout.backends {
        took_over(&mesh, &format!("backend-{}", backend.name), 3).await?;
    }
    load.goes_on().await.context("the first generation is gone")?;
    let answered = load.end().await?;
    ensure!(answered > 20, "{answered} answers are no load");
    mesh.stop().await
}

/// Backends, nodes, and the broker, one after the other.
async fn roles_change_over(mesh: &TestMesh, ceremony: &Ceremony, load: &mut Load) -> Result<()> {
    let layout = &mesh.mesh.layout;
    for backend in &layout.backends {
        change_over(ceremony, &backend.config)?;
        took_over(mesh, &format!("backend-{}", backend.name), 2).await?;
        load.goes_on().await.with_context(|| format!("{} has changed over", backend.name))?;
    }
    // Those who are asked before those who ask: a node makes its own connections anew, those of others end with their age.
    let asked_first = layout.nodes.iter().filter(|(name, ..)| name != "H26.90");
    let asks = layout.nodes.iter().filter(|(name, ..)| name == "H26.90");
    for (name, config, admin) in asked_first.chain(asks) {
        let name_of_end = "lienthong_node_certificate_expiry_seconds ";
        let before = metric(*admin, name_of_end).await?;
        change_over(ceremony, config)?;
        eventually(&format!("{name} shows its next certificate"), async || {
            Ok(metric(*admin, name_of_end).await? > before)
        })
        .await?;
        load.goes_on().await.with_context(|| format!("{name} has changed over"))?;
    }
    let (config, admin) = &layout.broker;
    let name_of_end = "lienthong_broker_certificate_expiry_seconds ";
    let before = metric(*admin, name_of_end).await?;
    change_over(ceremony, config)?;
    eventually("the broker shows its next certificate", async || {
        Ok(metric(*admin, name_of_end).await? > before)
    })
    .await?;
    Ok(())
}

/// Waits until a backend has read its files anew so many times.
async fn took_over(mesh: &TestMesh, role: &str, times: usize) -> Result<()> {
    eventually(&format!("{role} has taken its files over"), async || {
        Ok(mesh.log_of(role)?.matches("are those in use").count() >= times)
    })
    .await
}

/// The certificate of the second generation takes the place of the first, in the file that a configuration names.
fn change_over(ceremony: &Ceremony, config: &Path) -> Result<()> {
    let config: toml::Table = toml::from_str(&fs::read_to_string(config)?)?;
    let certificate = Path::new(config["certificate"].as_str().context("no certificate")?);
    let next = ceremony.path("second").join(certificate.file_name().context("no file")?);
    // Whoever shares a certificate with another role has changed over already.
    if next.exists() {
        files::replace(certificate, &fs::read(&next)?)?;
    }
    Ok(())
}

/// Every certificate of the State branch once more, for the same key, by a second generation; the registry binds both.
fn prepare_generation(layout: &Layout) -> Result<()> {
    let dir = &layout.dir;
    let second = DevPki::create(&dir.join("pki-g2"), "demo")?;
    for folder in ["first", "second"] {
        fs::create_dir(dir.join(folder))?;
    }
    for entry in fs::read_dir(dir.join("pki/issued"))? {
        let certificate = entry?.path();
        let (Some(name), true) =
            (certificate.file_name(), certificate.extension().is_some_and(|end| end == "crt"))
        else {
            continue;
        };
        fs::copy(&certificate, dir.join("first").join(name))?;
        let chain = files::certificates(&certificate)?;
        let leaf = chain.first().context("no certificate")?;
        let asked = request::next(leaf, &certificate.with_extension("key"))?;
        fs::write(dir.join("second").join(name), second.answer(&asked.pem, Branch::State, 366)?)?;
    }
    let mut registry: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.join("registry.yaml"))?)?;
    for kind in ["nodes", "systems"] {
        for holder in registry[kind].as_array_mut().context("none in the registry")? {
            let file = holder["certificates"][0]["file"].as_str().context("no certificate")?.to_owned();
            let name = Path::new(&file).file_name().context("no file")?;
            let both =
                ["first", "second"].map(|folder| serde_json::json!({ "file": dir.join(folder).join(name) }));
            holder["certificates"] = both.to_vec().into();
        }
    }
    fs::write(dir.join("registry.yaml"), registry.to_string())?;
    for (name, config, _) in &layout.nodes {
        let copy = dir.join(format!("trust/node-{name}.trust"));
        fs::copy(dir.join("trust/mesh.trust"), &copy)?;
        change(config, |table| {
            table["trust"]["file"] = toml::Value::String(text(&copy)?);
            Ok(())
        })?;
    }
    change(&layout.broker.0, |table| {
        let lists = table["trust"]["revocation_lists"].as_array_mut().context("no lists")?;
        for list in second.crl_files() {
            lists.push(toml::Value::String(text(&list)?));
        }
        Ok(())
    })
}

/// Announced, so that both keys sign; then the new one alone. Witnesses know both all along.
async fn change_log_key(mesh: &TestMesh, ceremony: &Ceremony, load: &mut Load) -> Result<()> {
    let next = text(&ceremony.path("keys/log-2.key"))?;
    let (old, both) = (ceremony.policy().await?, "the published checkpoint is believed by");
    ceremony.rotate(mesh, 4, &["--next-log-key", &next]).await?;
    let new = LogKey::from_skey(&fs::read_to_string(&next)?)?;
    let new = Policy::for_log(new.verifier().clone());
    let log = LogReader::new(&mesh.mesh.layout.log);
    eventually(&format!("{both} both"), async || {
        let note = log.checkpoint_note()?;
        old.judge(&note)?;
        new.judge(&note)?;
        Ok(true)
    })
    .await?;
    load.goes_on().await.context("the next log key signs, too")?;
    ceremony.rotate(mesh, 5, &["--use-next-log-key"]).await?;
    let quorum = ceremony.policy().await?;
    eventually(&format!("{both} the new key alone, with its witnesses"), async || {
        let note = log.checkpoint_note()?;
        quorum.judge(&note)?;
        Ok(old.judge(&note).is_err())
    })
    .await?;
    load.goes_on().await.context("the new log key signs alone")
}

#[tokio::test]
async fn a_file_that_is_older_or_by_strangers_is_refused_and_the_mesh_goes_on() -> Result<()> {
    let mut mesh = TestMesh::start_changed(prepare).await?;
    let ceremony = Ceremony::of(&mesh.mesh.layout);
    let first = fs::read(&ceremony.file)?;
    ceremony.rotate(&mesh, 2, &["--days", "100"]).await?;

    // The old file, put back at the broker; and one that a stranger signed, put before a node.
    fs::write(&ceremony.file, &first)?;
    eventually("the broker says that an old file was played back", async || {
        Ok(mesh.log_of("broker")?.contains("version 1, version 2 is held"))
    })
    .await?;
    let stranger = ceremony.path("trust/stranger");
    let made = ceremony
        .command(&[
            "trust",
            "init",
            &text(&stranger)?,
            "--mesh",
            "demo",
            "--log-origin",
            "log.stranger.invalid",
            "--development-ca",
            &text(&ceremony.path("pki"))?,
        ])
        .await?;
    ensure!(made.0, "{}", made.1);
    let forged = stranger.join("forged.trust");
    let root = text(&stranger.join("root.key"))?;
    for _ in 0..3 {
        let from = if forged.exists() { forged.clone() } else { stranger.join("mesh.trust") };
        let made = ceremony
            .command(&["trust", "rotate", &text(&from)?, "--root", &root, "--out", &text(&forged)?])
            .await?;
        ensure!(made.0, "{}", made.1);
    }
    fs::copy(&forged, ceremony.path("trust/node-G01.trust"))?;
    eventually("the node says that strangers signed", async || {
        Ok(mesh.log_of("node-G01")?.contains("signed by 0 of the roots trusted until now"))
    })
    .await?;
    mesh.until_served().await?;

    // A restart with the old file still goes by the newest version that was seen.
    mesh.mesh.restart_node("G01", false).await?;
    mesh.until_served().await?;
    ensure!(ceremony.holds("G01", 2));
    mesh.stop().await
}

/// Whoever holds the root keys, with the program in hand.
struct Ceremony {
    dir: PathBuf,
    file: PathBuf,
    nodes: Vec<String>,
}

impl Ceremony {
    fn of(layout: &Layout) -> Self {
        let nodes = layout.nodes.iter().map(|(name, ..)| name.clone()).collect();
        Self { dir: layout.dir.clone(), file: layout.dir.join("trust/mesh.trust"), nodes }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes the next version, lays it before the broker, and waits until every node holds it.
    async fn rotate(&self, mesh: &TestMesh, version: u64, changes: &[&str]) -> Result<()> {
        self.rotate_with(mesh, version, changes, false).await
    }

    async fn rotate_with(
        &self,
        mesh: &TestMesh,
        version: u64,
        changes: &[&str],
        new_root_signs: bool,
    ) -> Result<()> {
        let next = self.path("trust/next.trust");
        let (file, root) = (text(&self.file)?, text(&self.path("trust/root.key"))?);
        let (new_root, out) = (text(&self.path("trust/root-2.key"))?, text(&next)?);
        let mut arguments = vec!["trust", "rotate", &file, "--root", &root, "--out", &out];
        if new_root_signs {
            arguments.extend(["--root", &new_root]);
        }
        arguments.extend(changes);
        let (good, said) = self.command(&arguments).await?;
        ensure!(good && said.contains(&format!("version {version}")), "{said}");
        fs::rename(&next, &self.file)?;
        eventually(&format!("every node holds version {version}"), async || {
            let missing: Vec<_> = self.nodes.iter().filter(|node| !self.holds(node, version)).collect();
            ensure!(
                missing.is_empty(),
                "{missing:?} do not; the broker: {}",
                last_lines(&mesh.log_of("broker")?)
            );
            Ok(true)
        })
        .await
    }

    /// Whether a node has this version on its disk.
    fn holds(&self, node: &str, version: u64) -> bool {
        self.path(&format!("nodes/{node}/trust/{version:020}.trust")).exists()
    }

    /// The policy of the log's readers, as the newest file has it.
    async fn policy(&self) -> Result<Policy> {
        let (good, said) = self.command(&["trust", "policy", &text(&self.file)?]).await?;
        ensure!(good, "{said}");
        Ok(Policy::parse(said.as_bytes())?)
    }

    async fn command(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let output = Command::new(program()?).args(arguments).output().await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }
}

/// Each node gets a copy of the trust file, so that only the broker is told of newer ones; a second generation of
/// authorities is at hand, with a certificate for the node of G01 that the registry binds beside its present one.
fn prepare(layout: &Layout) -> Result<()> {
    let dir = &layout.dir;
    for (name, config, _) in &layout.nodes {
        let copy = dir.join(format!("trust/node-{name}.trust"));
        fs::copy(dir.join("trust/mesh.trust"), &copy)?;
        change(config, |table| {
            table["trust"]["file"] = toml::Value::String(text(&copy)?);
            Ok(())
        })?;
    }
    let second = DevPki::create(&dir.join("pki-g2"), "demo")?;
    let server_name = "n1.g01.demo.invalid";
    let holder = Holder::Node {
        agency_code: "G01".to_owned(),
        agency_name: "Bộ Công an".to_owned(),
        node_id: "n1".to_owned(),
    };
    let issued = second.issue(&Request::new(holder).with_dns_names(&[server_name]))?;

    let (present, kept) = (dir.join("pki/issued/G01-n1.crt"), dir.join("g01-first.crt"));
    fs::copy(&present, &kept)?;
    let registry = fs::read_to_string(dir.join("registry.yaml"))?;
    let mut registry: serde_json::Value = serde_json::from_str(&registry)?;
    let nodes = registry["nodes"].as_array_mut().context("the registry has no nodes")?;
    let node = nodes.iter_mut().find(|node| node["agency"] == "G01").context("G01 has no node")?;
    ensure!(node["server_name"] == server_name, "{node}");
    node["certificates"] = serde_json::json!([{ "file": kept }, { "file": issued.certificate }]);
    fs::write(dir.join("registry.yaml"), registry.to_string())?;

    change(&layout.broker.0, |table| {
        let lists = table["trust"]["revocation_lists"].as_array_mut().context("no lists")?;
        for list in second.crl_files() {
            lists.push(toml::Value::String(text(&list)?));
        }
        Ok(())
    })?;
    let origin = LogKey::from_skey(&fs::read_to_string(dir.join("keys/log-1.key"))?)?;
    let next = ceremony::generate_key(&dir.join("keys/log-2.key"), origin.origin())?;
    for witness in &layout.witnesses {
        change(&witness.config, |table| {
            let logs = table["logs"].as_array_mut().context("the witness watches no log")?;
            logs.push(toml::Value::String(next.verifier().to_string()));
            Ok(())
        })?;
    }
    for backend in &layout.backends {
        change(&backend.config, |table| {
            let trusted = table["trust"].as_array_mut().context("no trust")?;
            trusted.push(toml::Value::String(text(&dir.join("pki-g2/trust/state.pem"))?));
            Ok(())
        })?;
    }
    Ok(())
}

fn change(config: &Path, change: impl FnOnce(&mut toml::Value) -> Result<()>) -> Result<()> {
    let mut table: toml::Value = toml::Value::Table(toml::from_str(&fs::read_to_string(config)?)?);
    change(&mut table)?;
    fs::write(config, toml::to_string(&table)?)?;
    Ok(())
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().rev().take(3).collect();
    lines.join(" | ")
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("the folder has a name that is not UTF-8")?.to_owned())
}
