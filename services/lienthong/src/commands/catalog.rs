//! `lienthong catalog`.

use std::process::ExitCode;

use anyhow::Result;
use lienthong_broker::sources;
use lienthong_catalog::Catalog;

use crate::{
    cli::{CatalogCommand, LintArgs},
    out,
};

/// Carries a command out.
pub fn run(command: CatalogCommand) -> Result<ExitCode> {
    match command {
        CatalogCommand::Lint(args) => lint(&args),
    }
}

fn lint(args: &LintArgs) -> Result<ExitCode> {
    let files = sources::read_folder(&args.dir)?;
    match Catalog::read(&files) {
        Ok(_) => {
            out::line(&format!("{} files, no mistake", files.len()));
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                out::line(&mistake.to_string());
            }
            out::note(&format!("{} mistakes", mistakes.len()));
            Ok(ExitCode::FAILURE)
        }
    }
}
