//! Rights that need no entry: the data that an agency created is shared back to it, a local sector body gets
//! its sector's data, and a level's shared database serves that level's units.

use lienthong_proto::lienthong::control::v1::{Dataset, Right, RightOrigin};
use lienthong_proto::lienthong::options::v1::{DecisionMode, MethodKind, Purpose, ReleaseGate, Sharing};

use super::{Work, seconds};
use crate::catalog::{Agency, Bloc, Classification, Database, DatabaseKind};
use crate::code;
use crate::contract::ContractDataset;

/// Where these rights come from.
const LEGAL_BASIS: &str = "194/2025/NĐ-CP, Điều 16.1 (R-07)";

impl Work<'_> {
    /// Adds the default rights to every dataset that a contract declares.
    pub(super) fn default_rights(&mut self) {
        for (provider, published) in self.published.clone() {
            for dataset in published.model.datasets() {
                let database = self.catalog.database_of(dataset.id());
                let key = (provider.to_owned(), dataset.id().to_owned());
                self.datasets.entry(key).or_insert_with(|| unlisted(provider, dataset));
                self.rights.push(own(provider, dataset));
                let others = self.catalog.agencies().iter().filter(|agency| {
                    agency.code != provider
                        && agency.is_consumer()
                        && database
                            .is_some_and(|database| is_served_by_default(agency, provider, database, dataset))
                });
                self.rights.extend(others.map(|agency| default(provider, dataset, &agency.code)));
            }
        }
    }
}

fn is_served_by_default(
    agency: &Agency,
    provider: &str,
    database: &Database,
    dataset: &ContractDataset,
) -> bool {
    let below = code::is_within(&agency.code, provider);
    let shared_database =
        below && matches!(database.kind, DatabaseKind::AgencySharedDb | DatabaseKind::LocalDb);
    let sector_body = agency.bloc == Bloc::Local
        && !database.sector.is_empty()
        && agency.sectors.contains(&database.sector);
    let stays_private = dataset.options().sharing() == Sharing::Private && !below;
    (shared_database || sector_body) && !stays_private
}

/// The provider's right to its own data, sensitive fields included.
fn own(provider: &str, dataset: &ContractDataset) -> Right {
    let sensitive =
        dataset.fields().iter().filter(|field| field.is_sensitive()).map(|field| field.id.clone());
    let open = dataset.fields().iter().any(|field| !field.is_sensitive()).then(|| "*".to_owned());
    Right { fields: open.into_iter().chain(sensitive).collect(), ..default(provider, dataset, provider) }
}

fn default(provider: &str, dataset: &ContractDataset, consumer: &str) -> Right {
    const METHODS: [MethodKind; 4] = [
        MethodKind::Query,
        MethodKind::SyncToConsumer,
        MethodKind::SyncToNationalDb,
        MethodKind::OfflinePackage,
    ];
    Right {
        id: format!("R-07/{provider}/{}/{consumer}", dataset.id()),
        dataset: dataset.id().to_owned(),
        provider: provider.to_owned(),
        consumer: consumer.to_owned(),
        purpose: Purpose::Unspecified.into(),
        fields: vec!["*".to_owned()],
        methods: METHODS.map(i32::from).into(),
        valid_from: Some(prost_types::Timestamp::default()),
        origin: RightOrigin::Default.into(),
        legal_basis: vec![LEGAL_BASIS.to_owned()],
        ..Right::default()
    }
}

/// A dataset without an entry in force, by its contract's class alone.
fn unlisted(provider: &str, dataset: &ContractDataset) -> Dataset {
    let class = Classification::from(dataset.options());
    Dataset {
        id: dataset.id().to_owned(),
        provider: provider.to_owned(),
        release_gate: ReleaseGate::Journal.into(),
        decision_mode: DecisionMode::Local.into(),
        min_security_level: class.security_level_min(),
        bundle_age_max: Some(seconds(class.bundle_age_max())),
        legal_basis: vec![LEGAL_BASIS.to_owned()],
        ..Dataset::default()
    }
}
