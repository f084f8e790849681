//! The mesh trust file: taken when the configured file changes, and looked at once a day for its end. The broker hands
//! newer versions on, too ([`crate::control::watch`]).

use std::{path::PathBuf, sync::Arc, time::Duration};

use lienthong_transport::FileWatch;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::{
    limits::{TRUST_LOOK_MS, TRUST_WARN_DAYS},
    node::Node,
    trust::Trust,
};

/// Watches until told to stop. A file that cannot be used is said and changes nothing.
pub async fn run(file: PathBuf, node: Arc<Node>, trust: Arc<Trust>, stop: CancellationToken) {
    let mut watch = FileWatch::new([file]);
    let mut day = tokio::time::interval(Duration::from_millis(TRUST_LOOK_MS));
    loop {
        show(&node, &trust);
        tokio::select! {
            () = stop.cancelled() => return,
            _ = day.tick() => warn_of_end(&trust),
            () = watch.changed() => {
                let trust = Arc::clone(&trust);
                // Reads and writes a file, and judges every connection anew.
                match tokio::task::spawn_blocking(move || trust.take_file()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => {
                        tracing::error!(%error, "the changed mesh trust file is not taken; what is held goes on");
                    }
                    Err(error) => tracing::error!(%error, "taking the mesh trust file ended unexpectedly"),
                }
            }
        }
    }
}

/// In how far the trust file is in order, for `/health`.
pub fn standing(trust: &Trust) -> String {
    let mesh = trust.mesh();
    let (version, until) = (mesh.trust().version(), mesh.trust().expires());
    let announced = trust.announced();
    let behind = if announced > version {
        format!("; the broker has version {announced}, see the log")
    } else {
        String::new()
    };
    let over = if until <= OffsetDateTime::now_utc() { "EXPIRED" } else { "good until" };
    format!("version {version}, {over} {}{behind}", until.date())
}

/// Shows version and end as numbers.
pub fn show(node: &Node, trust: &Trust) {
    let mesh = trust.mesh();
    node.metrics.trust_version.set(i64::try_from(mesh.trust().version()).unwrap_or(i64::MAX));
    node.metrics.trust_expiry.set(mesh.trust().expires().unix_timestamp());
}

fn warn_of_end(trust: &Trust) {
    let mesh = trust.mesh();
    let days = (mesh.trust().expires() - OffsetDateTime::now_utc()).whole_days();
    if days < TRUST_WARN_DAYS {
        let version = mesh.trust().version();
        tracing::warn!(
            version,
            days,
            "the mesh trust file ends soon or has ended: the operator must have a newer one signed"
        );
    }
}
