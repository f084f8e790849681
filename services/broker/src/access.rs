//! Who may call what: one table, RPC × role. The whole of the broker's own access control.
//!
//! What a caller may do is decided by what its certificate is bound to, never by what it says. A new RPC
//! does not compile into the broker without a row here; `tests/golden/access.txt` is the table as people review it.

use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;

use crate::identity::{Caller, Role};

/// An RPC of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// `RightsService.WatchRights`
    WatchRights,
    /// `RightsService.Decide`
    Decide,
    /// `RegistryService.GetAgency`
    GetAgency,
    /// `RegistryService.ListAgencies`
    ListAgencies,
    /// `RegistryService.PublishContract`
    PublishContract,
    /// `RegistryService.GetContract`
    GetContract,
    /// `CatalogService.GetEntry`
    GetEntry,
    /// `CatalogService.ListEntries`
    ListEntries,
    /// `DecisionService.Explain`
    Explain,
    /// `DecisionService.WhatIf`
    WhatIf,
    /// `DecisionService.WhoCan`
    WhoCan,
    /// `AuditService.ShipJournal`
    ShipJournal,
    /// `AuditService.GetCheckpoint`
    GetCheckpoint,
    /// `AuditService.ListErasures`
    ListErasures,
    /// `LogService.ProveReceipts`
    ProveReceipts,
    /// `FindingService.ListFindings`
    ListFindings,
    /// `FindingService.CloseFinding`
    CloseFinding,
    /// `FindingService.NoteFinding`
    NoteFinding,
    /// `FindingService.ListWatchRules`
    ListWatchRules,
    /// `FindingService.WatchFindings`
    WatchFindings,
    /// `SearchService.SearchRecords`
    SearchRecords,
    /// `SearchService.CountReasons`
    CountReasons,
    /// `SearchService.GetEvidence`
    GetEvidence,
    /// `SearchService.SubjectAccess`
    SubjectAccess,
    /// `SearchService.SetDisclosure`
    SetDisclosure,
    /// `SearchService.EraseSubject`
    EraseSubject,
    /// `SearchService.RegisterUser`
    RegisterUser,
    /// `EnrollmentService.CreateToken`
    CreateToken,
    /// `EnrollmentService.Enroll`
    Enroll,
    /// `EnrollmentService.GetEnrollment`
    GetEnrollment,
    /// `EnrollmentService.ListEnrollments`
    ListEnrollments,
    /// `EnrollmentService.ApproveEnrollment`
    ApproveEnrollment,
    /// `EnrollmentService.RejectEnrollment`
    RejectEnrollment,
    /// `EnrollmentService.RenewCertificate`
    RenewCertificate,
    /// `EnrollmentService.ListNotices`
    ListNotices,
    /// `EnrollmentService.UnbindEnrollment`
    UnbindEnrollment,
    /// `CatalogChangeService.ProposeChange`
    ProposeChange,
    /// `CatalogChangeService.GetChange`
    GetChange,
    /// `CatalogChangeService.ListChanges`
    ListChanges,
    /// `CatalogChangeService.ApproveChange`
    ApproveChange,
    /// `CatalogChangeService.RejectChange`
    RejectChange,
    /// `CatalogChangeService.ReadFiles`
    ReadFiles,
    /// `DutyService.DeclareRefusal`
    DeclareRefusal,
    /// `DutyService.WithdrawRefusal`
    WithdrawRefusal,
    /// `DutyService.GetRefusal`
    GetRefusal,
    /// `DutyService.ListRefusals`
    ListRefusals,
    /// `DutyService.GetDispute`
    GetDispute,
    /// `DutyService.ListDisputes`
    ListDisputes,
    /// `DutyService.AnswerDispute`
    AnswerDispute,
    /// `DutyService.DecideDispute`
    DecideDispute,
    /// `DutyService.AnnounceOutage`
    AnnounceOutage,
    /// `DutyService.ListOutages`
    ListOutages,
    /// `DutyService.CreateConnectionRequest`
    CreateConnectionRequest,
    /// `DutyService.AnswerConnectionRequest`
    AnswerConnectionRequest,
    /// `DutyService.ListConnectionRequests`
    ListConnectionRequests,
    /// `HoldingsService.GetDatabase`
    GetDatabase,
    /// `HoldingsService.ListDatabases`
    ListDatabases,
    /// `HoldingsService.GetDataset`
    GetDataset,
    /// `HoldingsService.ListDatasetHoldings`
    ListDatasetHoldings,
    /// `HoldingsService.ListSystems`
    ListSystems,
    /// `HoldingsService.ListDictionary`
    ListDictionary,
    /// `HoldingsService.ListPurposes`
    ListPurposes,
    /// `HoldingsService.ListRights`
    ListRights,
    /// `ComplianceService.GetScorecard`
    GetScorecard,
    /// `ComplianceService.ListScorecards`
    ListScorecards,
    /// `ComplianceService.ListEntryCompliance`
    ListEntryCompliance,
    /// `ComplianceService.ExportReport`
    ExportReport,
    /// `ComplianceService.GetStatistics`
    GetStatistics,
    /// `MeshStatusService.WhoAmI`
    WhoAmI,
    /// `MeshStatusService.GetMeshStatus`
    GetMeshStatus,
    /// `MeshStatusService.ListNodeStates`
    ListNodeStates,
}

impl Rpc {
    /// Every RPC, in the order of the table.
    pub const ALL: &[Rpc] = &[
        Rpc::WatchRights,
        Rpc::Decide,
        Rpc::GetAgency,
        Rpc::ListAgencies,
        Rpc::PublishContract,
        Rpc::GetContract,
        Rpc::GetEntry,
        Rpc::ListEntries,
        Rpc::Explain,
        Rpc::WhatIf,
        Rpc::WhoCan,
        Rpc::ShipJournal,
        Rpc::GetCheckpoint,
        Rpc::ListErasures,
        Rpc::ProveReceipts,
        Rpc::ListFindings,
        Rpc::CloseFinding,
        Rpc::NoteFinding,
        Rpc::ListWatchRules,
        Rpc::WatchFindings,
        Rpc::SearchRecords,
        Rpc::CountReasons,
        Rpc::GetEvidence,
        Rpc::SubjectAccess,
        Rpc::SetDisclosure,
        Rpc::EraseSubject,
        Rpc::RegisterUser,
        Rpc::CreateToken,
        Rpc::Enroll,
        Rpc::GetEnrollment,
        Rpc::ListEnrollments,
        Rpc::ApproveEnrollment,
        Rpc::RejectEnrollment,
        Rpc::RenewCertificate,
        Rpc::ListNotices,
        Rpc::UnbindEnrollment,
        Rpc::ProposeChange,
        Rpc::GetChange,
        Rpc::ListChanges,
        Rpc::ApproveChange,
        Rpc::RejectChange,
        Rpc::ReadFiles,
        Rpc::DeclareRefusal,
        Rpc::WithdrawRefusal,
        Rpc::GetRefusal,
        Rpc::ListRefusals,
        Rpc::GetDispute,
        Rpc::ListDisputes,
        Rpc::AnswerDispute,
        Rpc::DecideDispute,
        Rpc::AnnounceOutage,
        Rpc::ListOutages,
        Rpc::CreateConnectionRequest,
        Rpc::AnswerConnectionRequest,
        Rpc::ListConnectionRequests,
        Rpc::GetDatabase,
        Rpc::ListDatabases,
        Rpc::GetDataset,
        Rpc::ListDatasetHoldings,
        Rpc::ListSystems,
        Rpc::ListDictionary,
        Rpc::ListPurposes,
        Rpc::ListRights,
        Rpc::GetScorecard,
        Rpc::ListScorecards,
        Rpc::ListEntryCompliance,
        Rpc::ExportReport,
        Rpc::GetStatistics,
        Rpc::WhoAmI,
        Rpc::GetMeshStatus,
        Rpc::ListNodeStates,
    ];

    /// Its gRPC path.
    #[allow(clippy::too_many_lines)] // a list: every RPC, one after the other
    pub const fn path(self) -> &'static str {
        match self {
            Rpc::WatchRights => "/lienthong.control.v1.RightsService/WatchRights",
            Rpc::Decide => "/lienthong.control.v1.RightsService/Decide",
            Rpc::GetAgency => "/lienthong.registry.v1.RegistryService/GetAgency",
            Rpc::ListAgencies => "/lienthong.registry.v1.RegistryService/ListAgencies",
            Rpc::PublishContract => "/lienthong.registry.v1.RegistryService/PublishContract",
            Rpc::GetContract => "/lienthong.registry.v1.RegistryService/GetContract",
            Rpc::GetEntry => "/lienthong.catalog.v1.CatalogService/GetEntry",
            Rpc::ListEntries => "/lienthong.catalog.v1.CatalogService/ListEntries",
            Rpc::Explain => "/lienthong.catalog.v1.DecisionService/Explain",
            Rpc::WhatIf => "/lienthong.catalog.v1.DecisionService/WhatIf",
            Rpc::WhoCan => "/lienthong.catalog.v1.DecisionService/WhoCan",
            Rpc::ShipJournal => "/lienthong.audit.v1.AuditService/ShipJournal",
            Rpc::GetCheckpoint => "/lienthong.audit.v1.AuditService/GetCheckpoint",
            Rpc::ListErasures => "/lienthong.audit.v1.AuditService/ListErasures",
            Rpc::ProveReceipts => "/lienthong.audit.v1.LogService/ProveReceipts",
            Rpc::ListFindings => "/lienthong.audit.v1.FindingService/ListFindings",
            Rpc::CloseFinding => "/lienthong.audit.v1.FindingService/CloseFinding",
            Rpc::NoteFinding => "/lienthong.audit.v1.FindingService/NoteFinding",
            Rpc::ListWatchRules => "/lienthong.audit.v1.FindingService/ListWatchRules",
            Rpc::WatchFindings => "/lienthong.audit.v1.FindingService/WatchFindings",
            Rpc::SearchRecords => "/lienthong.audit.v1.SearchService/SearchRecords",
            Rpc::CountReasons => "/lienthong.audit.v1.SearchService/CountReasons",
            Rpc::GetEvidence => "/lienthong.audit.v1.SearchService/GetEvidence",
            Rpc::SubjectAccess => "/lienthong.audit.v1.SearchService/SubjectAccess",
            Rpc::SetDisclosure => "/lienthong.audit.v1.SearchService/SetDisclosure",
            Rpc::EraseSubject => "/lienthong.audit.v1.SearchService/EraseSubject",
            Rpc::RegisterUser => "/lienthong.audit.v1.SearchService/RegisterUser",
            Rpc::CreateToken => "/lienthong.registry.v1.EnrollmentService/CreateToken",
            Rpc::Enroll => "/lienthong.registry.v1.EnrollmentService/Enroll",
            Rpc::GetEnrollment => "/lienthong.registry.v1.EnrollmentService/GetEnrollment",
            Rpc::ListEnrollments => "/lienthong.registry.v1.EnrollmentService/ListEnrollments",
            Rpc::ApproveEnrollment => "/lienthong.registry.v1.EnrollmentService/ApproveEnrollment",
            Rpc::RejectEnrollment => "/lienthong.registry.v1.EnrollmentService/RejectEnrollment",
            Rpc::RenewCertificate => "/lienthong.registry.v1.EnrollmentService/RenewCertificate",
            Rpc::ListNotices => "/lienthong.registry.v1.EnrollmentService/ListNotices",
            Rpc::UnbindEnrollment => "/lienthong.registry.v1.EnrollmentService/UnbindEnrollment",
            Rpc::ProposeChange => "/lienthong.catalog.v1.CatalogChangeService/ProposeChange",
            Rpc::GetChange => "/lienthong.catalog.v1.CatalogChangeService/GetChange",
            Rpc::ListChanges => "/lienthong.catalog.v1.CatalogChangeService/ListChanges",
            Rpc::ApproveChange => "/lienthong.catalog.v1.CatalogChangeService/ApproveChange",
            Rpc::RejectChange => "/lienthong.catalog.v1.CatalogChangeService/RejectChange",
            Rpc::ReadFiles => "/lienthong.catalog.v1.CatalogChangeService/ReadFiles",
            Rpc::DeclareRefusal => "/lienthong.registry.v1.DutyService/DeclareRefusal",
            Rpc::WithdrawRefusal => "/lienthong.registry.v1.DutyService/WithdrawRefusal",
            Rpc::GetRefusal => "/lienthong.registry.v1.DutyService/GetRefusal",
            Rpc::ListRefusals => "/lienthong.registry.v1.DutyService/ListRefusals",
            Rpc::GetDispute => "/lienthong.registry.v1.DutyService/GetDispute",
            Rpc::ListDisputes => "/lienthong.registry.v1.DutyService/ListDisputes",
            Rpc::AnswerDispute => "/lienthong.registry.v1.DutyService/AnswerDispute",
            Rpc::DecideDispute => "/lienthong.registry.v1.DutyService/DecideDispute",
            Rpc::AnnounceOutage => "/lienthong.registry.v1.DutyService/AnnounceOutage",
            Rpc::ListOutages => "/lienthong.registry.v1.DutyService/ListOutages",
            Rpc::CreateConnectionRequest => "/lienthong.registry.v1.DutyService/CreateConnectionRequest",
            Rpc::AnswerConnectionRequest => "/lienthong.registry.v1.DutyService/AnswerConnectionRequest",
            Rpc::ListConnectionRequests => "/lienthong.registry.v1.DutyService/ListConnectionRequests",
            Rpc::GetDatabase => "/lienthong.registry.v1.HoldingsService/GetDatabase",
            Rpc::ListDatabases => "/lienthong.registry.v1.HoldingsService/ListDatabases",
            Rpc::GetDataset => "/lienthong.registry.v1.HoldingsService/GetDataset",
            Rpc::ListDatasetHoldings => "/lienthong.registry.v1.HoldingsService/ListDatasetHoldings",
            Rpc::ListSystems => "/lienthong.registry.v1.HoldingsService/ListSystems",
            Rpc::ListDictionary => "/lienthong.registry.v1.HoldingsService/ListDictionary",
            Rpc::ListPurposes => "/lienthong.registry.v1.HoldingsService/ListPurposes",
            Rpc::ListRights => "/lienthong.registry.v1.HoldingsService/ListRights",
            Rpc::GetScorecard => "/lienthong.compliance.v1.ComplianceService/GetScorecard",
            Rpc::ListScorecards => "/lienthong.compliance.v1.ComplianceService/ListScorecards",
            Rpc::ListEntryCompliance => "/lienthong.compliance.v1.ComplianceService/ListEntryCompliance",
            Rpc::ExportReport => "/lienthong.compliance.v1.ComplianceService/ExportReport",
            Rpc::GetStatistics => "/lienthong.compliance.v1.ComplianceService/GetStatistics",
            Rpc::WhoAmI => "/lienthong.control.v1.MeshStatusService/WhoAmI",
            Rpc::GetMeshStatus => "/lienthong.control.v1.MeshStatusService/GetMeshStatus",
            Rpc::ListNodeStates => "/lienthong.control.v1.MeshStatusService/ListNodeStates",
        }
    }
}

/// Whether callers of `role` may call `rpc`. A node acts for its own agency and itself only: the handlers take
/// both from the certificate, so there is nothing more to check.
#[allow(clippy::match_same_arms)] // each group says why it is open to whom
pub const fn allows(rpc: Rpc, role: Role) -> bool {
    match rpc {
        // A bundle, a decision by it, a contract, a journal: each belongs to one node, or to its agency. A version of
        // another agency's contract is given to a node whose bundle holds that agency's contract.
        Rpc::WatchRights
        | Rpc::Decide
        | Rpc::PublishContract
        | Rpc::GetContract
        | Rpc::ShipJournal
        | Rpc::ListErasures
        | Rpc::ProveReceipts => {
            matches!(role, Role::Node)
        }
        // Who takes part, what is held and what must be shared is known to every party of the mesh. Rights, refusals,
        // disputes, connection requests and notices are shown to the agencies that they concern; the handlers see to it.
        Rpc::GetAgency
        | Rpc::ListAgencies
        | Rpc::GetEntry
        | Rpc::ListEntries
        | Rpc::GetDatabase
        | Rpc::ListDatabases
        | Rpc::GetDataset
        | Rpc::ListDatasetHoldings
        | Rpc::ListSystems
        | Rpc::ListDictionary
        | Rpc::ListPurposes
        | Rpc::ListRights
        | Rpc::GetRefusal
        | Rpc::ListRefusals
        | Rpc::GetDispute
        | Rpc::ListDisputes
        | Rpc::ListOutages
        | Rpc::ListConnectionRequests
        | Rpc::ListNotices => !matches!(role, Role::Console | Role::Anonymous),
        // How an agency keeps its duty is shown to itself, and to those who watch over all: the handlers see to it.
        Rpc::GetScorecard | Rpc::ListScorecards | Rpc::ListEntryCompliance | Rpc::ExportReport => {
            !matches!(role, Role::Console | Role::Anonymous)
        }
        // An agency's own acts, by whatever stands for it.
        Rpc::DeclareRefusal
        | Rpc::AnnounceOutage
        | Rpc::CreateConnectionRequest
        | Rpc::AnswerConnectionRequest => matches!(role, Role::Node | Role::System | Role::Officer),
        Rpc::WithdrawRefusal | Rpc::AnswerDispute => {
            matches!(role, Role::Node | Role::System | Role::Officer | Role::Operator)
        }
        // A decision is explained to the parties of its exchange. Who may read a provider's data is known to the provider
        // and to the operator.
        // To the parties, and to whoever sees the exchange on record anyway.
        Rpc::Explain => matches!(role, Role::Node | Role::Operator | Role::Auditor | Role::Officer),
        Rpc::WhoCan => matches!(role, Role::Node | Role::Operator | Role::Steward),
        Rpc::WhatIf => matches!(role, Role::Operator | Role::Steward),
        // The checkpoint is public (design §6, *Who may see the log*). Who asks for an enrollment sees his own only, and
        // whom a certificate stands for is no secret from its holder. What is counted of providers without telling
        // consumers or persons apart is public, too.
        Rpc::GetCheckpoint | Rpc::GetEnrollment | Rpc::GetStatistics | Rpc::WhoAmI => true,
        // Whom nobody is bound to knocks here, and nowhere else. Once it is bound, it may hear the same answer again.
        Rpc::Enroll => matches!(role, Role::Node | Role::System | Role::Anonymous),
        Rpc::RenewCertificate => matches!(role, Role::Node | Role::System),
        // People whose task is to look: an agency's officer sees what his agency is party to, the handlers see to that.
        Rpc::SearchRecords | Rpc::CountReasons | Rpc::GetEvidence | Rpc::SubjectAccess => {
            matches!(role, Role::Auditor | Role::Officer)
        }
        // Sealing hides an exchange from its subjects, erasing a person from everybody: the operator's audit does so, on the word
        // of an authority.
        Rpc::SetDisclosure | Rpc::EraseSubject => matches!(role, Role::Auditor),
        // Who its end users are, an agency's officer says.
        Rpc::RegisterUser => matches!(role, Role::Officer),
        // Which two of the operators, the enrollment or the change itself decides.
        Rpc::CreateToken
        | Rpc::ListEnrollments
        | Rpc::ApproveEnrollment
        | Rpc::RejectEnrollment
        | Rpc::UnbindEnrollment
        | Rpc::ApproveChange
        | Rpc::RejectChange
        | Rpc::DecideDispute => matches!(role, Role::Operator),
        // A steward reads what is proposed and asks what it would change; signing it is the operators', the handler sees to
        // that.
        Rpc::ProposeChange | Rpc::GetChange | Rpc::ListChanges | Rpc::ReadFiles => {
            matches!(role, Role::Operator | Role::Steward)
        }
        // What does not match concerns two agencies at least; the operator's officers follow it up. An agency's officer sees
        // what concerns a node or system of his agency.
        Rpc::ListFindings | Rpc::WatchFindings => {
            matches!(role, Role::Operator | Role::Auditor | Role::Officer)
        }
        Rpc::CloseFinding | Rpc::NoteFinding => matches!(role, Role::Operator),
        // Whoever knew what trips a rule could stay below it.
        Rpc::ListWatchRules => matches!(role, Role::Operator | Role::Auditor),
        // How the mesh stands is for those who run it and those who watch it.
        Rpc::GetMeshStatus | Rpc::ListNodeStates => matches!(role, Role::Operator | Role::Auditor),
    }
}

/// Lets `caller` pass to `rpc`.
///
/// # Errors
/// `DENY_CERTIFICATE`, which says what the certificate is bound to and what the RPC is for.
pub fn admit(rpc: Rpc, caller: &Caller) -> Result<(), MeshError> {
    if allows(rpc, caller.role()) {
        return Ok(());
    }
    let detail = format!("{} is not for {caller}", rpc.path());
    Err(MeshError::new(Reason::DenyCertificate, detail).with_rule("R-34"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use lienthong_proto::descriptors;

    use super::*;

    /// The table as people review it: a change of who may call what is a change of this file.
    #[test]
    fn the_table_is_the_one_that_was_reviewed() {
        let mut table = format!("{:<60}", "rpc");
        for role in Role::ALL {
            write!(table, " {:<9}", role.name()).unwrap();
        }
        for &rpc in Rpc::ALL {
            write!(table, "\n{:<60}", rpc.path()).unwrap();
            for role in Role::ALL {
                write!(table, " {:<9}", if allows(rpc, role) { "yes" } else { "-" }).unwrap();
            }
        }
        let table: String = table.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        if std::env::var_os("LIENTHONG_GOLDEN").is_some_and(|set| set == "write") {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/access.txt"), &table).unwrap();
            return;
        }
        assert_eq!(table, include_str!("../tests/golden/access.txt"));
    }

    #[test]
    fn every_rpc_of_the_brokers_services_has_a_row() {
        let pool = descriptors::pool(descriptors::MESH).unwrap();
        let declared: BTreeSet<String> = pool
            .services()
            .filter(|service| !["NodeCatalogService", "DiagnosisService"].contains(&service.name()))
            .flat_map(|service| {
                service
                    .methods()
                    .map(|method| format!("/{}/{}", service.full_name(), method.name()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let rows: BTreeSet<String> = Rpc::ALL.iter().map(|rpc| rpc.path().to_owned()).collect();
        assert_eq!(rows, declared);
    }

    #[test]
    fn a_refusal_says_who_and_what() {
        let caller = Caller::System {
            name: "agencies/H26.90/systems/mot-cua".to_owned(),
            agency: "H26.90".to_owned(),
        };
        let error = admit(Rpc::ShipJournal, &caller).unwrap_err();
        assert_eq!(error.reason, Reason::DenyCertificate);
        assert!(error.detail.contains("ShipJournal") && error.detail.contains("mot-cua"), "{}", error.detail);
    }
}
