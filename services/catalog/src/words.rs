//! The closed lists of words of the data model, as files write them and services show them.

use lienthong_proto::lienthong::options::v1::{
    DecisionMode, Importance, MethodKind, Personal, ReleaseGate, Secrecy, Sharing,
};

use crate::catalog::{Bloc, DatabaseKind, EntryStatus, Level, Role};

/// The value of a word.
pub(crate) fn find<T: Copy>(words: &[(T, &str)], text: &str) -> Option<T> {
    words.iter().find(|(_, word)| *word == text).map(|(value, _)| *value)
}

/// The word of a value; each list holds every value of its type.
pub(crate) fn of<T: Copy + PartialEq>(words: &[(T, &'static str)], value: T) -> &'static str {
    words.iter().find(|(known, _)| *known == value).map_or("UNSPECIFIED", |(_, word)| word)
}

pub(crate) const BLOCS: &[(Bloc, &str)] = &[
    (Bloc::Party, "PARTY"),
    (Bloc::NationalAssembly, "NATIONAL_ASSEMBLY"),
    (Bloc::Government, "GOVERNMENT"),
    (Bloc::Court, "COURT"),
    (Bloc::Procuracy, "PROCURACY"),
    (Bloc::StateAudit, "STATE_AUDIT"),
    (Bloc::PresidentOffice, "PRESIDENT_OFFICE"),
    (Bloc::FatherlandFront, "FATHERLAND_FRONT"),
    (Bloc::Local, "LOCAL"),
];

pub(crate) const LEVELS: &[(Level, &str)] =
    &[(Level::Central, "CENTRAL"), (Level::Province, "PROVINCE"), (Level::Commune, "COMMUNE")];

pub(crate) const ROLES: &[(Role, &str)] = &[
    (Role::Provider, "PROVIDER"),
    (Role::Consumer, "CONSUMER"),
    (Role::Operator, "OPERATOR"),
    (Role::Auditor, "AUDITOR"),
];

pub(crate) const DATABASE_KINDS: &[(DatabaseKind, &str)] = &[
    (DatabaseKind::NationalDb, "NATIONAL_DB"),
    (DatabaseKind::SectoralDb, "SECTORAL_DB"),
    (DatabaseKind::AgencySharedDb, "AGENCY_SHARED_DB"),
    (DatabaseKind::LocalDb, "LOCAL_DB"),
    (DatabaseKind::NationalGeneralDb, "NATIONAL_GENERAL_DB"),
];

pub(crate) const STATUSES: &[(EntryStatus, &str)] = &[
    (EntryStatus::Draft, "DRAFT"),
    (EntryStatus::InReview, "IN_REVIEW"),
    (EntryStatus::Active, "ACTIVE"),
    (EntryStatus::Suspended, "SUSPENDED"),
    (EntryStatus::Retired, "RETIRED"),
];

pub(crate) const METHODS: &[(MethodKind, &str)] = &[
    (MethodKind::Query, "QUERY"),
    (MethodKind::SyncToConsumer, "SYNC_TO_CONSUMER"),
    (MethodKind::SyncToNationalDb, "SYNC_TO_NATIONAL_DB"),
    (MethodKind::OfflinePackage, "OFFLINE_PACKAGE"),
];

pub(crate) const SHARING: &[(Sharing, &str)] =
    &[(Sharing::Shared, "SHARED"), (Sharing::Private, "PRIVATE"), (Sharing::Open, "OPEN")];

pub(crate) const IMPORTANCE: &[(Importance, &str)] =
    &[(Importance::Other, "OTHER"), (Importance::Important, "IMPORTANT"), (Importance::Core, "CORE")];

pub(crate) const SECRECY: &[(Secrecy, &str)] = &[
    (Secrecy::None, "NONE"),
    (Secrecy::Confidential, "CONFIDENTIAL"),
    (Secrecy::Secret, "SECRET"),
    (Secrecy::TopSecret, "TOP_SECRET"),
];

pub(crate) const PERSONAL: &[(Personal, &str)] =
    &[(Personal::None, "NONE"), (Personal::Basic, "BASIC"), (Personal::Sensitive, "SENSITIVE")];

pub(crate) const RELEASE_GATES: &[(ReleaseGate, &str)] = &[
    (ReleaseGate::Journal, "JOURNAL"),
    (ReleaseGate::Receipt, "RECEIPT"),
    (ReleaseGate::Witnessed, "WITNESSED"),
];

pub(crate) const DECISIONS: &[(DecisionMode, &str)] =
    &[(DecisionMode::Local, "LOCAL"), (DecisionMode::Online, "ONLINE")];
