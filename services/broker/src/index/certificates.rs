//! The certificates of nodes that shipped, by their hash: what an evidence file needs to prove whose signature a seal
//! holds. Written once, when the broker has judged a certificate good for the first time.
//!
//! `<data_dir>/index/certificates/<SHA-256 of the leaf>.pem`: a line with the time, then the chain as it was shown.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lienthong_proto::lienthong::audit::v1::CertificateEvidence;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Certificates of one chain that are kept.
const CHAIN_MAX: usize = 5;

/// The folder.
#[derive(Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// The folder, made if it is missing.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Keeps a chain, leaf first, of a certificate with this hash, unless it is there already. Blocking.
    ///
    /// # Errors
    /// Of the disk.
    pub fn keep(
        &self,
        fingerprint: &[u8; 32],
        chain: &[CertificateDer<'_>],
        now: OffsetDateTime,
    ) -> io::Result<()> {
        let path = self.path(fingerprint);
        if path.exists() {
            return Ok(());
        }
        let time = now.format(&Rfc3339).map_err(io::Error::other)?;
        let mut text = format!("{FIRST_TIME}{time}\n");
        for certificate in chain.iter().take(CHAIN_MAX) {
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
                text.push_str(&String::from_utf8_lossy(line));
                text.push('\n');
            }
            text.push_str("-----END CERTIFICATE-----\n");
        }
        let fresh = path.with_extension("tmp");
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// The chain of a certificate; `None` where it was never seen here. Blocking.
    ///
    /// # Errors
    /// Of the disk, or where a file is damaged.
    pub fn find(&self, fingerprint: &[u8]) -> io::Result<Option<CertificateEvidence>> {
        let text = match fs::read_to_string(self.path(fingerprint)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let time = text.lines().next().and_then(|line| line.strip_prefix(FIRST_TIME));
        let time = time.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let mut chain = CertificateDer::pem_slice_iter(text.as_bytes())
            .map(|certificate| certificate.map(|certificate| certificate.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| io::Error::other(error.to_string()))?
            .into_iter();
        let Some(certificate) = chain.next() else { return Ok(None) };
        let first_time = time.map(|time| prost_types::Timestamp {
            seconds: time.unix_timestamp(),
            nanos: i32::try_from(time.nanosecond()).unwrap_or_default(),
        });
        Ok(Some(CertificateEvidence { certificate, issuers: chain.collect(), first_time }))
    }

    fn path(&self, fingerprint: &[u8]) -> PathBuf {
        self.dir.join(format!("{}.pem", hex::encode(fingerprint)))
    }
}

const FIRST_TIME: &str = "first judged good: ";
