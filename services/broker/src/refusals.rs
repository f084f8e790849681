//! Handshakes that were refused at this broker's door, on record: once a minute a sum for each network and reason,
//! never a record each, so that no stranger can fill the log (design §6, *Who may see the log*).

use lienthong_proto::lienthong::audit::v1::Aggregate;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_transport::{Connections, Drain, RefusalReport};
use prost_types::Timestamp;
use tokio::sync::broadcast::error::RecvError;

use crate::ledger::Ledger;

/// Puts the reports of `connections` on record until the broker stops.
pub async fn keep_on_record(connections: Connections, ledger: Ledger, drain: Drain) {
    let mut reports = connections.handshakes().subscribe();
    loop {
        let report = tokio::select! {
            _ = drain.started() => return,
            report = reports.recv() => report,
        };
        match report {
            Ok(report) => {
                if let Err(error) = ledger.record(vec![aggregate(&report)]).await {
                    tracing::error!(%error, "refused handshakes are not on record");
                }
            }
            Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "reports of refused handshakes were lost"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn aggregate(report: &RefusalReport) -> Body {
    let first = report.until.checked_sub(report.over).unwrap_or(report.until);
    Body::Aggregate(Aggregate {
        reason: report.word(),
        source: report.source.to_string(),
        count: report.count,
        first_time: Some(Timestamp::from(first)),
        last_time: Some(Timestamp::from(report.until)),
        ..Aggregate::default()
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use lienthong_transport::{RefusalReason, SourcePrefix};

    use super::*;

    #[test]
    fn a_report_becomes_one_record_that_names_no_address() {
        let report = RefusalReport {
            source: SourcePrefix::from(std::net::SocketAddr::from(([203, 0, 113, 7], 9))),
            reason: RefusalReason::Certificate,
            fault: Some("EXPIRED"),
            count: 12,
            until: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
            over: Duration::from_secs(60),
            detail: "the certificate expired".to_owned(),
        };
        let Body::Aggregate(aggregate) = aggregate(&report) else { panic!("not an aggregate") };
        assert_eq!(aggregate.reason, "HANDSHAKE_CERTIFICATE_EXPIRED");
        assert_eq!((aggregate.source.as_str(), aggregate.count), ("203.0.113.0/24", 12));
        let seconds = |time: Option<Timestamp>| time.map(|time| time.seconds);
        assert_eq!((seconds(aggregate.first_time), seconds(aggregate.last_time)), (Some(40), Some(100)));
    }
}
