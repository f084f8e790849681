//! Gathers what there is to know of one's own certificate and key.

use std::{os::unix::fs::PermissionsExt, path::Path, path::PathBuf, sync::Arc, time::SystemTime};

use lienthong_certs::{Branch, Credentials, Judge, Profile, RevocationLists, TrustAnchors, Usage};
use lienthong_transport::{SharedMaterial, TlsMaterial};
use rustls_pki_types::UnixTime;

use crate::commands::doctor::facts::{Own, Pair};

/// Files of one's own identity and trust.
pub(super) struct Files<'a> {
    pub certificate: &'a Path,
    pub key: &'a Path,
    pub trust: Vec<(Branch, PathBuf)>,
    pub lists: &'a [PathBuf],
    pub development: bool,
}

/// What is seen of the pair, what handshakes need, where it can be used, and the certificate's registry binding.
pub(super) struct Identity {
    pub own: Own,
    pub material: Option<SharedMaterial>,
    pub credentials: Option<Credentials>,
}

/// Reads and judges.
pub(super) fn identity(files: &Files<'_>) -> Identity {
    let key_mode = std::fs::metadata(files.key)
        .map(|metadata| metadata.permissions().mode() & 0o7777)
        .map_err(|error| error.to_string());
    let read = read(files);
    let (pair, material, credentials) = match read {
        Ok((pair, material, credentials)) => (Ok(pair), Some(material), Some(credentials)),
        Err(error) => (Err(error), None, None),
    };
    let own = Own {
        key: files.key.display().to_string(),
        certificate: files.certificate.display().to_string(),
        key_mode,
        pair,
    };
    Identity { own, material, credentials }
}

fn read(files: &Files<'_>) -> Result<(Pair, SharedMaterial, Credentials), String> {
    let credentials = Credentials::load(files.certificate, files.key).map_err(text)?;
    let anchors = TrustAnchors::load(&files.trust).map_err(text)?;
    let lists = RevocationLists::load(files.lists, &anchors).map_err(text)?;
    let profile = if files.development { Profile::development() } else { Profile::default() };
    let judge = Arc::new(Judge::new(anchors, lists, profile).map_err(text)?);
    let now = UnixTime::since_unix_epoch(
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
    );
    let judged = judge.judge(credentials.chain(), Usage::Client, now);
    let certificate = credentials.certificate();
    let pair = Pair {
        subject: certificate.subject.to_string(),
        serial: certificate.binding().serial_hex(),
        not_after: certificate.not_after,
        judged: judged.map(|peer| judge.freshness(&peer, now)),
        lists: judge.lists().lists().count(),
    };
    let material = SharedMaterial::new(TlsMaterial::new(&credentials, judge).map_err(text)?);
    Ok((pair, material, credentials))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
