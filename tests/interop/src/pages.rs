//! The pages of `docs/clients/`: their own code blocks are what is run.
//!
//! A fence says what its block is: `file=NAME` is written to that file, `run` is run in a shell, `expect` holds lines
//! that the shell's output must have, in that order; a line `…` stands for any number of others, and `…` in a line for
//! anything.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{process::Command, time::timeout};

use crate::{stage::Stage, verdict::Verdict};

/// How long one block may run.
const BLOCK_TIMEOUT_MS: u64 = 240_000;

/// A block of a page.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// A file and its text.
    File(String, String),
    /// Shell commands.
    Run(String),
    /// Lines that the run before must have written.
    Expect(String),
}

/// Runs a page in a folder of its own, made anew below `work`.
pub async fn run(page: &str, work: &Path, stage: &Stage) -> Result<Verdict> {
    let path = house().join(format!("docs/clients/{page}.md"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let folder = work.join(page);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let protos = work.join("../protos").canonicalize().context("the protos are not laid out")?;
    std::os::unix::fs::symlink(protos, folder.join("protos"))?;
    let mut environment = stage.environment_of_pages();
    // What cargo compiled for a page stays for its next run.
    let target = std::path::absolute(work.join("../pages-target"))?;
    environment.insert("CARGO_TARGET_DIR".to_owned(), target.display().to_string());
    Ok(match play(&blocks(&text)?, &folder, &environment).await {
        Ok(()) => Verdict::Passed(String::new()),
        Err(error) => Verdict::Failed(format!("{error:#}")),
    })
}

async fn play(blocks: &[Block], folder: &Path, environment: &BTreeMap<String, String>) -> Result<()> {
    ensure!(blocks.iter().any(|block| matches!(block, Block::Expect(_))), "the page expects nothing");
    let mut written = String::new();
    for block in blocks {
        match block {
            Block::File(name, text) => {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().context("no folder")?)?;
                fs::write(&path, text)?;
            }
            Block::Run(script) => written = shell(script, folder, environment).await?,
            Block::Expect(expected) => expect(expected, &written)?,
        }
    }
    Ok(())
}

async fn shell(script: &str, folder: &Path, environment: &BTreeMap<String, String>) -> Result<String> {
    let run = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{script}")])
        .current_dir(folder)
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        timeout(Duration::from_millis(BLOCK_TIMEOUT_MS), run).await.context("a block does not end")??;
    let written = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{script}\nended with {}:\n{written}", output.status);
    Ok(written)
}

/// Every expected line, in order.
fn expect(expected: &str, written: &str) -> Result<()> {
    let mut lines = written.lines();
    for wanted in expected.lines().filter(|line| !line.trim().is_empty() && line.trim() != "…") {
        ensure!(lines.any(|line| fits(wanted, line)), "no line {wanted:?} in:\n{written}");
    }
    Ok(())
}

/// True where the parts between `…` come in the line, in order.
fn fits(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.trim_end().split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.trim_end().strip_prefix(first)) else {
        return false;
    };
    let mut last = "";
    for part in parts {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
        last = part;
    }
    rest.is_empty() || (wanted.contains('…') && last.is_empty())
}

fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let mut block = String::new();
        loop {
            match lines.next() {
                Some("```") => break,
                Some(line) => block.extend([line, "\n"]),
                None => bail!("the block {line} has no end"),
            }
        }
        let word = fence.split_once(' ').map_or("", |(_, word)| word);
        match word.split_once('=') {
            Some(("file", name)) => blocks.push(Block::File(name.to_owned(), block)),
            _ if word == "run" => blocks.push(Block::Run(block)),
            _ if word == "expect" => blocks.push(Block::Expect(block)),
            _ => {}
        }
    }
    Ok(blocks)
}

/// The top of the house.
fn house() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // test code

    use super::*;

    #[test]
    fn blocks_are_what_their_fences_say() {
        let page = "words\n```python file=a.py\nx\n```\n```sh run\npython a.py\n```\n```text expect\ny\n```\n```sh\nno\n```\n";
        let expected = [
            Block::File("a.py".into(), "x\n".into()),
            Block::Run("python a.py\n".into()),
            Block::Expect("y\n".into()),
        ];
        assert_eq!(blocks(page).unwrap(), expected);
        assert!(blocks("```sh run\n").is_err());
    }

    #[test]
    fn expected_lines_come_in_order() {
        let written = "one\ntwo 2\nthree\n";
        for (expected, found) in [
            ("one\nthree\n", true),
            ("one\n…\ntwo …\n", true),
            ("t…o 2", true),
            ("two", false),
            ("three\none\n", false),
            ("…2", true),
            ("…1", false),
        ] {
            assert_eq!(expect(expected, written).is_ok(), found, "{expected}");
        }
    }
}
