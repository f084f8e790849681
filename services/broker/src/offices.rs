//! The offices of the broker: whoever keeps and changes what it decides by, taken up from the store together.

use std::sync::Arc;

use lienthong_certs::Judge;
use lienthong_transport::Connections;
use tokio::sync::watch;

use crate::arbiter::{Arbiter, Book};
use crate::chancery::Chancery;
use crate::config::BrokerConfig;
use crate::declared::Declared;
use crate::enrollment::enrolled;
use crate::error::BrokerError;
use crate::issuer::Issuer;
use crate::ledger::Ledger;
use crate::masking::MaskingSecret;
use crate::metrics::BrokerMetrics;
use crate::registrar::{House, Registrar};
use crate::shelf::Shelf;
use crate::state::log_dir;
use crate::steward::{Grounds, Standing, Steward};

/// The offices.
#[derive(Clone, Debug)]
pub struct Offices {
    /// Changes what the mesh decides by.
    pub steward: Arc<Steward>,
    /// Keeps enrollments.
    pub registrar: Arc<Registrar>,
    /// Keeps changes of the catalog.
    pub chancery: Arc<Chancery>,
    /// Keeps refusals and disputes.
    pub arbiter: Arc<Arbiter>,
}

/// What the offices stand on.
#[derive(Debug)]
pub struct Foundation {
    /// Stores.
    pub shelf: Shelf,
    /// Puts on record.
    pub ledger: Ledger,
    /// Counts.
    pub metrics: BrokerMetrics,
    /// Judges certificates; replaced at each reload.
    pub judge: watch::Receiver<Arc<Judge>>,
    /// Where connections are found.
    pub connections: Connections,
    /// Gives the keys of HASH masking.
    pub masking: MaskingSecret,
}

impl Offices {
    /// Opens them: the catalog in force, what was enrolled, what is suspended; and issues the first generation.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn open(
        config: &BrokerConfig,
        declared: &Declared,
        grounds: Grounds,
        foundation: Foundation,
    ) -> Result<Offices, BrokerError> {
        let Foundation { shelf, ledger, metrics, judge, connections, masking } = foundation;
        let judging = judge.borrow().clone();
        let opened = Chancery::open(&shelf, declared, &config.mesh, &judging).await?;
        let (stored, book) = (shelf.enrollments().await?, Book::open(&shelf).await?);
        let standing = Standing {
            opened: &opened,
            suspensions: Arc::new(book.suspensions()),
            enrolled: enrolled(&stored),
            masking,
        };
        let issuer = Issuer::new(ledger.clone(), shelf.clone());
        let steward =
            Steward::open(&config.mesh, declared.clone(), grounds, standing, &shelf, issuer, metrics.clone())
                .await?;
        let house = House {
            mesh: config.mesh.as_str().into(),
            steward: Arc::new(steward),
            ledger,
            shelf,
            judge,
            connections,
        };
        let log = log_dir(&config.data_dir);
        Ok(Offices {
            steward: Arc::clone(&house.steward),
            chancery: Arc::new(Chancery::new(&house, log.clone(), opened, declared)),
            arbiter: Arc::new(Arbiter::new(book, &house, metrics, Arc::clone(&declared.duty), log)),
            registrar: Arc::new(Registrar::new(house, stored)),
        })
    }
}
