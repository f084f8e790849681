//! The demo's story, as a user runs it: one command, its exit code, and one JSON object a step.

use std::process::Command;

use anyhow::{Context, Result};
use lienthong_tests::program;
use serde_json::Value;

#[test]
fn the_demo_tells_its_story_and_all_of_it_comes_true() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("demo");
    let output = Command::new(program()?).args(["demo", "--once", "--json", "--data"]).arg(&data).output()?;
    let text = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let (last, steps) = lines.split_last().with_context(|| format!("the demo printed nothing: {errors}"))?;
    for step in steps {
        assert_eq!(step["ok"], true, "{step:#}");
        for key in ["scenario", "step", "expected", "observed"] {
            assert!(step[key].as_str().is_some_and(|text| !text.is_empty()), "{key} is missing: {step}");
        }
    }
    assert!(output.status.success(), "{errors}");
    assert_eq!(last["passed"], steps.len());
    assert_eq!(last["failed"], 0);
    let scenarios: std::collections::BTreeSet<_> =
        steps.iter().filter_map(|step| step["scenario"].as_str()).collect();
    let expected = [
        "catalog",
        "code-list",
        "compliance",
        "enterprise",
        "log",
        "refusals",
        "residence",
        "start",
        "without-the-broker",
    ];
    assert_eq!(scenarios, expected.into());

    // The log stays where the documentation says, and verifies with the command that it names.
    let verified = Command::new(program()?)
        .args(["audit", "verify"])
        .arg(data.join("broker/log"))
        .arg("--policy")
        .arg(data.join("log-policy.txt"))
        .arg("--json")
        .output()?;
    let report: Value = serde_json::from_slice(&verified.stdout)?;
    assert_eq!(report["verdict"], "VERIFIED", "{report:#}");
    assert!(verified.status.success());
    let unjudged =
        Command::new(program()?).args(["audit", "verify"]).arg(data.join("broker/log")).output()?;
    assert!(String::from_utf8(unjudged.stdout)?.contains("INTEGRITY ONLY, SIGNER NOT JUDGED"));
    Ok(())
}

#[test]
fn the_demo_leaves_no_process_behind_when_it_is_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("demo");
    let mut demo = Command::new(program()?)
        .args(["demo", "--json", "--data"])
        .arg(&data)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let stdout = demo.stdout.take().context("no stdout")?;
    // The first step tells that every role runs.
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut first)?;
    assert!(first.contains("\"ok\":true"), "{first}");
    let marker = data.display().to_string();
    assert!(!processes_of(&marker)?.is_empty());
    demo.kill()?;
    demo.wait()?;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let left = processes_of(&marker)?;
        if left.is_empty() {
            return Ok(());
        }
        assert!(std::time::Instant::now() < until, "still there: {left:?}");
        std::thread::yield_now();
    }
}

/// Command lines of living processes that name a folder.
fn processes_of(marker: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path().join("cmdline");
        // A process may end while it is looked at.
        let Ok(bytes) = std::fs::read(path) else { continue };
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        if line.contains(marker) && line.contains("--with-parent") {
            found.push(line);
        }
    }
    Ok(found)
}
