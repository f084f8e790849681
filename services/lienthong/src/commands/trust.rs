//! `lienthong trust`: the mesh trust file, from its first version to each change of a key.
//!
//! What needs a root key belongs on a machine without a network: `init`, `rotate`, `sign`. Each writes a file that is
//! carried to the broker, which hands it on. `show` and `verify` need no key.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use lienthong_audit::{
    log::LogKey,
    note::{KeyKind, NOTE_BYTES_MAX, SigningKey, VerifierKey},
};
use lienthong_certs::{Branch, DevPki, MeshKey, files};
use lienthong_trust::{
    Anchor, KeyPair, MeshTrust, SignedTrust, Witness, Witnesses,
    ceremony::{self, First},
    mesh_trust::Parts,
    signed::{Fingerprint, Followed, add_signature, read_unsigned, signers},
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::out;

mod show;

/// `lienthong trust`.
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Make a mesh's root key, its bundle and log keys, and the first trust file (offline)
    Init(Box<InitArgs>),
    /// Prepare and sign the next version: next keys, the change to them, authorities, witnesses, roots (offline)
    Rotate(Box<RotateArgs>),
    /// Add a root's signature to a file that others have signed (offline)
    Sign(SignArgs),
    /// Say in plain words what a file says, and what it changes against another
    Show(ShowArgs),
    /// Check a file: against pinned roots, or against the file that is held
    Verify(VerifyArgs),
    /// Write the policy by which readers of the log go (C2SP tlog-policy)
    Policy(PolicyArgs),
}

/// `lienthong trust init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// New folder: root.key, bundle-1.key, log-1.key, mesh.trust
    dir: PathBuf,
    /// Id of the mesh
    #[arg(long)]
    mesh: String,
    /// Origin of the log: a schema-less URL that names it for ever
    #[arg(long, value_name = "ORIGIN")]
    log_origin: String,
    #[command(flatten)]
    anchors: AnchorArgs,
    #[command(flatten)]
    witnesses: WitnessArgs,
    /// Take the authorities of this development PKI; the mesh then is one for demonstrations and tests
    #[arg(long, value_name = "DIR", conflicts_with_all = ["state", "party", "outside"])]
    development_ca: Option<PathBuf>,
    /// Days that the file is good for
    #[arg(long, default_value_t = ceremony::VALID_DAYS, value_parser = clap::value_parser!(i64).range(1..=3_650))]
    days: i64,
    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,
}

/// Authorities.
#[derive(Debug, Args)]
pub struct AnchorArgs {
    /// Authorities of state agencies: a label, such as "State G2", and a PEM file
    #[arg(long, value_name = "LABEL=FILE")]
    state: Vec<String>,
    /// Authorities of Party agencies
    #[arg(long, value_name = "LABEL=FILE")]
    party: Vec<String>,
    /// Public authorities, for registered parties that are no agencies; without this there are none
    #[arg(long, value_name = "LABEL=FILE")]
    outside: Vec<String>,
}

/// Witnesses.
#[derive(Debug, Args)]
pub struct WitnessArgs {
    /// A witness of the log: its public key, and where it is asked: KEY=http://host:port
    #[arg(long, value_name = "KEY=URL")]
    witness: Vec<String>,
    /// How many witnesses must cosign
    #[arg(long, value_name = "NUMBER", requires = "witness")]
    quorum: Option<usize>,
}

/// `lienthong trust rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The version in force
    file: PathBuf,
    /// Root keys that sign, mode 0600; with a new root, the old one and the new one
    #[arg(long, value_name = "FILE", required = true)]
    root: Vec<PathBuf>,
    /// Where the new version is written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Announce the next bundle key: made here, at mode 0600, if the file is missing
    #[arg(long, value_name = "FILE", conflicts_with = "use_next_bundle_key")]
    next_bundle_key: Option<PathBuf>,
    /// Name of the next bundle key; default: that of the one in use, with its number raised
    #[arg(long, value_name = "NAME", requires = "next_bundle_key")]
    next_bundle_name: Option<String>,
    /// From now on the next bundle key signs; the one in use is believed no more
    #[arg(long)]
    use_next_bundle_key: bool,
    /// Announce the next log key: made here, at mode 0600, if the file is missing
    #[arg(long, value_name = "FILE", conflicts_with = "use_next_log_key")]
    next_log_key: Option<PathBuf>,
    /// From now on the next log key signs; the one in use is believed no more
    #[arg(long)]
    use_next_log_key: bool,
    #[command(flatten)]
    anchors: AnchorArgs,
    /// Drop an anchor by its label: connections under its certificates are closed
    #[arg(long, value_name = "LABEL")]
    drop_anchor: Vec<String>,
    /// All witnesses anew
    #[command(flatten)]
    witnesses: WitnessArgs,
    /// Add a root: its key, made here, at mode 0600, if the file is missing. Name it under --root, too
    #[arg(long, value_name = "FILE")]
    add_root: Vec<PathBuf>,
    /// Drop a root by name, as `show` prints it
    #[arg(long, value_name = "NAME")]
    drop_root: Vec<String>,
    /// How many roots must sign
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<usize>,
    /// Days that the new version is good for
    #[arg(long, default_value_t = ceremony::VALID_DAYS, value_parser = clap::value_parser!(i64).range(1..=3_650))]
    days: i64,
    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,
}

/// `lienthong trust sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The file; it is replaced
    file: PathBuf,
    /// The root's key, mode 0600
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,
}

/// `lienthong trust show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The file
    file: PathBuf,
    /// A file that somebody holds, such as DATA/trust/VERSION.trust of a node: what would change against it
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,
}

/// `lienthong trust verify`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("by").required(true).args(["root", "held"])))]
pub struct VerifyArgs {
    /// The file
    file: PathBuf,
    /// Fingerprint of the pinned roots
    #[arg(long, value_name = "HEX")]
    root: Option<String>,
    /// The file that is held: would it be followed by this one?
    #[arg(long, value_name = "FILE")]
    held: Option<PathBuf>,
    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,
}

/// `lienthong trust policy`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// The file
    file: PathBuf,
}

/// Carries a command out.
pub fn run(command: TrustCommand) -> Result<ExitCode> {
    match command {
        TrustCommand::Init(args) => init(*args),
        TrustCommand::Rotate(args) => rotate(&args),
        TrustCommand::Sign(args) => sign(&args),
        TrustCommand::Show(args) => show_one(&args),
        TrustCommand::Verify(args) => verify(&args),
        TrustCommand::Policy(args) => {
            let (_, trust) = read_unsigned(&read(&args.file)?)?;
            out::raw(&String::from_utf8_lossy(&trust.witness_policy().to_file()));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn init(args: InitArgs) -> Result<ExitCode> {
    let (anchors, development) = match &args.development_ca {
        Some(dir) => (ceremony::development_anchors(&DevPki::open(dir)?)?, true),
        None => (anchors(&args.anchors)?, false),
    };
    std::fs::create_dir_all(&args.dir)
        .with_context(|| format!("the folder {} cannot be made", args.dir.display()))?;
    let witnesses = witnesses(&args.witnesses)?.unwrap_or_default();
    let bundle = MeshKey::generate()?;
    bundle.save(&args.dir.join("bundle-1.key"))?;
    let log = LogKey::new(ceremony::generate_key(&args.dir.join("log-1.key"), &args.log_origin)?)?;
    let first = First {
        mesh: args.mesh,
        development,
        bundle: ceremony::bundle_key("bundle-1", bundle.public_key())?,
        log: log.verifier().clone(),
        witnesses,
        anchors,
        valid_days: args.days,
    };
    let pinned = ceremony::begin(&args.dir, first, OffsetDateTime::now_utc())?;
    let (_, trust) = read_unsigned(&read(&pinned.file)?)?;
    if args.json {
        out::line(&show::to_json(&trust, None).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    show::whole(&trust);
    out::note(&format!(
        "Keep {root} offline, and a copy of it in another safe. Carry bundle-1.key and log-1.key to the broker, mesh.trust to \
         broker and nodes; read the roots' fingerprint out to every agency.\n\
         Hãy giữ {root} ngoại tuyến và một bản sao ở két khác. Chuyển bundle-1.key và log-1.key tới máy chủ điều phối, mesh.trust \
         tới máy chủ điều phối và các nút; đọc dấu vân tay khóa gốc cho từng cơ quan.",
        root = args.dir.join("root.key").display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn rotate(args: &RotateArgs) -> Result<ExitCode> {
    let held = SignedTrust::read(&read(&args.file)?)
        .with_context(|| format!("{} cannot be gone on from", args.file.display()))?;
    let before = held.trust().parts();
    let now = ceremony::whole_second(OffsetDateTime::now_utc());
    let added = args.add_root.iter().enumerate().map(|(number, path)| {
        made_or_read(path, &format!("{}/root-{}", before.mesh, before.version + 1 + number as u64))
    });
    let added = added.collect::<Result<Vec<_>>>()?;
    let mut parts = Parts { version: before.version + 1, issued: now, ..before.clone() };
    parts.expires = now + Duration::days(args.days);
    parts.bundle = next_bundle(args, &before.bundle)?;
    parts.log = next_log(args, &before.log)?;
    for label in &args.drop_anchor {
        let known = parts.anchors.len();
        parts.anchors.retain(|anchor| anchor.label != *label);
        ensure!(parts.anchors.len() < known, "there is no anchor {label:?}");
    }
    parts.anchors.extend(anchors(&args.anchors)?);
    if let Some(witnesses) = witnesses(&args.witnesses)? {
        parts.witnesses = witnesses;
    }
    for name in &args.drop_root {
        let known = parts.roots.keys.len();
        parts.roots.keys.retain(|key| key.label() != *name && key.name() != name);
        ensure!(parts.roots.keys.len() < known, "there is no root {name:?}");
    }
    parts.roots.keys.extend(added.iter().map(|key| key.verifier().clone()));
    parts.roots.threshold = args.threshold.unwrap_or(parts.roots.threshold);
    let keys = args.root.iter().map(|path| Ok(ceremony::load_key(path)?)).collect::<Result<Vec<_>>>()?;
    let trust = MeshTrust::new(parts)?;
    let file = SignedTrust::sign(&trust, &keys.iter().collect::<Vec<_>>())?;
    files::replace(&args.out, file.as_bytes())?;
    told(&args.out, &held, &file, args.json)
}

fn sign(args: &SignArgs) -> Result<ExitCode> {
    let file = add_signature(&read(&args.file)?, &ceremony::load_key(&args.root)?)?;
    files::replace(&args.file, file.as_bytes())?;
    let (note, trust) = read_unsigned(file.as_bytes())?;
    let roots = &trust.parts().roots;
    let found = signers(&note, roots)?;
    if args.json {
        out::line(&json!({ "signed_by": found, "threshold": roots.threshold }).to_string());
    } else {
        out::line(&format!(
            "{}: signed by {found} of its roots, needs {}",
            args.file.display(),
            roots.threshold
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn show_one(args: &ShowArgs) -> Result<ExitCode> {
    let (_, trust) = read_unsigned(&read(&args.file)?)?;
    let against = args.against.as_ref().map(|path| anyhow::Ok(read_unsigned(&read(path)?)?.1)).transpose()?;
    if args.json {
        out::line(&show::to_json(&trust, against.as_ref()).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    show::whole(&trust);
    if let Some(against) = &against {
        show::changed(against, &trust);
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let file = SignedTrust::read(&read(&args.file)?)?;
    let version = file.trust().version();
    let now = OffsetDateTime::now_utc();
    let verdict = match (&args.root, &args.held) {
        (Some(root), _) => {
            let (mesh, development) = (file.trust().mesh().to_owned(), file.trust().parts().development);
            file.pinned(root, &mesh, development, now).map(|_| "signed by the pinned roots")
        }
        (None, Some(held)) => {
            let held = SignedTrust::read(&read(held)?)?;
            held.follow(file, now).map(|followed| match followed {
                Followed::Same => "the same file is held",
                Followed::Newer(_) => "follows the file that is held",
                Followed::Step(_) => {
                    "has ended, and is a step from the file that is held towards a newer one; it is never in force itself"
                }
            })
        }
        (None, None) => bail!("give --root HEX or --held FILE"),
    };
    if args.json {
        let error = verdict.as_ref().err().map(ToString::to_string);
        let said = json!({ "version": version, "good": error.is_none(), "verdict": verdict.as_ref().ok(), "error": error });
        out::line(&said.to_string());
    } else if let Ok(good) = &verdict {
        out::line(&format!("phiên bản {version} hợp lệ / version {version} is good: {good}"));
    }
    match verdict {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(_) if args.json => Ok(ExitCode::FAILURE),
        Err(error) => Err(error.into()),
    }
}

/// Says what was made, and whether those who hold the version before would follow.
fn told(path: &Path, held: &SignedTrust, file: &str, as_json: bool) -> Result<ExitCode> {
    let (note, trust) = read_unsigned(file.as_bytes())?;
    let (own, old) = (&trust.parts().roots, &held.trust().parts().roots);
    let (signed_own, signed_old) = (signers(&note, own)?, signers(&note, old)?);
    let complete = signed_own >= own.threshold && signed_old >= old.threshold;
    if as_json {
        let mut said = show::to_json(&trust, Some(held.trust()));
        said["complete"] = complete.into();
        said["file"] = json!(path);
        out::line(&said.to_string());
    } else {
        out::line(&format!("{}: version {}", path.display(), trust.version()));
        show::changed(held.trust(), &trust);
        out::note(if complete {
            "Carry it to where the broker's `trust.file` lies: the broker takes it and hands it to every node.\n\
             Hãy đặt tệp vào vị trí `trust.file` của máy chủ điều phối; các nút sẽ tự nhận."
        } else {
            "It needs more signatures of the old or the new roots: `lienthong trust sign` adds them.\n\
             Tệp chưa đủ chữ ký khóa gốc: hãy bổ sung bằng `lienthong trust sign`."
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn next_bundle(args: &RotateArgs, held: &KeyPair) -> Result<KeyPair> {
    if args.use_next_bundle_key {
        let now =
            held.next.clone().context("no next bundle key is announced; announce it one version before")?;
        return Ok(KeyPair { now, next: None });
    }
    let Some(path) = &args.next_bundle_key else { return Ok(held.clone()) };
    if !path.exists() {
        MeshKey::generate()?.save(path)?;
    }
    let name = args.next_bundle_name.clone().unwrap_or_else(|| raised(held.now.name()));
    let next = ceremony::bundle_key(&name, MeshKey::load(path)?.public_key())?;
    Ok(KeyPair { now: held.now.clone(), next: Some(next) })
}

fn next_log(args: &RotateArgs, held: &KeyPair) -> Result<KeyPair> {
    if args.use_next_log_key {
        let now =
            held.next.clone().context("no next log key is announced; announce it one version before")?;
        return Ok(KeyPair { now, next: None });
    }
    let Some(path) = &args.next_log_key else { return Ok(held.clone()) };
    let next = made_or_read(path, held.now.name())?.verifier().clone();
    ensure!(next.name() == held.now.name(), "{} is a key of another log", path.display());
    Ok(KeyPair { now: held.now.clone(), next: Some(next) })
}

fn made_or_read(path: &Path, name: &str) -> Result<SigningKey> {
    Ok(if path.exists() { ceremony::load_key(path)? } else { ceremony::generate_key(path, name)? })
}

/// "bundle-7" becomes "bundle-8"; a name without a number gets "-2".
fn raised(name: &str) -> String {
    let (stem, number) = name.rsplit_once('-').unwrap_or((name, ""));
    match number.parse::<u64>() {
        Ok(number) => format!("{stem}-{}", number.saturating_add(1)),
        Err(_) => format!("{name}-2"),
    }
}

fn anchors(args: &AnchorArgs) -> Result<Vec<Anchor>> {
    let all = [(Branch::State, &args.state), (Branch::Party, &args.party), (Branch::Public, &args.outside)];
    let all = all.into_iter().flat_map(|(parties, given)| given.iter().map(move |one| (parties, one)));
    let read = |(parties, given): (Branch, &String)| {
        let (label, file) = given.split_once('=').with_context(|| format!("{given:?} is not LABEL=FILE"))?;
        Ok(ceremony::anchor(label, parties, Path::new(file))?)
    };
    all.map(read).collect()
}

fn witnesses(args: &WitnessArgs) -> Result<Option<Witnesses>> {
    if args.witness.is_empty() {
        return Ok(None);
    }
    let read = |given: &String| {
        let (key, url) = match given.rsplit_once("=http") {
            Some((key, rest)) => (key, Some(format!("http{rest}"))),
            None => (given.as_str(), None),
        };
        let key: VerifierKey = key.parse()?;
        ensure!(key.kind() == KeyKind::CosignatureV1, "{} is no witness's key", key.label());
        Ok(Witness { key, url })
    };
    let known = args.witness.iter().map(read).collect::<Result<Vec<_>>>()?;
    let quorum = args.quorum.unwrap_or(known.len() / 2 + 1);
    Ok(Some(Witnesses { quorum, known }))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(files::read(path, NOTE_BYTES_MAX as u64)?)
}

/// The fingerprint as people read it out.
fn read_out(fingerprint: Fingerprint) -> String {
    crate::commands::enroll::show::grouped(&fingerprint.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_key_has_the_next_number() {
        assert_eq!(raised("bundle-1"), "bundle-2");
        assert_eq!(raised("bundle-2026"), "bundle-2027");
        assert_eq!(raised("bundle"), "bundle-2");
    }
}
