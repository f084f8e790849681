//! What has to be done every so often: keeping the age of the rights on disk, and recording what was only
//! counted.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lienthong_audit::{
    digest,
    journal::Handle,
    record::{self, RECORD_VERSION},
};
use lienthong_proto::lienthong::audit::v1::{Aggregate, Record, record::Body};
use lienthong_transport::{Connections, RefusalReport};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    denials::Together,
    limits::{AGGREGATE_MS, FRESHNESS_SAVE_MS},
    node::Node,
};

/// Saves the age of the rights once a second, and shows it beside the age of the backlog.
pub async fn keep_freshness(node: Arc<Node>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_millis(FRESHNESS_SAVE_MS));
    let mut stopping = false;
    while !stopping {
        tokio::select! {
            () = stop.cancelled() => stopping = true,
            _ = tick.tick() => {}
        }
        let backlog_ms = u64::try_from(node.journal.backlog().age.as_millis()).unwrap_or(u64::MAX);
        node.backlog_age_ms.store(backlog_ms, Ordering::Relaxed);
        let age = node.freshness.age();
        let seconds =
            if age == Duration::MAX { -1 } else { i64::try_from(age.as_secs()).unwrap_or(i64::MAX) };
        node.metrics.rights_age_seconds.set(seconds);
        if let Err(error) = node.freshness.save(clock::unix_ms()) {
            tracing::error!(%error, "the age of the rights is not kept: after a restart it counts as older");
        }
    }
}

/// Records once a minute what was counted of denials, and what the listeners refused before anybody was
/// known.
pub async fn record_aggregates(node: Arc<Node>, connections: Connections, stop: CancellationToken) {
    let journal = node.journal.handle();
    let mut refusals = connections.handshakes().subscribe();
    let mut tick = tokio::time::interval(Duration::from_millis(AGGREGATE_MS));
    loop {
        tokio::select! {
            () = stop.cancelled() => {
                record_denials(&node, &journal);
                return;
            }
            _ = tick.tick() => record_denials(&node, &journal),
            report = refusals.recv() => match report {
                Ok(report) => put_on_record(&node, &journal, of_refusal(&report)),
                Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "refusal reports were lost"),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

fn record_denials(node: &Node, journal: &Handle) {
    for Together { source, reason, about, counted } in node.denials.drain() {
        let aggregate = Aggregate {
            reason: reason.name().to_owned(),
            source,
            count: counted.count,
            first_time: Some(clock::timestamp_of(counted.first_ms)),
            last_time: Some(clock::timestamp_of(counted.last_ms)),
            side: about.side.into(),
            provider: about.provider,
            dataset: about.dataset,
            consumer: about.consumer,
        };
        put_on_record(node, journal, aggregate);
    }
}

fn of_refusal(report: &RefusalReport) -> Aggregate {
    let until = clock::timestamp_of_system(report.until);
    let first = clock::timestamp_of_system(report.until.checked_sub(report.over).unwrap_or(report.until));
    Aggregate {
        reason: report.word(),
        source: report.source.to_string(),
        count: report.count,
        first_time: Some(first),
        last_time: Some(until),
        ..Aggregate::default()
    }
}

fn put_on_record(node: &Node, journal: &Handle, aggregate: Aggregate) {
    let salt = match digest::salt() {
        Ok(salt) => salt,
        Err(error) => return tracing::error!(%error, "an aggregate is not on record"),
    };
    let record = Record {
        version: RECORD_VERSION,
        salt: salt.to_vec(),
        recorder: node.name.clone(),
        time: Some(clock::timestamp()),
        clock_error_us: 0,
        body: Some(Body::Aggregate(aggregate)),
    };
    let written = record::encode(&record)
        .map_err(|error| error.to_string())
        .and_then(|bytes| journal.append(bytes).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::error!(error, "an aggregate is not on record");
    }
}
