//! One dataset of a national register, and as many consumers with rights to it as are asked for: the bundle of the
//! provider's node.

use std::iter;

use lienthong_catalog::purpose;
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::control::v1::{
    Contract, Dataset, Party, Right, RightOrigin, RightsBundle, System,
};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose};
use prost_types::Timestamp;

/// Purposes that each consumer has a right for.
pub const PURPOSES: usize = 8;
/// The method that is asked for.
pub const METHOD: &str = "/vn.dancu.v1.CitizenService/GetCitizen";

const PROVIDER: &str = "G01";
const DATASET: &str = "dancu.cong_dan";

/// Code and system of a consumer.
pub fn names(number: usize) -> (String, String) {
    let code = format!("H26.{number}");
    let system = format!("agencies/{code}/systems/mot-cua");
    (code, system)
}

/// So many consumers with [`PURPOSES`] rights each, which reach the rows that meet `condition`.
pub fn bundle(consumers: usize, condition: &str) -> RightsBundle {
    let party = |code: &str| Party { code: code.to_owned(), security_level: 3, ..Party::default() };
    let purposes = || purpose::WORDS.iter().take(PURPOSES).map(|(purpose, _)| *purpose);
    RightsBundle {
        mesh: "bench".to_owned(),
        audience: format!("agencies/{PROVIDER}/nodes/n1"),
        epoch: 1,
        parties: iter::once(party(PROVIDER))
            .chain((0..consumers).map(|number| party(&names(number).0)))
            .collect(),
        systems: (0..consumers).map(system).collect(),
        contracts: vec![Contract {
            provider: PROVIDER.to_owned(),
            hash: vec![0; 32].into(),
            descriptor_set: descriptors::DANCU.into(),
            ..Contract::default()
        }],
        datasets: vec![Dataset {
            id: DATASET.to_owned(),
            provider: PROVIDER.to_owned(),
            min_security_level: 3,
            bundle_age_max: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
            ..Dataset::default()
        }],
        rights: (0..consumers)
            .flat_map(|number| purposes().map(move |purpose| right(number, purpose, condition)))
            .collect(),
        ..RightsBundle::default()
    }
}

fn system(number: usize) -> System {
    let (agency, name) = names(number);
    System { name, agency, security_level: 3, ..System::default() }
}

fn right(number: usize, purpose: Purpose, condition: &str) -> Right {
    let (consumer, _) = names(number);
    Right {
        id: format!("CE-0001/{consumer}/{}", purpose::word(purpose)),
        dataset: DATASET.to_owned(),
        provider: PROVIDER.to_owned(),
        consumer,
        purpose: purpose.into(),
        fields: ["so_dinh_danh", "ho_ten", "noi_thuong_tru"].map(str::to_owned).into(),
        methods: vec![MethodKind::Query.into()],
        valid_from: Some(Timestamp::default()),
        origin: RightOrigin::CatalogMandatory.into(),
        legal_basis: vec!["278/2025/NĐ-CP, Điều 8".to_owned()],
        condition: condition.to_owned(),
        ..Right::default()
    }
}
