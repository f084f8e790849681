//! Gathers what there is to know of one's own certificate and key.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use lienthong_certs::{Credentials, Judge, KeySource, Profile, RevocationLists, TrustAnchors, Usage};
use lienthong_transport::{SharedMaterial, TlsMaterial};
use rustls_pki_types::UnixTime;

use crate::commands::doctor::facts::{Judged, Own, Pair};

/// Files of one's own identity and trust.
pub(super) struct Files<'a> {
    pub certificate: &'a Path,
    pub key: &'a KeySource,
    pub anchors: Result<TrustAnchors, String>,
    pub lists: &'a [PathBuf],
    pub development: bool,
}

/// One's own identity, as far as it can be used.
pub(super) struct Identity {
    /// What is seen of it.
    pub own: Own,
    /// What handshakes need.
    pub material: Option<SharedMaterial>,
    /// The pair itself.
    pub credentials: Option<Credentials>,
}

/// Reads and judges.
pub(super) fn identity(files: &Files<'_>) -> Identity {
    let key_mode = files.key.file().map(|path| {
        std::fs::metadata(path)
            .map(|metadata| metadata.permissions().mode() & 0o7777)
            .map_err(|error| error.to_string())
    });
    let credentials = Credentials::open(files.certificate, files.key).map_err(text);
    let judge = judge(files);
    let pair =
        credentials.as_ref().map_err(Clone::clone).map(|credentials| pair(credentials, judge.as_ref()));
    let credentials = credentials.ok();
    let material = credentials
        .as_ref()
        .zip(judge.ok())
        .and_then(|(credentials, judge)| TlsMaterial::new(credentials, judge).ok())
        .map(SharedMaterial::new);
    let own = Own {
        key: files.key.to_string(),
        certificate: files.certificate.display().to_string(),
        key_mode,
        pair,
    };
    Identity { own, material, credentials }
}

fn judge(files: &Files<'_>) -> Result<Arc<Judge>, String> {
    let anchors = files.anchors.clone()?;
    let (lists, _) = RevocationLists::load_known(files.lists, &anchors).map_err(text)?;
    let profile = if files.development { Profile::development() } else { Profile::default() };
    Ok(Arc::new(Judge::new(anchors, lists, profile).map_err(text)?))
}

fn pair(credentials: &Credentials, judge: Result<&Arc<Judge>, &String>) -> Pair {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(now);
    let certificate = credentials.certificate();
    let judged = match judge {
        Err(why) => Judged::Unjudged(why.clone()),
        Ok(judge) => match judge.judge(credentials.chain(), Usage::Client, now) {
            Ok(peer) => Judged::Accepted(judge.freshness(&peer, now)),
            Err(refusal) => Judged::Refused(refusal),
        },
    };
    Pair {
        subject: certificate.subject.to_string(),
        serial: certificate.binding().serial_hex(),
        not_after: certificate.not_after,
        judged,
    }
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
