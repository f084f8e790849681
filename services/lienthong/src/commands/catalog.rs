//! `lienthong catalog`: the steward's commands.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use lienthong_broker::sources;
use lienthong_catalog::{Catalog, ContractModel, Finding, Mistake, Severity};
use serde_json::{Value, json};

use crate::{commands::block_on, out};

mod change;
mod files;
mod folder;
mod show;

pub use change::random_id;

/// `lienthong catalog`.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// Check a folder of catalog files; every mistake with file, line, column and rule
    Lint(LintArgs),
    /// Say what a folder would change: objects, rights, and calls that would be decided differently (operator)
    Plan(change::PlanArgs),
    /// Propose a folder as the catalog, signed with your key; another person approves it (operator)
    Apply(change::ApplyArgs),
    /// Put a proposed change into force, as its second person (operator)
    Approve(change::ApproveArgs),
    /// Refuse or withdraw a proposed change (operator)
    Reject(change::RejectArgs),
    /// List changes (operator)
    Changes(change::ChangesArgs),
    /// Write the catalog in force as files (operator)
    Export(files::ExportArgs),
    /// Compare a folder with the catalog in force; fails where they differ (operator)
    Diff(files::DiffArgs),
    /// Sign a folder offline, as one of two persons: for the first catalog of a mesh
    Sign(files::SignArgs),
}

/// `lienthong catalog lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Folder with the YAML files
    pub dir: PathBuf,
    /// Check a contract too, as the broker would when its provider publishes it: the provider's code, and a
    /// serialized FileDescriptorSet with its imports
    #[arg(long = "contract", value_name = "CODE=FILE")]
    pub contracts: Vec<String>,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// Carries a command out.
pub fn run(command: CatalogCommand) -> Result<ExitCode> {
    match command {
        CatalogCommand::Lint(args) => lint(&args),
        CatalogCommand::Plan(args) => block_on(change::plan(args)),
        CatalogCommand::Apply(args) => block_on(change::apply(args)),
        CatalogCommand::Approve(args) => block_on(change::approve(args)),
        CatalogCommand::Reject(args) => block_on(change::reject(args)),
        CatalogCommand::Changes(args) => block_on(change::list(args)),
        CatalogCommand::Export(args) => block_on(files::export(args)),
        CatalogCommand::Diff(args) => block_on(files::diff(args)),
        CatalogCommand::Sign(args) => files::sign(&args),
    }
}

fn lint(args: &LintArgs) -> Result<ExitCode> {
    let files = sources::read_folder(&args.dir)?;
    let catalog = match Catalog::read(&files) {
        Ok(catalog) => catalog,
        Err(mistakes) => {
            if args.json {
                out::line(
                    &json!({ "mistakes": mistakes.iter().map(mistake_json).collect::<Vec<_>>() }).to_string(),
                );
                return Ok(ExitCode::FAILURE);
            }
            for mistake in &mistakes {
                out::line(&mistake.to_string());
            }
            out::note(&format!("{} mistakes", mistakes.len()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut contracts = Vec::new();
    for contract in &args.contracts {
        contracts.push(Linted::of(&catalog, contract)?);
    }
    if args.json {
        let contracts: Vec<Value> = contracts.iter().map(Linted::to_json).collect();
        out::line(&json!({ "mistakes": [], "files": files.len(), "contracts": contracts }).to_string());
    } else {
        out::line(&format!("{} files, no mistake", files.len()));
        contracts.iter().for_each(Linted::print);
    }
    let sound = contracts.iter().all(|contract| contract.errors() == 0);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One contract in the light of the catalog.
struct Linted {
    provider: String,
    file: String,
    model: ContractModel,
    findings: Vec<Finding>,
}

impl Linted {
    fn of(catalog: &Catalog, argument: &str) -> Result<Self> {
        let (provider, file) = argument.split_once('=').with_context(|| {
            format!("--contract {argument:?}: write the provider's code, =, and the file")
        })?;
        let bytes = fs::read(file).with_context(|| format!("the contract {file} cannot be read"))?;
        let (_, model) = ContractModel::read_with(&bytes, catalog.beside(provider))
            .with_context(|| format!("the contract {file}"))?;
        let findings = catalog.review(provider, &model);
        Ok(Self { provider: provider.to_owned(), file: file.to_owned(), model, findings })
    }

    /// More than none, and the broker would refuse it.
    fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    fn print(&self) {
        let Self { provider, file, model, findings } = self;
        for finding in findings {
            out::line(&finding.to_string());
        }
        for method in model.methods() {
            out::line(&format!("{provider} serves {} ({})", method.path, method.dataset));
        }
        let (errors, datasets) = (self.errors(), model.datasets().len());
        let warnings = findings.len() - errors;
        out::line(&format!("{file}: {datasets} datasets, {errors} errors, {warnings} warnings"));
    }

    fn to_json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "severity": if finding.severity == Severity::Error { "ERROR" } else { "WARNING" },
                "subject": finding.subject, "rule": finding.rule, "message": finding.message, "remedy": finding.remedy,
            })
        };
        let methods = self.model.methods().iter();
        json!({
            "provider": self.provider,
            "file": self.file,
            "methods": methods.map(|method| json!({ "path": method.path, "dataset": method.dataset })).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

fn mistake_json(mistake: &Mistake) -> Value {
    json!({
        "file": mistake.file, "line": mistake.line, "column": mistake.column,
        "rule": mistake.rule, "message": mistake.message, "remedy": mistake.remedy,
    })
}
