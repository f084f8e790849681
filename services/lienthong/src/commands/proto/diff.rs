//! `lienthong proto diff`: what changed, in words, and what of it breaks a client.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use lienthong_schema::{Change, compare, narrow};
use prost_reflect::DescriptorPool;
use serde_json::json;

use super::{
    DiffArgs,
    module::{self, Module},
    pull::read_manifest,
    served::{Served, short},
};
use crate::out::{self, Colour, paint};

/// Largest proto file that is read from a folder, bytes.
const PROTO_BYTES_MAX: u64 = 1024 * 1024;

/// What is compared.
struct Sides {
    old: DescriptorPool,
    new: DescriptorPool,
    /// From what to what, in words.
    about: String,
}

/// Compares and prints; fails where something breaks a client.
pub async fn run(args: DiffArgs) -> Result<ExitCode> {
    let served = Served::new(args.ask)?;
    let sides = match (&args.dir, &args.from) {
        (Some(folder), _) => since_pull(&served, folder).await?,
        (None, Some(from)) => between(&served, from, args.to.as_deref()).await?,
        // INVARIANT: the command line requires one of the two.
        (None, None) => anyhow::bail!("name a folder, or a version with --from"),
    };
    let changes = compare(&sides.old, &sides.new);
    let breaking = changes.iter().filter(|change| change.breaking).count();
    if args.json {
        let all: Vec<_> = changes
            .iter()
            .map(|change| json!({ "subject": change.subject, "what": change.what, "breaking": change.breaking }))
            .collect();
        let object = json!({ "compared": sides.about, "changes": all, "breaking": breaking });
        out::line(&serde_json::to_string_pretty(&object)?);
    } else {
        out::raw(&report(&sides.about, &changes, out::stdout_is_terminal()));
    }
    Ok(if breaking == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Two versions of one provider's contract.
async fn between(served: &Served, from: &str, to: Option<&str>) -> Result<Sides> {
    let provider = served.provider.as_deref().context("name the provider with --provider")?;
    let old = served.contract(provider, Some(from)).await?;
    let new = served.contract(provider, to).await?;
    let about = format!("{provider}: {} → {}", short(&old.version), short(&new.version));
    Ok(Sides { old: old.pool, new: new.pool, about })
}

/// A pulled folder and what its providers serve now.
async fn since_pull(served: &Served, folder: &Path) -> Result<Sides> {
    let manifest = read_manifest(folder)?;
    let held = manifest
        .contracts
        .iter()
        .filter(|contract| served.provider.as_ref().is_none_or(|provider| contract.provider == *provider));
    let held: Vec<_> = held.collect();
    ensure!(!held.is_empty(), "{} holds no contract of this provider", folder.display());
    let compiled = compile(folder, manifest.files.iter())?;
    let (mut contracts, mut abouts) = (Vec::new(), Vec::new());
    for contract in &held {
        let now = served.contract(&contract.provider, None).await?;
        abouts.push(format!("{}: {} → {}", contract.provider, short(&contract.version), short(&now.version)));
        contracts.push(now);
    }
    // The services that were pulled; what one never asked for is no news.
    let methods: Vec<&String> = held.iter().flat_map(|contract| &contract.methods).collect();
    let service = |path: &str| path.rsplit_once('/').map(|(service, _)| service.to_owned());
    let pulled = |path: &str| methods.iter().any(|method| service(method) == service(path));
    let new = Module::join(&contracts, pulled)?.pool;
    let old = narrow(&compiled, &methods.into_iter().cloned().collect())?;
    Ok(Sides { old, new, about: abouts.join(", ") })
}

/// Compiles the protos of a folder.
fn compile<'a>(folder: &Path, files: impl Iterator<Item = &'a String>) -> Result<DescriptorPool> {
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true);
    for file in files.filter(|file| *file != module::BUF_YAML) {
        module::check_name(file)?;
        let path = folder.join(file);
        let bytes = fs::metadata(&path).with_context(|| format!("{} cannot be read", path.display()))?.len();
        ensure!(
            bytes <= PROTO_BYTES_MAX,
            "{} has {bytes} bytes; at most {PROTO_BYTES_MAX} are read",
            path.display()
        );
        compiler.open_file(&path).with_context(|| format!("{} does not compile", path.display()))?;
    }
    Ok(DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice())?)
}

/// The changes for people, those that break a client first. Pure.
fn report(about: &str, changes: &[Change], colourful: bool) -> String {
    let mut lines = vec![about.to_owned()];
    for breaking in [true, false] {
        let (colour, word) = if breaking { (Colour::Red, "BREAKING") } else { (Colour::Dim, "        ") };
        let word = paint(colour, word, colourful);
        let told = changes.iter().filter(|change| change.breaking == breaking);
        lines.extend(told.map(|change| format!("  {word}  {}: {}", change.subject, change.what)));
    }
    let breaking = changes.iter().filter(|change| change.breaking).count();
    lines.push(match changes.len() {
        0 => "nothing changed".to_owned(),
        all => format!("changes: {all}; breaking a client: {breaking}"),
    });
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_stands_first_and_is_counted() {
        let change =
            |subject: &str, breaking| Change { subject: subject.into(), what: "removed".into(), breaking };
        let text = report("G01: a → b", &[change("field x", false), change("field y", true)], false);
        assert_eq!(
            text,
            "G01: a → b\n  BREAKING  field y: removed\n            field x: removed\nchanges: 2; breaking a client: 1\n"
        );
        assert!(report("G01: a → a", &[], false).ends_with("nothing changed\n"));
    }
}
