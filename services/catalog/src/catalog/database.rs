//! Databases, the datasets in them, and the law behind them.

use crate::words;

/// A database and the datasets in it.
#[derive(Debug, Clone)]
pub struct Database {
    /// Identifier.
    pub id: String,
    /// Vietnamese name.
    pub name_vi: String,
    /// Kind.
    pub kind: DatabaseKind,
    /// Code of its owner.
    pub owner_code: String,
    /// Legal basis.
    pub legal_basis: Vec<LegalBasis>,
    /// True where no dataset of it may enter the catalog.
    pub special_operational: bool,
    /// Sector, for the default right of local sector bodies; empty without one.
    pub sector: String,
    /// National lists that it stands on, for example `NQ71`: the report of a year counts how much of each is connected
    ///
    pub lists: Vec<String>,
    /// Datasets.
    pub datasets: Vec<DatabaseDataset>,
}

impl Database {
    /// The dataset with this id.
    pub fn dataset(&self, id: &str) -> Option<&DatabaseDataset> {
        self.datasets.iter().find(|dataset| dataset.id == id)
    }
}

/// Kind of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A national database (CSDL quốc gia).
    NationalDb,
    /// A database of one sector (CSDL chuyên ngành).
    SectoralDb,
    /// An agency's shared database (CSDL dùng chung): serves the units below the agency by default.
    AgencySharedDb,
    /// A local database: serves the units below its owner by default.
    LocalDb,
    /// The National General Database (CSDL tổng hợp quốc gia), where shared and master data is synchronised to.
    NationalGeneralDb,
}

impl DatabaseKind {
    /// The word of the data model.
    pub fn word(self) -> &'static str {
        words::of(words::DATABASE_KINDS, self)
    }
}

/// A dataset as its database lists it. What it consists of, its contract says.
#[derive(Debug, Clone)]
pub struct DatabaseDataset {
    /// Dataset id.
    pub id: String,
    /// True for master data: exactly one authoritative provider.
    pub master: bool,
}

/// An instrument and its article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegalBasis {
    /// Instrument, for example `278/2025/NĐ-CP`.
    pub instrument: String,
    /// Article, for example `Điều 8`; may be empty.
    pub article: String,
    /// Remark; may be empty.
    pub note: String,
}

impl std::fmt::Display for LegalBasis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.instrument)?;
        if !self.article.is_empty() {
            write!(f, ", {}", self.article)?;
        }
        if !self.note.is_empty() {
            write!(f, " ({})", self.note)?;
        }
        Ok(())
    }
}
