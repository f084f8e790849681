//! Whom the demo's roles trust: keys, the mesh trust file that names them, and the witnesses of the log.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use lienthong_audit::{
    log::LogKey,
    note::{KeyKind, SigningKey},
};
use lienthong_certs::{DevPki, MeshKey};
use lienthong_trust::{SignedTrust, TrustConfig, Witness, Witnesses, ceremony};
use lienthong_witness::config::{LimitsConfig as WitnessLimits, WitnessConfig};
use time::OffsetDateTime;

use crate::demo::{
    layout::{host, telemetry, write},
    plan::Plan,
    ports::Ports,
};

/// One witness on disk.
pub struct WitnessLayout {
    /// Its id.
    pub id: String,
    /// Its configuration.
    pub config: PathBuf,
    /// Where it shows that it is ready.
    pub admin: SocketAddr,
}

/// What everything else is laid out by.
pub struct LaidTrust {
    /// What roles pin.
    pub trust: TrustConfig,
    /// The witnesses.
    pub witnesses: Vec<WitnessLayout>,
    /// Whom readers of the log believe (C2SP tlog-policy).
    pub policy: PathBuf,
    /// Public key of the log.
    pub log_key: String,
}

const BUNDLE_KEY_NAME: &str = "bundle-1";

/// Keys, the mesh trust file that names them, the witnesses, and the policy of the log's readers.
pub fn lay_trust(plan: &Plan, dir: &Path, pki: &DevPki, ports: &mut Ports) -> Result<LaidTrust> {
    let bundle_key = MeshKey::generate()?;
    bundle_key.save(&dir.join("keys/bundle-1.key"))?;
    let log_key = LogKey::generate(&plan.log_origin)?;
    lienthong_certs::files::create_private(
        &dir.join("keys/log-1.key"),
        log_key.signing_key().to_skey()?.as_bytes(),
    )?;
    let (witnesses, asked) = lay_witnesses(plan, dir, &log_key, ports)?;
    let first = ceremony::First {
        mesh: plan.mesh.clone(),
        development: true,
        bundle: ceremony::bundle_key(BUNDLE_KEY_NAME, bundle_key.public_key())?,
        log: log_key.verifier().clone(),
        witnesses: asked,
        anchors: ceremony::development_anchors(pki)?,
        valid_days: ceremony::VALID_DAYS,
    };
    let policy = dir.join("log-policy.txt");
    let trust = TrustConfig {
        revocation_lists: pki.crl_files(),
        ..ceremony::begin(&dir.join("trust"), first, OffsetDateTime::now_utc())?
    };
    let signed = SignedTrust::read(&fs::read(&trust.file)?)?;
    fs::write(&policy, signed.trust().witness_policy().to_file())?;
    Ok(LaidTrust { trust, witnesses, policy, log_key: log_key.verifier().to_string() })
}

/// Witnesses with keys of their own, and how the trust file names them: more than half must cosign.
fn lay_witnesses(
    plan: &Plan,
    dir: &Path,
    log_key: &LogKey,
    ports: &mut Ports,
) -> Result<(Vec<WitnessLayout>, Witnesses)> {
    let (mut laid_out, mut known) = (Vec::new(), Vec::new());
    for (id, _) in &plan.witnesses {
        let (listen, admin) = (ports.take()?, ports.take()?);
        let key = SigningKey::generate(&host(plan, id), KeyKind::CosignatureV1)?;
        let key_file = dir.join(format!("keys/witness-{id}.key"));
        lienthong_certs::files::create_private(&key_file, key.to_skey()?.as_bytes())?;
        let config = WitnessConfig {
            mesh: plan.mesh.clone(),
            listen,
            data_dir: dir.join("witnesses").join(id),
            key: key_file,
            logs: vec![log_key.verifier().to_string()],
            development: true,
            limits: WitnessLimits::default(),
            telemetry: telemetry(admin),
        };
        let file = write(dir, &format!("config/witness-{id}.toml"), &config)?;
        known.push(Witness { key: key.verifier().clone(), url: Some(format!("http://{listen}")) });
        laid_out.push(WitnessLayout { id: id.clone(), config: file, admin });
    }
    let quorum = if known.is_empty() { 0 } else { known.len() / 2 + 1 };
    Ok((laid_out, Witnesses { quorum, known }))
}
