//! What a mesh trust file says.

use lienthong_audit::note::{KeyKind, VerifierKey};
use lienthong_audit::policy::Policy;
use lienthong_certs::development::is_mesh_id;
use lienthong_certs::judge::{TRUSTED_CERTIFICATES_MAX, TrustError};
use lienthong_certs::{Branch, TrustAnchors};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::error::TrustFileError;

/// Most root keys of one file.
pub const ROOT_KEYS_MAX: usize = 16;

/// Most witnesses of one file.
pub const WITNESSES_MAX: usize = 32;

/// Longest label of an anchor, characters.
pub const LABEL_CHARS_MAX: usize = 64;

/// Longest address of a witness, bytes.
pub const URL_BYTES_MAX: usize = 512;

/// Name of the group of witnesses in the policy.
const GROUP: &str = "quorum-of-witnesses";

/// Everything that a role of the mesh believes others by. Only what makes sense as a whole can be made.
#[derive(Clone, Debug)]
pub struct MeshTrust {
    parts: Parts,
    anchors: TrustAnchors,
    policy: Policy,
}

/// The parts of a [`MeshTrust`], not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Id of the mesh.
    pub mesh: String,
    /// Rises strictly; the first is 1.
    pub version: u64,
    /// When it was made.
    pub issued: OffsetDateTime,
    /// From when on nobody takes it any more. A role that holds it goes on, and says so loudly.
    pub expires: OffsetDateTime,
    /// True for a mesh of demonstrations and tests.
    pub development: bool,
    /// The offline keys that sign this file and the next.
    pub roots: Roots,
    /// Sign rights bundles, heartbeats and cards.
    pub bundle: KeyPair,
    /// Sign the log's checkpoints. Their name is the log's origin.
    pub log: KeyPair,
    /// Cosign the log's checkpoints.
    pub witnesses: Witnesses,
    /// Authorities of certificates.
    pub anchors: Vec<Anchor>,
}

/// The offline keys, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// How many must sign.
    pub threshold: usize,
    /// The keys.
    pub keys: Vec<VerifierKey>,
}

/// A key in use and, around a change of keys, the one that follows. Both are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Signs now.
    pub now: VerifierKey,
    /// Signs after the next change.
    pub next: Option<VerifierKey>,
}

/// The witnesses of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// How many must have cosigned a checkpoint; 0: none is asked for.
    pub quorum: usize,
    /// Who they are.
    pub known: Vec<Witness>,
}

/// One witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its cosignature key (C2SP tlog-cosignature), with its name.
    pub key: VerifierKey,
    /// Where it takes checkpoints (C2SP tlog-witness), if it is asked over a network.
    pub url: Option<String>,
}

/// Authorities of certificates under one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Branch and generation, for people: "State G2".
    pub label: String,
    /// Whose certificates they issue. [`Branch::Public`] is for parties that are no agencies; a file names one only
    /// where the mesh has such parties.
    pub parties: Branch,
    /// The certificates: roots, and authorities below roots of the same file.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl KeyPair {
    /// Both keys, the one in use first.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        std::iter::once(&self.now).chain(&self.next)
    }
}

impl MeshTrust {
    /// Checks the parts and puts them together.
    ///
    /// # Errors
    /// [`TrustFileError`] naming the part.
    pub fn new(parts: Parts) -> Result<MeshTrust, TrustFileError> {
        if !is_mesh_id(&parts.mesh) {
            return Err(wrong("mesh", "is no mesh id: 1 to 63 lower-case letters, digits and inner hyphens"));
        }
        if parts.version == 0 || i64::try_from(parts.version).is_err() {
            return Err(wrong("version", "counts from 1"));
        }
        if parts.expires <= parts.issued {
            return Err(wrong("expires", "is not after `issued`"));
        }
        check_roots(&parts.roots)?;
        check_pair("bundle", &parts.bundle)?;
        check_pair("log", &parts.log)?;
        if parts.bundle.next.as_ref().is_some_and(|next| next.name() == parts.bundle.now.name()) {
            return Err(wrong("bundle.next", "has the name of `bundle.now`; a bundle names its key by name"));
        }
        if parts.log.next.as_ref().is_some_and(|next| next.name() != parts.log.now.name()) {
            return Err(wrong(
                "log.next",
                "has another name than `log.now`: a log's key carries its origin as name",
            ));
        }
        check_apart(&parts)?;
        check_witnesses(&parts.witnesses)?;
        let anchors = anchors_of(&parts)?;
        let policy = policy_of(&parts)?;
        Ok(MeshTrust { parts, anchors, policy })
    }

    /// What it was made from: all that the file says.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Id of the mesh.
    pub fn mesh(&self) -> &str {
        &self.parts.mesh
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.parts.version
    }

    /// From when on nobody takes it any more.
    pub fn expires(&self) -> OffsetDateTime {
        self.parts.expires
    }

    /// The authorities, ready to judge by.
    pub fn anchors(&self) -> &TrustAnchors {
        &self.anchors
    }

    /// The keys that sign bundles.
    pub fn bundle_keys(&self) -> &KeyPair {
        &self.parts.bundle
    }

    /// The public key of a bundle key by its name, now or next; `None`: not believed.
    pub fn bundle_key(&self, name: &str) -> Option<&VerifierKey> {
        self.parts.bundle.keys().find(|key| key.name() == name)
    }

    /// The keys that sign the log's checkpoints.
    pub fn log_keys(&self) -> &KeyPair {
        &self.parts.log
    }

    /// Which checkpoints to believe: signed by a log key, cosigned by as many witnesses as the file asks for (C2SP
    /// tlog-policy). [`Policy::judge_signer`] asks for the log key alone.
    pub fn witness_policy(&self) -> &Policy {
        &self.policy
    }
}

fn check_roots(roots: &Roots) -> Result<(), TrustFileError> {
    if roots.keys.is_empty() || roots.keys.len() > ROOT_KEYS_MAX {
        return Err(wrong("roots.keys", format!("names 1 to {ROOT_KEYS_MAX} keys")));
    }
    if !(1..=roots.keys.len()).contains(&roots.threshold) {
        return Err(wrong("roots.threshold", "is from 1 to the number of roots"));
    }
    for (place, key) in roots.keys.iter().enumerate() {
        check_plain("roots.keys", key)?;
        if roots.keys[..place].iter().any(|other| other.public() == key.public()) {
            return Err(wrong("roots.keys", format!("names the key of {} twice", key.label())));
        }
    }
    Ok(())
}

fn check_pair(key: &'static str, pair: &KeyPair) -> Result<(), TrustFileError> {
    pair.keys().try_for_each(|one| check_plain(key, one))?;
    if pair.next.as_ref().is_some_and(|next| next.public() == pair.now.public()) {
        return Err(wrong(key, "has the same key now and next"));
    }
    Ok(())
}

fn check_plain(key: &'static str, one: &VerifierKey) -> Result<(), TrustFileError> {
    if one.kind() == KeyKind::Ed25519 {
        return Ok(());
    }
    Err(wrong(key, format!("holds {}, which is a witness's kind of key", one.label())))
}

/// One key, one use: a signature made for one purpose must not serve another.
fn check_apart(parts: &Parts) -> Result<(), TrustFileError> {
    let uses = [
        ("roots.keys", parts.roots.keys.iter().collect::<Vec<_>>()),
        ("bundle", parts.bundle.keys().collect()),
        ("log", parts.log.keys().collect()),
        ("witnesses", parts.witnesses.known.iter().map(|witness| &witness.key).collect()),
    ];
    for (place, (key, own)) in uses.iter().enumerate() {
        for (other, others) in &uses[..place] {
            if let Some(shared) = own.iter().find(|one| others.iter().any(|two| two.public() == one.public()))
            {
                return Err(wrong(
                    key,
                    format!(
                        "holds {}, which `{other}` holds too; each use has keys of its own",
                        shared.label()
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn check_witnesses(witnesses: &Witnesses) -> Result<(), TrustFileError> {
    if witnesses.known.len() > WITNESSES_MAX {
        return Err(wrong("witnesses", format!("names more than {WITNESSES_MAX}")));
    }
    if witnesses.quorum > witnesses.known.len() {
        return Err(wrong("witnesses.quorum", "is larger than the number of witnesses"));
    }
    let bad = |url: &String| {
        url.is_empty()
            || url.len() > URL_BYTES_MAX
            || url.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if witnesses.known.iter().filter_map(|witness| witness.url.as_ref()).any(bad) {
        return Err(wrong("witnesses.url", format!("is no address of at most {URL_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn anchors_of(parts: &Parts) -> Result<TrustAnchors, TrustFileError> {
    let mut anchors = TrustAnchors::empty();
    for Anchor { label, parties, certificates } in &parts.anchors {
        if label.is_empty()
            || label.chars().count() > LABEL_CHARS_MAX
            || label.chars().any(|character| character.is_control() || character == '\'')
        {
            return Err(wrong("anchors.label", format!("is 1 to {LABEL_CHARS_MAX} characters in one line")));
        }
        let failed =
            |source: TrustError| TrustFileError::Anchor { label: label.clone(), source: Box::new(source) };
        for der in certificates {
            anchors.add(*parties, der).map_err(failed)?;
        }
    }
    if anchors.is_empty() {
        return Err(wrong("anchors", "hold no root authority: with none, nobody is trusted"));
    }
    anchors.check_complete().map_err(|source| TrustFileError::Anchors(Box::new(source)))?;
    if anchors.development() && !parts.development {
        return Err(wrong("anchors", "hold an authority made for development, and `development` is false"));
    }
    debug_assert!(anchors.authorities().len() <= TRUSTED_CERTIFICATES_MAX);
    Ok(anchors)
}

/// The policy in the words of C2SP tlog-policy.
fn policy_of(parts: &Parts) -> Result<Policy, TrustFileError> {
    let mut lines: Vec<String> = parts.log.keys().map(|key| format!("log {key}")).collect();
    let Witnesses { quorum, known } = &parts.witnesses;
    for Witness { key, url } in known {
        let url = url.as_ref().map(|url| format!(" {url}")).unwrap_or_default();
        lines.push(format!("witness {} {key}{url}", key.name()));
    }
    if *quorum == 0 {
        lines.push("quorum none".to_owned());
    } else {
        let names: Vec<&str> = known.iter().map(|witness| witness.key.name()).collect();
        lines.push(format!("group {GROUP} {quorum} {}", names.join(" ")));
        lines.push(format!("quorum {GROUP}"));
    }
    lines.push(String::new());
    Ok(Policy::parse(lines.join("\n").as_bytes())?)
}

fn wrong(key: &'static str, problem: impl Into<String>) -> TrustFileError {
    TrustFileError::Value { key, problem: problem.into() }
}
