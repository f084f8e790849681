//! What people of the mesh do at a command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{TestMesh, program};

/// Runs the program with a profile; what it printed. An error where it failed.
pub fn ran(profile: &Path, arguments: &[&str]) -> Result<String> {
    let ran = Command::new(program()?).args(arguments).arg("--profile").arg(profile).output()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{arguments:?}: {}{said}", String::from_utf8_lossy(&ran.stdout));
    Ok(String::from_utf8(ran.stdout)?)
}

/// Runs the program with a profile of the mesh by name, with `--json`.
pub fn asked(mesh: &TestMesh, who: &str, arguments: &[&str]) -> Result<Value> {
    let profile = mesh.mesh.layout.profiles.get(who).with_context(|| format!("there is no {who}"))?;
    Ok(serde_json::from_str(&ran(profile, &[arguments, &["--json"]].concat())?)?)
}

/// A profile by which a node of the mesh speaks to the broker itself.
pub fn node_profile(mesh: &TestMesh, node: &str) -> Result<PathBuf> {
    let layout = &mesh.mesh.layout;
    let operator = layout.profiles.get("operator-1").context("the mesh has no operator")?;
    let mut profile: toml::Table = toml::from_str(&fs::read_to_string(operator)?)?;
    let config = fs::read_to_string(layout.dir.join(format!("config/node-{node}.toml")))?;
    let config: toml::Table = toml::from_str(&config)?;
    for key in ["certificate", "key"] {
        profile.insert(key.to_owned(), config[key].clone());
    }
    let path = layout.dir.join(format!("clients/{node}-to-broker.toml"));
    fs::write(&path, toml::to_string(&profile)?)?;
    Ok(path)
}

/// The operator's first officer proposes that CE-0001 grants `gioi_tinh` too; the name of the change.
pub fn propose_a_field_more(mesh: &TestMesh, note: &str) -> Result<String> {
    let operator = mesh.mesh.layout.profiles.get("operator-1").context("the mesh has no operator")?;
    let folder = mesh.mesh.layout.dir.join("change");
    let shown = folder.to_str().context("the path is not UTF-8")?;
    ran(operator, &["catalog", "export", shown])?;
    let entries = folder.join("entries.yaml");
    let text = fs::read_to_string(&entries)?;
    let text = text.replacen("- id: CE-0001\n    version: 1", "- id: CE-0001\n    version: 2", 1);
    let (before, after) =
        ("[so_dinh_danh, ho_ten, noi_thuong_tru]", "[so_dinh_danh, ho_ten, noi_thuong_tru, gioi_tinh]");
    ensure!(text.contains(before), "the sample catalog has changed");
    fs::write(&entries, text.replacen(before, after, 1))?;
    let proposed = asked(mesh, "operator-1", &["catalog", "apply", shown, "--note", note])?;
    Ok(proposed["change"]["name"].as_str().context("no name")?.to_owned())
}
