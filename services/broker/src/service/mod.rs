//! The gRPC services: thin edges that admit the caller, hand the work on, and put the answer into words.

use std::sync::Arc;

use lienthong_audit::log::LogReader;
use lienthong_audit::policy::Policy;
use lienthong_certs::Judge;
use lienthong_proto::lienthong::audit::v1::audit_service_server::AuditServiceServer;
use lienthong_proto::lienthong::audit::v1::finding_service_server::FindingServiceServer;
use lienthong_proto::lienthong::audit::v1::log_service_server::LogServiceServer;
use lienthong_proto::lienthong::audit::v1::search_service_server::SearchServiceServer;
use lienthong_proto::lienthong::catalog::v1::catalog_change_service_server::CatalogChangeServiceServer;
use lienthong_proto::lienthong::catalog::v1::catalog_service_server::CatalogServiceServer;
use lienthong_proto::lienthong::catalog::v1::decision_service_server::DecisionServiceServer;
use lienthong_proto::lienthong::compliance::v1::compliance_service_server::ComplianceServiceServer;
use lienthong_proto::lienthong::control::v1::mesh_status_service_server::MeshStatusServiceServer;
use lienthong_proto::lienthong::control::v1::rights_service_server::RightsServiceServer;
use lienthong_proto::lienthong::registry::v1::duty_service_server::DutyServiceServer;
use lienthong_proto::lienthong::registry::v1::enrollment_service_server::EnrollmentServiceServer;
use lienthong_proto::lienthong::registry::v1::holdings_service_server::HoldingsServiceServer;
use lienthong_proto::lienthong::registry::v1::registry_service_server::RegistryServiceServer;
use lienthong_transport::Drain;
use lienthong_watch::Rules;
use tokio::sync::watch;
use tonic::Status;
use tonic::service::Routes;

use crate::arbiter::Arbiter;
use crate::board::Board;
use crate::chancery::Chancery;
use crate::compliance::Examiner;
use crate::door::Door;
use crate::findings::Findings;
use crate::index::Index;
use crate::knocks::Knocks;
use crate::ledger::Ledger;
use crate::limits::{
    FINDING_WATCHES_PER_CALLER_MAX, NAME_SHOWN_BYTES_MAX, PROOFS_PER_NODE_MAX, REQUEST_BYTES_MAX,
    RESPONSE_BYTES_MAX, SHIPMENTS_PER_NODE_MAX, WATCHES_PER_NODE_MAX,
};
use crate::matching::{Progress, heard::Heard};
use crate::metrics::BrokerMetrics;
use crate::online::Online;
use crate::places::Places;
use crate::positions::Positions;
use crate::registrar::Registrar;
use crate::shelf::Shelf;
use crate::steward::Steward;
use crate::text;

pub mod audit;
pub mod catalog;
pub mod change;
pub mod compliance;
pub mod decision;
pub mod duty;
pub mod enrollment;
pub mod findings;
pub mod holdings;
pub mod log;
mod notes;
mod open_data;
pub mod page;
pub mod registry;
pub mod rights;
pub mod search;
pub mod status;
mod watching;

/// What the services stand on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Shows and changes what the mesh decides by.
    pub steward: Arc<Steward>,
    /// Keeps versions of contracts.
    pub shelf: Shelf,
    /// Keeps the enrollments.
    pub registrar: Arc<Registrar>,
    /// Keeps the changes of the catalog.
    pub chancery: Arc<Chancery>,
    /// Keeps refusals and disputes.
    pub arbiter: Arc<Arbiter>,
    /// Judges how the duty to share is kept.
    pub examiner: Arc<Examiner>,
    /// Puts on record.
    pub ledger: Ledger,
    /// Whom readers of the log believe.
    pub policy: Option<watch::Receiver<Arc<Policy>>>,
    /// Up to when each node was heard.
    pub heard: Heard,
    /// How far the log is matched.
    pub progress: Progress,
    /// Finds what is on record.
    pub index: Index,
    /// Reads what is on record.
    pub reader: LogReader,
    /// Which node decides by which epoch.
    pub board: Board,
    /// How much of each journal the log holds.
    pub positions: Arc<Positions>,
    /// Judges those for whom consoles speak.
    pub judge: watch::Receiver<Arc<Judge>>,
    /// The watch rules that are applied.
    pub rules: Arc<Rules>,
    /// Counts.
    pub metrics: BrokerMetrics,
    /// Turned when the broker stops.
    pub drain: Drain,
    /// Batches of one stream that may be on their way into the log at once.
    pub batches_in_flight_max: usize,
}

/// Every service of the broker, within its bounds.
#[allow(clippy::too_many_lines)] // a list: every service, one after the other
pub fn routes(ground: Ground) -> Routes {
    let Ground {
        steward,
        registrar,
        chancery,
        arbiter,
        examiner,
        shelf,
        ledger,
        policy,
        heard,
        progress,
        index,
        reader,
        board,
        positions,
        judge,
        rules,
        metrics,
        drain,
        batches_in_flight_max,
    } = ground;
    let door = Door::new(steward.watch(), judge, metrics.clone());
    let status = status::MeshStatus::new(
        door.clone(),
        status::Sources {
            generations: steward.watch(),
            board: board.clone(),
            positions,
            ledger: ledger.clone(),
            index: index.clone(),
            progress: progress.clone(),
        },
    );
    let rights = rights::Rights {
        door: door.clone(),
        generations: steward.watch(),
        board,
        ledger: ledger.clone(),
        shelf: shelf.clone(),
        drain: drain.clone(),
        places: Places::new(WATCHES_PER_NODE_MAX),
        online: Online::new(metrics.clone()),
    };
    let findings = Findings::new(ledger.clone());
    let desk = findings::FindingDesk {
        door: door.clone(),
        ledger: ledger.clone(),
        shelf: shelf.clone(),
        progress,
        closing: Arc::default(),
        drain: drain.clone(),
        places: Places::new(FINDING_WATCHES_PER_CALLER_MAX),
        rules,
    };
    let proofs = log::LogProofs {
        door: door.clone(),
        ledger: ledger.clone(),
        policy,
        drain: drain.clone(),
        places: Places::new(PROOFS_PER_NODE_MAX),
    };
    let search = search::Search { door: door.clone(), ledger: ledger.clone(), index: index.clone() };
    let audit = audit::Audit {
        door: door.clone(),
        ledger: ledger.clone(),
        index,
        findings,
        heard,
        metrics: metrics.clone(),
        drain,
        batches_in_flight_max,
        places: Places::new(SHIPMENTS_PER_NODE_MAX),
    };
    let enrollments = enrollment::Enrollments {
        door: door.clone(),
        registrar,
        knocks: Knocks::default(),
        metrics: metrics.clone(),
    };
    let holdings = holdings::Holdings { door: door.clone(), steward: Arc::clone(&steward) };
    let compliance = compliance::Compliance { door: door.clone(), examiner: Arc::clone(&examiner) };
    let registry = registry::Registry { door: door.clone(), steward, examiner, shelf, metrics };
    let decision = decision::Decisions::new(door.clone(), reader);
    let duty = duty::Duty { door: door.clone(), arbiter };
    let changes = change::Changes { door: door.clone(), chancery };
    let catalog = catalog::Catalog { door };
    macro_rules! bounded {
        ($server:ident, $service:expr) => {
            $server::new($service)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX)
        };
    }
    Routes::new(bounded!(RightsServiceServer, rights))
        .add_service(bounded!(RegistryServiceServer, registry))
        .add_service(bounded!(EnrollmentServiceServer, enrollments))
        .add_service(bounded!(CatalogServiceServer, catalog))
        .add_service(bounded!(DecisionServiceServer, decision))
        .add_service(bounded!(CatalogChangeServiceServer, changes))
        .add_service(bounded!(DutyServiceServer, duty))
        .add_service(bounded!(HoldingsServiceServer, holdings))
        .add_service(bounded!(ComplianceServiceServer, compliance))
        .add_service(bounded!(AuditServiceServer, audit))
        .add_service(bounded!(LogServiceServer, proofs))
        .add_service(bounded!(FindingServiceServer, desk))
        .add_service(bounded!(SearchServiceServer, search))
        .add_service(bounded!(MeshStatusServiceServer, status))
        .prepare()
}

/// The status for a resource that is not there. What was asked for is shown only as far as a name may be long.
fn not_found(kind: &str, name: &str, example: &str) -> Status {
    let shown = text::cut(name, NAME_SHOWN_BYTES_MAX);
    Status::not_found(format!(
        "no {kind} is called \"{}\"; a name looks like {example}",
        shown.escape_debug()
    ))
}
