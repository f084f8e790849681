//! A bundle of three sample agencies, written by hand, so that decisions are tested apart from the compiler.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // test code; each test file uses its part

pub mod proto;

use std::time::Duration;

use lienthong_catalog::{Method, Question, Resolution, RightsIndex};
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::lienthong::control::v1::{
    CertificateBinding, Contract, Dataset, Node, Party, Right, RightOrigin, RightsBundle, System,
};
use lienthong_proto::lienthong::options::v1::{DecisionMode, MethodKind, Purpose};
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::macros::datetime;

pub const NOW: OffsetDateTime = datetime!(2026-11-21 02:14:07 UTC);
pub const GET_CITIZEN: &str = "/vn.dancu.v1.CitizenService/GetCitizen";
pub const SYNC_CITIZENS: &str = "/vn.dancu.v1.CitizenService/SyncCitizens";
pub const VERIFY: &str = "/vn.dancu.v1.CitizenService/VerifyRecord";
pub const GET_UNIT: &str = "/vn.danhmuc.v1.AdministrativeUnitService/GetAdministrativeUnit";
pub const GET_ENTERPRISE: &str = "/vn.dkdn.v1.EnterpriseService/GetEnterprise";

pub fn binding(seed: u8) -> CertificateBinding {
    CertificateBinding { issuer: "CN=DEMO – CA".into(), serial: vec![seed], spki_sha256: vec![seed; 32] }
}

pub fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: at.nanosecond().cast_signed() }
}

pub fn party(code: &str, outside: bool, security_level: u32) -> Party {
    Party { code: code.into(), name_vi: format!("Cơ quan mẫu {code}"), outside, security_level }
}

pub fn system(agency: &str, name: &str, security_level: u32, seed: u8) -> System {
    System {
        name: format!("agencies/{agency}/systems/{name}"),
        agency: agency.into(),
        security_level,
        certificates: vec![binding(seed)],
        ..System::default()
    }
}

pub fn right(id: &str, dataset: (&str, &str), consumer: &str, purpose: Purpose, fields: &[&str]) -> Right {
    Right {
        id: id.into(),
        dataset: dataset.0.into(),
        provider: dataset.1.into(),
        consumer: consumer.into(),
        purpose: purpose.into(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        methods: vec![MethodKind::Query.into()],
        valid_from: Some(timestamp(datetime!(2026-11-01 00:00 UTC))),
        origin: RightOrigin::CatalogMandatory.into(),
        legal_basis: vec!["278/2025/NĐ-CP, Điều 8".into()],
        ..Right::default()
    }
}

pub fn dataset(id: &str, provider: &str) -> Dataset {
    Dataset {
        id: id.into(),
        provider: provider.into(),
        decision_mode: DecisionMode::Local.into(),
        min_security_level: 2,
        bundle_age_max: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        entry: "CE-0001@1".into(),
        ..Dataset::default()
    }
}

pub const CITIZENS: (&str, &str) = ("dancu.cong_dan", "G01");
pub const RESIDENCE: (&str, &str) = ("dancu.xac_nhan_cu_tru", "G01");
pub const UNITS: (&str, &str) = ("danhmuc.dvhc", "G09");
pub const ENTERPRISES: (&str, &str) = ("dkdn.doanh_nghiep", "G12");

/// The rights of scenario 1, open units, and a right that fails for each term.
pub fn bundle() -> RightsBundle {
    RightsBundle {
        mesh: "demo".into(),
        audience: "agencies/G01/nodes/n1".into(),
        epoch: 7,
        issue_time: Some(timestamp(NOW)),
        parties: vec![
            party("G01", false, 3),
            party("G09", false, 3),
            party("G12", false, 1),
            party("G12.90", false, 3),
            party("H26.90", false, 3),
            party("H29", false, 3),
            party("9900000099", true, 0),
        ],
        nodes: vec![node("G01", 1), node("H26.90", 2), node("9900000099", 3)],
        systems: vec![
            system("H26.90", "mot-cua", 3, 11),
            system("H26.90", "cu", 1, 12),
            system("G12.90", "thue", 3, 13),
        ],
        contracts: vec![
            contract("G01", descriptors::DANCU),
            contract("G09", descriptors::DANHMUC),
            contract("G12", descriptors::DKDN),
        ],
        datasets: vec![
            dataset("dancu.cong_dan", "G01"),
            dataset("dancu.xac_nhan_cu_tru", "G01"),
            Dataset { min_security_level: 0, ..dataset("danhmuc.dvhc", "G09") },
            dataset("dkdn.doanh_nghiep", "G12"),
        ],
        rights: rights(),
        ..RightsBundle::default()
    }
}

fn rights() -> Vec<Right> {
    let three = &["so_dinh_danh", "ho_ten", "noi_thuong_tru"];
    vec![
        right("CE-0001/H26.90/ADMIN_PROCEDURE", CITIZENS, "H26.90", Purpose::AdminProcedure, three),
        Right {
            valid_to: Some(timestamp(datetime!(2026-11-20 00:00 UTC))),
            ..right("CE-0001/H26.90/STATISTICS", CITIZENS, "H26.90", Purpose::Statistics, &["*"])
        },
        Right {
            suspended: true,
            ..right("CE-0001/H26.90/DISPUTE_AUDIT", CITIZENS, "H26.90", Purpose::DisputeAudit, &["*"])
        },
        right("CE-0002/H26.90/VERIFICATION", RESIDENCE, "H26.90", Purpose::Verification, &["*"]),
        right("CE-0007/G12.90/STATE_MANAGEMENT", ENTERPRISES, "G12.90", Purpose::StateManagement, &["*"]),
        Right {
            origin: RightOrigin::Open.into(),
            ..right("CE-0013/OPEN", UNITS, "", Purpose::Unspecified, &["*"])
        },
    ]
}

pub fn node(agency: &str, seed: u8) -> Node {
    Node {
        name: format!("agencies/{agency}/nodes/n1"),
        agency: agency.into(),
        address: "127.0.0.1:7101".into(),
        server_name: "n1.demo.invalid".into(),
        certificates: vec![binding(seed)],
    }
}

pub fn contract(provider: &str, descriptor_set: &'static [u8]) -> Contract {
    Contract {
        provider: provider.into(),
        hash: vec![0; 32].into(),
        descriptor_set: descriptor_set.into(),
        ..Contract::default()
    }
}

pub fn index() -> RightsIndex {
    let index = RightsIndex::from_bundle(&bundle()).unwrap();
    assert!(index.problems().is_empty(), "{:?}", index.problems());
    index
}

pub fn method(index: &RightsIndex, path: &str) -> std::sync::Arc<Method> {
    match index.method(path, None) {
        Resolution::One(method) => method,
        other => panic!("{path}: {other:?}"),
    }
}

pub fn question<'a>(method: &'a Method, consumer: &'a str, purpose: &'a str) -> Question<'a> {
    Question {
        method,
        consumer,
        system: None,
        purpose: Some(purpose),
        place: None,
        purpose_source: PurposeSource::Caller,
        requested_fields: None,
        dossier: Some("H26.90-261121-0001"),
        user: None,
        min_epoch: 0,
        now: NOW,
        rights_age: Duration::ZERO,
        clock_behind: false,
    }
}
