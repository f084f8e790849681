//! `lienthong audit reindex`.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use lienthong_broker::index::{blocks::BLOCK_ENTRIES, rebuild::rebuild};
use serde_json::json;

use crate::out;

/// `lienthong audit reindex`.
#[derive(Debug, Args)]
pub struct ReindexArgs {
    /// Data folder of the stopped broker
    pub data_dir: PathBuf,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// Carries the command out.
pub fn run(args: &ReindexArgs) -> Result<ExitCode> {
    let shows = std::io::stderr().is_terminal() && !args.json;
    let rebuilt = rebuild(&args.data_dir, BLOCK_ENTRIES, |done, all| {
        if shows {
            out::note(&format!("{done} of {all} entries"));
        }
    })?;
    let sound = rebuilt.blocks_differing.is_empty();
    if args.json {
        let report = json!({
            "sound": sound,
            "entries": rebuilt.entries,
            "blocks_as_stated": rebuilt.blocks_as_stated,
            "blocks_differing": rebuilt.blocks_differing,
            "blocks_unstated": rebuilt.blocks_unstated,
            "subjects_missing": rebuilt.subjects_missing,
        });
        out::line(&report.to_string());
    } else {
        out::line(&format!(
            "{} entries indexed; {} whole blocks are as the log's manifests state, {} have none yet",
            rebuilt.entries, rebuilt.blocks_as_stated, rebuilt.blocks_unstated
        ));
        for first in &rebuilt.blocks_differing {
            out::line(&format!(
                "DIFFERS: the block from entry {first} is not what its manifest states: searches of it were not complete, or the manifest is false"
            ));
        }
        if rebuilt.subjects_missing > 0 {
            out::line(&format!(
                "{} records name subjects of whom no node has told the index",
                rebuilt.subjects_missing
            ));
        }
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
