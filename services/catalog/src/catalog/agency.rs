//! Who takes part: agencies of the political system, and parties outside of it.

use lienthong_proto::lienthong::control::v1::System;
use lienthong_proto::lienthong::options::v1::Purpose;

use crate::words;

/// An agency of the political system.
#[derive(Debug, Clone)]
pub struct Agency {
    /// Agency code (QĐ 20/2020).
    pub code: String,
    /// Vietnamese name.
    pub name_vi: String,
    /// English name; may be empty.
    pub name_en: String,
    /// Bloc of the political system.
    pub bloc: Bloc,
    /// Level.
    pub level: Level,
    /// Parts that it plays.
    pub roles: Vec<Role>,
    /// Approved information-system security level, 1–5; 0 without one.
    pub security_level: u32,
    /// Sectors that it works in, for `SECTOR:<name>` and the default right of local sector bodies.
    pub sectors: Vec<String>,
    /// The person in charge of data.
    pub contact: Contact,
    /// False once merged or dissolved.
    pub is_active: bool,
    /// Code of the agency that took over; empty without one.
    pub successor_code: String,
    /// Its information systems.
    pub systems: Vec<AgencySystem>,
}

impl Agency {
    /// True where the agency may be given rights.
    pub fn is_consumer(&self) -> bool {
        self.is_active && self.roles.contains(&Role::Consumer)
    }

    /// True where the agency may serve data.
    pub fn is_provider(&self) -> bool {
        self.is_active && self.roles.contains(&Role::Provider)
    }

    pub(super) fn unbound_systems(&self) -> impl Iterator<Item = System> {
        self.systems.iter().map(|system| System {
            name: system_name(&self.code, &system.id),
            agency: self.code.clone(),
            security_level: system.security_level,
            default_purpose: system.default_purpose.into(),
            ..System::default()
        })
    }
}

/// Resource name of a node.
pub fn node_name(agency: &str, id: &str) -> String {
    format!("agencies/{agency}/nodes/{id}")
}

/// Resource name of an information system.
pub fn system_name(agency: &str, id: &str) -> String {
    format!("agencies/{agency}/systems/{id}")
}

/// An information system as its agency had it approved.
#[derive(Debug, Clone)]
pub struct AgencySystem {
    /// Identifier within the agency.
    pub id: String,
    /// Vietnamese name.
    pub name_vi: String,
    /// Approved security level, 1–5.
    pub security_level: u32,
    /// Purpose of a call that states none; `UNSPECIFIED`: each call must state one.
    pub default_purpose: Purpose,
}

/// The person in charge of data.
#[derive(Debug, Clone, Default)]
pub struct Contact {
    /// Name.
    pub name: String,
    /// Position.
    pub position: String,
    /// Telephone.
    pub phone: String,
    /// E-mail.
    pub email: String,
}

/// Bloc of the political system (NĐ 278/2025 Article 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bloc {
    /// The Party (Đảng).
    Party,
    /// The National Assembly (Quốc hội).
    NationalAssembly,
    /// The Government (Chính phủ).
    Government,
    /// The courts (Tòa án).
    Court,
    /// The procuracies (Viện kiểm sát).
    Procuracy,
    /// The State Audit (Kiểm toán nhà nước).
    StateAudit,
    /// The President's Office (Văn phòng Chủ tịch nước).
    PresidentOffice,
    /// The Fatherland Front and the socio-political organisations (Mặt trận Tổ quốc).
    FatherlandFront,
    /// Local authorities (địa phương).
    Local,
}

/// Level of an agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Central (trung ương).
    Central,
    /// Province or centrally run city (tỉnh).
    Province,
    /// Commune (xã).
    Commune,
}

impl Bloc {
    /// The word of the data model.
    pub fn word(self) -> &'static str {
        words::of(words::BLOCS, self)
    }
}

impl Level {
    /// The word of the data model.
    pub fn word(self) -> &'static str {
        words::of(words::LEVELS, self)
    }
}

/// A part that an agency plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serves data.
    Provider,
    /// Is given rights.
    Consumer,
    /// Runs the mesh.
    Operator,
    /// Reads the log.
    Auditor,
}

/// A party outside the political system: registered, and never entitled.
#[derive(Debug, Clone)]
pub struct OutsideParty {
    /// Business number, or code of another scheme.
    pub code: String,
    /// Vietnamese name.
    pub name_vi: String,
}
