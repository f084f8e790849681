//! `lienthong catalog`.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};
use lienthong_broker::sources;
use lienthong_catalog::{Catalog, ContractModel, Severity};

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
    let catalog = match Catalog::read(&files) {
        Ok(catalog) => catalog,
        Err(mistakes) => {
            for mistake in &mistakes {
                out::line(&mistake.to_string());
            }
            out::note(&format!("{} mistakes", mistakes.len()));
            return Ok(ExitCode::FAILURE);
        }
    };
    out::line(&format!("{} files, no mistake", files.len()));
    let mut sound = true;
    for contract in &args.contracts {
        sound &= lint_contract(&catalog, contract)?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One contract in the light of the catalog; false where the broker would refuse it.
fn lint_contract(catalog: &Catalog, argument: &str) -> Result<bool> {
    let (provider, file) = argument
        .split_once('=')
        .with_context(|| format!("--contract {argument:?}: write the provider's code, =, and the file"))?;
    let bytes = fs::read(file).with_context(|| format!("the contract {file} cannot be read"))?;
    let (_, model) = ContractModel::read_with(&bytes, catalog.beside(provider))
        .with_context(|| format!("the contract {file}"))?;
    let findings = catalog.review(provider, &model);
    for finding in &findings {
        out::line(&finding.to_string());
    }
    for method in model.methods() {
        out::line(&format!("{provider} serves {} ({})", method.path, method.dataset));
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let (datasets, warnings) = (model.datasets().len(), findings.len() - errors);
    out::line(&format!("{file}: {datasets} datasets, {errors} errors, {warnings} warnings"));
    Ok(errors == 0)
}
