//! How many came in, how many were turned away, and why.
//!
//! A stranger costs a counter, never a log line of its own: refusals are summed per (source prefix, reason)
//! and reported once a minute (design §6, *Who may see the log*), so that nobody can fill the log from
//! outside.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::broadcast;

/// Refusals of one (source prefix, reason) are summed for this long before they are reported.
pub const REFUSAL_REPORT_INTERVAL_MS: u64 = 60_000;

/// Different (source prefix, reason, fault of the certificate) that are told apart within one interval; the rest is summed under
/// [`SourcePrefix::Elsewhere`].
pub const REFUSAL_GROUPS_MAX: usize = 1_024;

/// Reports that may wait for a slow subscriber; older ones are lost to it (they were logged all the same).
pub const REFUSAL_REPORTS_WAITING_MAX: usize = 1_024;

/// Characters of the detail kept in a report.
pub const REFUSAL_DETAIL_CHARS_MAX: usize = 200;

/// The book kept at the door. It belongs to [`Connections`](crate::Connections).
#[derive(Debug)]
pub struct Handshakes {
    accepted: AtomicU64,
    refused: [AtomicU64; RefusalReason::ALL.len()],
    faults: Mutex<BTreeMap<&'static str, u64>>,
    ledger: Mutex<RefusalLedger>,
    reports: broadcast::Sender<RefusalReport>,
}

impl Handshakes {
    /// The counters as they stand.
    pub fn counts(&self) -> HandshakeCounts {
        HandshakeCounts {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: RefusalReason::ALL
                .map(|reason| (reason, self.refused[reason as usize].load(Ordering::Relaxed))),
        }
    }

    /// Refused certificates by what was wrong with them: labels of
    /// [`CertificateRefusal`](lienthong_certs::CertificateRefusal), or `NO_PROOF_OF_KEY` where the peer has the
    /// certificate and not its key.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters by what became of the handshake: `accepted`, a refusal's label, and a refused certificate's fault.
    pub fn outcomes(&self) -> Vec<(String, u64)> {
        let counts = self.counts();
        let refused = counts.refused.iter().filter(|(reason, _)| *reason != RefusalReason::Certificate);
        let faults = self.faults().into_iter();
        std::iter::once(("accepted".to_owned(), counts.accepted))
            .chain(refused.map(|(reason, count)| (reason.label().to_owned(), *count)))
            .chain(faults.map(|(fault, count)| (format!("certificate_{}", fault.to_lowercase()), count)))
            .collect()
    }

    /// Every report from now on, for a role that keeps them on record.
    pub fn subscribe(&self) -> broadcast::Receiver<RefusalReport> {
        self.reports.subscribe()
    }

    pub(crate) fn new() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            refused: RefusalReason::ALL.map(|_| AtomicU64::new(0)),
            faults: Mutex::default(),
            ledger: Mutex::default(),
            reports: broadcast::Sender::new(REFUSAL_REPORTS_WAITING_MAX),
        }
    }

    pub(crate) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self, source: SourcePrefix, why: &Refused<'_>) {
        let Refused { reason, fault, detail } = *why;
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(fault) = fault {
            *self.faults.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
        }
        tracing::debug!(%source, %reason, fault, detail, "handshake refused");
        self.ledger().record(Group { source, reason, fault }, detail, Instant::now());
    }

    /// Logs and publishes what has been summed long enough.
    pub(crate) fn report_due(&self) {
        let due = self.ledger().take_due(Instant::now());
        self.publish(due);
    }

    /// Logs and publishes everything summed so far: at the end of a process nothing may be lost.
    pub(crate) fn report_rest(&self) {
        let rest = std::mem::take(&mut self.ledger().sums);
        self.publish(rest);
    }

    fn publish(&self, sums: impl IntoIterator<Item = (Group, Sum)>) {
        for (group, sum) in sums {
            let report = RefusalReport {
                source: group.source,
                reason: group.reason,
                fault: group.fault,
                count: sum.count,
                until: SystemTime::now(),
                over: sum.since.elapsed(),
                detail: sum.detail,
            };
            tracing::warn!(
                source = %report.source,
                reason = %report.reason,
                fault = report.fault,
                count = report.count,
                over_ms = u64::try_from(report.over.as_millis()).unwrap_or(u64::MAX),
                last = report.detail,
                "handshakes refused"
            );
            // Nobody listening is fine: the report was logged.
            let _ = self.reports.send(report);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, RefusalLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeCounts {
    /// Handshakes that ended with a registered peer.
    pub accepted: u64,
    /// Handshakes that did not, for every reason of the closed list.
    pub refused: [(RefusalReason, u64); RefusalReason::ALL.len()],
}

impl HandshakeCounts {
    /// Refusals for one reason.
    pub fn refused_for(&self, reason: RefusalReason) -> u64 {
        self.refused[reason as usize].1
    }

    /// Refusals for any reason.
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|(_, count)| count).sum()
    }
}

/// One refusal, as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) reason: RefusalReason,
    /// What was wrong with the certificate.
    pub(crate) fault: Option<&'static str>,
    pub(crate) detail: &'a str,
}

/// Refusals of one source prefix for one reason, summed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalReport {
    /// Where they came from.
    pub source: SourcePrefix,
    /// Why they were refused.
    pub reason: RefusalReason,
    /// What was wrong with the certificate, where [`RefusalReason::Certificate`] is the reason: a label of
    /// [`CertificateRefusal`](lienthong_certs::CertificateRefusal). `None` where sources beyond the bound are summed.
    pub fault: Option<&'static str>,
    /// How many.
    pub count: u64,
    /// When the sum was closed.
    pub until: SystemTime,
    /// Over how long it was summed.
    pub over: Duration,
    /// What the last of them looked like, at most [`REFUSAL_DETAIL_CHARS_MAX`] characters.
    pub detail: String,
}

impl RefusalReport {
    /// The reason in one word, for records: `HANDSHAKE_TIMEOUT`, `HANDSHAKE_CERTIFICATE_EXPIRED`.
    pub fn word(&self) -> String {
        let reason = self.reason.label().to_uppercase();
        self.fault
            .map_or_else(|| format!("HANDSHAKE_{reason}"), |fault| format!("HANDSHAKE_{reason}_{fault}"))
    }
}

/// Why a handshake did not end in a registered peer: a closed list, usable as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RefusalReason {
    /// It was not finished in time.
    Timeout = 0,
    /// It sat longest when the room of unfinished handshakes was full.
    CrowdedOut = 1,
    /// The other side went away.
    Closed = 2,
    /// What it sent is not TLS.
    NotTls = 3,
    /// TLS, but not our kind: version, cipher suite, key share, a broken or forged message.
    TlsProtocol = 4,
    /// It does not speak HTTP/2 (ALPN, RFC 7301).
    NoHttp2 = 5,
    /// It presented no certificate.
    NoCertificate = 6,
    /// The judge refused its certificate.
    Certificate = 7,
    /// It refused ours.
    RefusedByPeer = 8,
    /// The register is full.
    ConnectionsMax = 9,
    /// This peer already holds all the connections it may.
    ConnectionsPerPeerMax = 10,
    /// The kernel would not say who is on the other side of a Unix socket.
    LocalPeerUnknown = 11,
    /// The listener is leaving.
    Draining = 12,
    /// The socket failed.
    Io = 13,
    /// It proved who it is, took a place, and then said nothing.
    NoPreface = 14,
    /// Our own key did not sign: its token is slow or away.
    OwnKey = 15,
}

impl RefusalReason {
    /// The whole list, in the order of the numbers.
    pub const ALL: [Self; 16] = [
        Self::Timeout,
        Self::CrowdedOut,
        Self::Closed,
        Self::NotTls,
        Self::TlsProtocol,
        Self::NoHttp2,
        Self::NoCertificate,
        Self::Certificate,
        Self::RefusedByPeer,
        Self::ConnectionsMax,
        Self::ConnectionsPerPeerMax,
        Self::LocalPeerUnknown,
        Self::Draining,
        Self::Io,
        Self::NoPreface,
        Self::OwnKey,
    ];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CrowdedOut => "crowded_out",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::TlsProtocol => "tls_protocol",
            Self::NoHttp2 => "no_http2",
            Self::NoCertificate => "no_certificate",
            Self::Certificate => "certificate",
            Self::RefusedByPeer => "refused_by_peer",
            Self::ConnectionsMax => "connections_max",
            Self::ConnectionsPerPeerMax => "connections_per_peer_max",
            Self::LocalPeerUnknown => "local_peer_unknown",
            Self::Draining => "draining",
            Self::Io => "io",
            Self::NoPreface => "no_preface",
            Self::OwnKey => "own_key",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Where a connection came from, as coarse as a network that one party controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourcePrefix {
    /// An IPv4 /24.
    V4(Ipv4Addr),
    /// An IPv6 /48.
    V6(Ipv6Addr),
    /// A process on this machine, over a Unix socket.
    Local,
    /// Sources beyond [`REFUSAL_GROUPS_MAX`], summed.
    Elsewhere,
}

impl From<SocketAddr> for SourcePrefix {
    fn from(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4(Ipv4Addr::new(a, b, c, 0))
            }
            IpAddr::V6(ip) => {
                let [a, b, c, ..] = ip.segments();
                Self::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
            }
        }
    }
}

impl fmt::Display for SourcePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(prefix) => write!(f, "{prefix}/24"),
            Self::V6(prefix) => write!(f, "{prefix}/48"),
            Self::Local => f.write_str("local"),
            Self::Elsewhere => f.write_str("elsewhere"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Group {
    source: SourcePrefix,
    reason: RefusalReason,
    fault: Option<&'static str>,
}

#[derive(Debug)]
struct Sum {
    count: u64,
    since: Instant,
    detail: String,
}

/// Sums refusals; pure, told the time.
#[derive(Debug, Default)]
struct RefusalLedger {
    sums: HashMap<Group, Sum>,
}

impl RefusalLedger {
    fn record(&mut self, mut group: Group, detail: &str, now: Instant) {
        // One place per reason stays free for `Elsewhere`, so that the bound holds exactly.
        let room = REFUSAL_GROUPS_MAX - RefusalReason::ALL.len();
        if self.sums.len() >= room && !self.sums.contains_key(&group) {
            group = Group { source: SourcePrefix::Elsewhere, fault: None, ..group };
        }
        let sum =
            self.sums.entry(group).or_insert_with(|| Sum { count: 0, since: now, detail: String::new() });
        sum.count = sum.count.saturating_add(1);
        sum.detail.clear();
        sum.detail.extend(detail.chars().take(REFUSAL_DETAIL_CHARS_MAX));
    }

    fn take_due(&mut self, now: Instant) -> Vec<(Group, Sum)> {
        let interval = Duration::from_millis(REFUSAL_REPORT_INTERVAL_MS);
        self.sums.extract_if(|_, sum| now.saturating_duration_since(sum.since) >= interval).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_places_in_the_list() {
        for (place, reason) in RefusalReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason}");
        }
    }

    fn group(source: SourcePrefix, reason: RefusalReason) -> Group {
        Group { source, reason, fault: None }
    }

    #[test]
    fn a_flood_from_one_network_is_one_report() {
        let mut ledger = RefusalLedger::default();
        let start = Instant::now();
        for host in 0..=255 {
            let source = SourcePrefix::from(SocketAddr::from(([203, 0, 113, host], 9)));
            ledger.record(group(source, RefusalReason::NotTls), &format!("host {host}"), start);
        }
        assert!(ledger.take_due(start + Duration::from_millis(REFUSAL_REPORT_INTERVAL_MS - 1)).is_empty());
        let due = ledger.take_due(start + Duration::from_millis(REFUSAL_REPORT_INTERVAL_MS));
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].0.source.to_string(), "203.0.113.0/24");
        assert_eq!(due[0].1.count, 256);
        assert_eq!(due[0].1.detail, "host 255");
    }

    #[test]
    fn sources_beyond_the_bound_are_summed_and_none_is_lost() {
        let mut ledger = RefusalLedger::default();
        let start = Instant::now();
        for network in 0..5_000_u16 {
            let [a, b] = network.to_be_bytes();
            let source = SourcePrefix::from(SocketAddr::from(([10, a, b, 1], 9)));
            for reason in [RefusalReason::Timeout, RefusalReason::Closed] {
                ledger.record(group(source, reason), "", start);
            }
        }
        assert!(ledger.sums.len() <= REFUSAL_GROUPS_MAX);
        let due = ledger.take_due(start + Duration::from_secs(3_600));
        assert_eq!(due.iter().map(|(_, sum)| sum.count).sum::<u64>(), 10_000);
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_network() {
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:1".parse().unwrap();
        assert_eq!(SourcePrefix::from(mapped).to_string(), "192.0.2.0/24");
        let six: SocketAddr = "[2001:db8:7:9::1]:1".parse().unwrap();
        assert_eq!(SourcePrefix::from(six).to_string(), "2001:db8:7::/48");
    }
}
