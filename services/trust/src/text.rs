//! The text of a mesh trust file: TOML, so that people read it and nobody needs a parser of ours. Reading it back and
//! writing it again gives the same bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lienthong_audit::note::VerifierKey;
use lienthong_certs::Branch;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::TrustFileError;
use crate::mesh_trust::{Anchor, KeyPair, MeshTrust, Parts, Roots, Witness, Witnesses};

/// Names the format; a root's signature over such a text is good for nothing else.
pub const FORMAT: &str = "lienthong/mesh-trust/v1";

const PEM_LINE_CHARS: usize = 64;

const HEADING: &str = "\
# Mesh trust file: whom every role of this mesh believes. The roots below sign it; `lienthong trust show` explains it.
# Tệp tin cậy của mạng: mọi vai trò trong mạng tin ai. Các khóa gốc dưới đây ký tệp này.
";

impl MeshTrust {
    /// The text, as it is signed: it ends in a newline.
    ///
    /// # Errors
    /// [`TrustFileError::Writing`].
    pub fn to_text(&self) -> Result<String, TrustFileError> {
        let parts = self.parts();
        let file = File {
            format: FORMAT.to_owned(),
            mesh: parts.mesh.clone(),
            version: parts.version,
            issued: instant(parts.issued),
            expires: instant(parts.expires),
            development: parts.development,
            roots: FileRoots {
                threshold: parts.roots.threshold,
                keys: parts.roots.keys.iter().map(ToString::to_string).collect(),
            },
            bundle: FilePair::of(&parts.bundle),
            log: FilePair::of(&parts.log),
            witnesses: FileWitnesses {
                quorum: parts.witnesses.quorum,
                known: parts
                    .witnesses
                    .known
                    .iter()
                    .map(|witness| FileWitness { key: witness.key.to_string(), url: witness.url.clone() })
                    .collect(),
            },
            anchors: parts.anchors.iter().map(FileAnchor::of).collect(),
        };
        Ok(format!("{HEADING}{}", toml::to_string_pretty(&file)?))
    }

    /// Reads the text.
    ///
    /// # Errors
    /// [`TrustFileError`] naming the line or the part.
    pub fn from_text(text: &str) -> Result<MeshTrust, TrustFileError> {
        let file: File = toml::from_str(text)?;
        if file.format != FORMAT {
            return Err(TrustFileError::Format(file.format.chars().take(64).collect()));
        }
        MeshTrust::new(Parts {
            mesh: file.mesh,
            version: file.version,
            issued: read_instant("issued", &file.issued)?,
            expires: read_instant("expires", &file.expires)?,
            development: file.development,
            roots: Roots {
                threshold: file.roots.threshold,
                keys: file
                    .roots
                    .keys
                    .iter()
                    .map(|key| read_key("roots.keys", key))
                    .collect::<Result<_, _>>()?,
            },
            bundle: file.bundle.read("bundle")?,
            log: file.log.read("log")?,
            witnesses: Witnesses {
                quorum: file.witnesses.quorum,
                known: file.witnesses.known.into_iter().map(FileWitness::read).collect::<Result<_, _>>()?,
            },
            anchors: file.anchors.into_iter().map(FileAnchor::read).collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    mesh: String,
    version: u64,
    issued: String,
    expires: String,
    development: bool,
    roots: FileRoots,
    bundle: FilePair,
    log: FilePair,
    #[serde(default)]
    witnesses: FileWitnesses,
    anchors: Vec<FileAnchor>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRoots {
    threshold: usize,
    keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePair {
    now: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileWitnesses {
    quorum: usize,
    #[serde(default)]
    known: Vec<FileWitness>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileWitness {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAnchor {
    label: String,
    parties: Parties,
    pem: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Parties {
    State,
    Party,
    Outside,
}

impl FilePair {
    fn of(pair: &KeyPair) -> FilePair {
        FilePair { now: pair.now.to_string(), next: pair.next.as_ref().map(ToString::to_string) }
    }

    fn read(self, key: &'static str) -> Result<KeyPair, TrustFileError> {
        let next = self.next.map(|next| read_key(key, &next)).transpose()?;
        Ok(KeyPair { now: read_key(key, &self.now)?, next })
    }
}

impl FileWitness {
    fn read(self) -> Result<Witness, TrustFileError> {
        Ok(Witness { key: read_key("witnesses", &self.key)?, url: self.url })
    }
}

impl FileAnchor {
    fn of(anchor: &Anchor) -> FileAnchor {
        let parties = match anchor.parties {
            Branch::State => Parties::State,
            Branch::Party => Parties::Party,
            Branch::Public => Parties::Outside,
        };
        let pem = anchor.certificates.iter().map(|der| pem(der)).collect();
        FileAnchor { label: anchor.label.clone(), parties, pem }
    }

    fn read(self) -> Result<Anchor, TrustFileError> {
        let parties = match self.parties {
            Parties::State => Branch::State,
            Parties::Party => Branch::Party,
            Parties::Outside => Branch::Public,
        };
        Ok(Anchor { label: self.label, parties, certificates: certificates(self.pem.as_bytes())? })
    }
}

/// The certificates in PEM text, at least one.
///
/// # Errors
/// [`TrustFileError::Value`].
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustFileError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| TrustFileError::value("anchors.pem", format!("is no PEM: {error}")))?;
    if read.is_empty() {
        return Err(TrustFileError::value("anchors.pem", "holds no certificate"));
    }
    Ok(read)
}

/// A certificate as PEM (RFC 7468).
pub fn pem(der: &CertificateDer<'_>) -> String {
    let encoded = BASE64.encode(der);
    let mut pem = String::with_capacity(encoded.len() + encoded.len() / PEM_LINE_CHARS + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % PEM_LINE_CHARS == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

fn read_key(key: &'static str, text: &str) -> Result<VerifierKey, TrustFileError> {
    text.parse().map_err(|error| TrustFileError::value(key, format!("holds no key: {error}")))
}

/// Whole seconds, UTC.
fn instant(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}

fn read_instant(key: &'static str, text: &str) -> Result<OffsetDateTime, TrustFileError> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| TrustFileError::value(key, "is no time like 2026-11-22T04:00:00Z (RFC 3339)"))
}
