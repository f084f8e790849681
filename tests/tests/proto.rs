//! `lienthong proto`: what one may call, listed, pulled at a version, compared.
#![allow(clippy::unwrap_used)] // test code

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use lienthong_proto::descriptors;
use lienthong_tests::{GET_CITIZEN, OFFICE, TestMesh, eventually, program};
use serde_json::Value;

/// What the command printed, and whether it succeeded.
struct Told {
    well: bool,
    stdout: String,
    stderr: String,
}

struct Office(std::path::PathBuf);

impl Office {
    fn of(mesh: &TestMesh) -> Result<Self> {
        Ok(Self(mesh.mesh.layout.profiles.get(OFFICE).context("no profile")?.clone()))
    }

    fn run(&self, arguments: &[&str]) -> Result<Told> {
        let output = Command::new(program()?)
            .arg("proto")
            .args(arguments)
            .args(["--provider", "G01", "--profile"])
            .arg(&self.0)
            .output()?;
        Ok(Told {
            well: output.status.success(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    fn well(&self, arguments: &[&str]) -> Result<String> {
        let told = self.run(arguments)?;
        ensure!(told.well, "{arguments:?}: {}{}", told.stdout, told.stderr);
        Ok(told.stdout)
    }

    /// The version of the contract in force.
    fn version(&self) -> Result<String> {
        let methods: Vec<Value> = serde_json::from_str(&self.well(&["list", "--json"])?)?;
        let citizen = methods.iter().find(|method| method["path"] == GET_CITIZEN).context("not listed")?;
        assert_eq!((&citizen["provider"], &citizen["dataset"]), (&"G01".into(), &"dancu.cong_dan".into()));
        Ok(citizen["contract_version"].as_str().context("no version")?.to_owned())
    }

    fn pull(&self, format: &str, output: &Path, more: &[&str]) -> Result<Told> {
        let output = output.to_str().context("no UTF-8")?;
        self.run(&[&["pull", "--format", format, "--output", output], more].concat())
    }
}

#[tokio::test]
async fn protos_are_listed_pulled_at_a_version_and_compared() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    let office = Office::of(&mesh)?;
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let first = office.version()?;

    for name in ["first.zip", "again.zip"] {
        assert!(office.pull("zip", &at(name), &[])?.well);
    }
    assert_eq!(fs::read(at("first.zip"))?, fs::read(at("again.zip"))?);
    assert!(office.pull("descriptor-set", &at("first.binpb"), &[])?.well);
    let told = office.pull("buf", &at("protos"), &[])?;
    assert!(told.well && told.stdout.contains(&first[..12]), "{}{}", told.stdout, told.stderr);
    let citizen = fs::read_to_string(at("protos/vn/dancu/v1/citizen.proto"))?;
    assert!(citizen.contains("rpc GetCitizen") && !citizen.contains("SyncCitizens"), "{citizen}");
    for file in ["buf.yaml", "contracts.json", "lienthong/options/v1/options.proto"] {
        assert!(at("protos").join(file).is_file(), "{file} was not pulled");
    }
    // What was written compiles to what is served.
    let protos = at("protos");
    let protos = protos.to_str().unwrap();
    assert!(office.well(&["diff", protos])?.ends_with("nothing changed\n"));

    publish_another(&mut mesh).await?;
    eventually("the new contract is served", async || Ok(office.version()? != first)).await?;
    assert!(office.pull("descriptor-set", &at("older.binpb"), &["--version", &first[..8]])?.well);
    assert_eq!(fs::read(at("older.binpb"))?, fs::read(at("first.binpb"))?);
    for arguments in [&["diff", protos][..], &["diff", "--from", &first]] {
        let told = office.well(arguments)?;
        assert!(told.contains("Basic Information about citizens"), "{told}");
        assert!(told.ends_with("changes: 1; breaking a client: 0\n"), "{told}");
    }
    fs::write(
        at("protos/vn/dancu/v1/citizen.proto"),
        citizen.replace("string ho_ten = 2", "bytes ho_ten = 2"),
    )?;
    let told = office.run(&["diff", protos])?;
    assert!(
        !told.well && told.stdout.contains("BREAKING  field vn.dancu.v1.Citizen.ho_ten"),
        "{}",
        told.stdout
    );

    let told = office.pull("descriptor-set", &at("none.binpb"), &["--version", "00000000"])?;
    assert!(!told.well && told.stderr.contains(&first[..12]), "{} does not say what is kept", told.stderr);
    mesh.mesh.stop_broker().await?;
    assert!(office.pull("descriptor-set", &at("new.binpb"), &[])?.well, "the one in force needs no broker");
    let told = office.pull("descriptor-set", &at("none.binpb"), &["--version", &first])?;
    assert!(!told.well && told.stderr.contains("DENY_BROKER_UNREACHABLE"), "{}", told.stderr);
    mesh.mesh.start_broker().await?;
    mesh.stop().await
}

/// G01 publishes its contract with another name of a dataset.
async fn publish_another(mesh: &mut TestMesh) -> Result<()> {
    let (old, new) = (b"Basic information about citizens", b"Basic Information about citizens");
    let mut set = descriptors::DANCU.to_vec();
    let place = set.windows(old.len()).position(|window| window == old).context("the name is not there")?;
    set[place..place + new.len()].copy_from_slice(new);
    fs::write(mesh.mesh.layout.dir.join("contracts/dancu.binpb"), set)?;
    mesh.mesh.restart_node("G01", false).await
}
