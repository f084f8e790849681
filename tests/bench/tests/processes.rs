//! The benchmark's own processes, for real: every contestant without a node carries the exchange, and a wrong answer is
//! noticed.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().unwrap()
}

/// Folders that a run left behind.
fn left_in(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_contestant_carries_the_exchange_and_nothing_stays() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let output = bench(&[
        "run",
        "--quick",
        "--json",
        "--rounds",
        "1",
        "--window-ms",
        "250",
        "--stream-mib",
        "4",
        "--only",
        "a,b,g",
        "--data",
        folder,
    ]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 2: measured, but too short or too disturbed for the baselines to prove themselves.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{:?}: {stderr}", output.status);
    let goals: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = goals.iter().map(|goal| goal["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["valid b/a 256B c64", "valid g/a 256B c64"]);
    assert!(goals.iter().all(|goal| goal["value"].as_f64().unwrap() > 0.0), "{stdout}");
    assert_eq!(left_in(data.path()), Vec::<String>::new());
}

/// Nodes and broker of the program beside the benchmark, with every record counted on the log.
#[test]
fn our_mesh_carries_the_exchange_and_every_record_is_counted() {
    let data = tempfile::tempdir().unwrap();
    let arguments =
        "run --quick --json --rounds 1 --window-ms 250 --only d,e,g --rights 100 --cases".split(' ');
    let arguments: Vec<_> = arguments.chain(["256B c256", "--data", data.path().to_str().unwrap()]).collect();
    let output = bench(&arguments);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(matches!(output.status.code(), Some(0 | 2)), "{:?}: {stderr}", output.status);
    for name in ["d/g 256B c256", "e/d 256B c256"] {
        let mut lines = stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let goal = lines.find(|goal| goal["name"] == name);
        assert!(goal.is_some_and(|goal| goal["value"].as_f64().unwrap() > 0.0), "{name}: {stdout}");
    }
    assert_eq!(left_in(data.path()), Vec::<String>::new());
}

/// Decisions, memory, a change of the catalog and the filter: each is measured, and a small run judges nothing.
#[test]
fn the_rights_are_measured_and_a_small_run_judges_nothing() {
    let output = bench(&["rights", "--small", "--json"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let goals: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = goals.iter().filter(|goal| goal["wanted"] != "").map(|goal| &goal["name"]).collect();
    assert_eq!(
        names,
        [
            "decision: 1,000,000 rights, of 100",
            "decision: 100 rights",
            "decision: 1,000,000 rights",
            "decision: with a condition, and one record judged",
            "memory: 1,000,000 rights",
            "compile: 1,000 agencies, 5,000 datasets",
            "delta of one entry: the broker makes it",
            "delta of one entry: a node takes it",
            "filter: page of records",
            "filter: page of records, of decode–mask–encode",
            "filter: one record of 190 texts",
            "filter: one record of 190 texts, of decode–mask–encode",
        ]
    );
    assert!(goals.iter().all(|goal| goal["holds"].is_null()), "{stdout}");
    assert!(goals.iter().all(|goal| goal["min"].as_f64() <= goal["max"].as_f64()), "{stdout}");
}

#[test]
fn a_case_that_is_none_is_named() {
    let output = bench(&["run", "--only", "a", "--cases", "256B c64,17B c3"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no such case: 17B c3"), "{said}");
}

#[test]
fn a_wrong_answer_ends_the_measurement() {
    let chain = Backend::start();
    let right = chain.load(&["--payload", "256"]);
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    // The backend itself releases nothing: it sends all fields.
    let wrong = chain.load(&["--payload", "256", "--released"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("a wrong answer"), "{said}");
    // A question that the backend does not know.
    let unknown = chain.load(&["--payload", "300"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && said.contains("grpc-status 5"), "{said}");
}

#[test]
fn without_our_program_the_run_says_what_to_do() {
    let output = bench(&["run", "--quick", "--lienthong", "/nonexistent/lienthong"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--only a,b,g"), "{said}");
}

/// A backend of its own, with its certificates.
struct Backend {
    child: std::process::Child,
    address: String,
    pki: tempfile::TempDir,
}

impl Backend {
    fn start() -> Self {
        use std::io::{BufRead, BufReader};
        let pki = tempfile::tempdir().unwrap();
        let made = bench(&["certificates", "--pki", pki.path().to_str().unwrap()]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut child = Command::new(env!("CARGO_BIN_EXE_bench"))
            .args(["backend", "--pki", pki.path().to_str().unwrap()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned(), pki }
    }

    fn load(&self, more: &[&str]) -> Output {
        let pki = self.pki.path().to_str().unwrap();
        let given = ["load", "--address", &self.address, "--pki", pki, "--concurrency", "4"];
        bench(&[&given[..], &["--warmup-ms", "10", "--window-ms", "100"], more].concat())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
