//! What an index makes of a bundle: contradictions refuse it whole, nonsense in it is left out and told.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use std::sync::LazyLock;

use common::{CITIZENS, GET_CITIZEN, NOW, binding, bundle, index, method, proto, question, right, timestamp};
use lienthong_catalog::{BundleError, Question, Resolution, RightsIndex, decide};
use lienthong_filter::Report;
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::control::v1::{Dataset, Right, RightOrigin, RightsBundle};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose};
use lienthong_proto::reason::Reason;
use lienthong_proto::vn::dancu::v1::{Citizen, GetCitizenResponse};
use proptest::prelude::*;
use prost::Message;

#[test]
fn identities_come_from_certificates() {
    let index = index();
    assert_eq!((index.mesh(), index.audience(), index.epoch()), ("demo", "agencies/G01/nodes/n1", 7));
    assert_eq!(index.party_of_node(&binding(2)).unwrap().code, "H26.90");
    assert_eq!(index.node_of_certificate(&binding(2)).unwrap().name, "agencies/H26.90/nodes/n1");
    assert_eq!(index.system_of(&binding(11)).unwrap().name, "agencies/H26.90/systems/mot-cua");
    assert!(index.party_of_node(&binding(11)).is_none(), "a system is no node");
    assert!(index.system_of(&binding(2)).is_none(), "a node is no system");
    let mut other = binding(2);
    other.serial.push(0);
    assert!(index.party_of_node(&other).is_none());
    other = binding(2);
    other.spki_sha256[31] ^= 1;
    assert!(index.party_of_node(&other).is_none(), "a renewed key is another certificate");
    assert_eq!(index.nodes_of("G01").len(), 1);
    assert!(index.nodes_of("G12.90").is_empty() && index.nodes_of("G0").is_empty());
    assert_eq!(index.contract("G01").unwrap().descriptor_set, descriptors::DANCU);
}

/// A change to the bundle, and the error that it makes.
type Refusal = (fn(&mut RightsBundle), &'static str);

#[rustfmt::skip]
static REFUSALS: &[Refusal] = &[
    (|b| b.mesh.clear(), "names no mesh"),
    (|b| b.audience.clear(), "names no audience"),
    (|b| b.epoch = 0, "names no epoch"),
    (|b| b.parties.push(b.parties[0].clone()), "holds party G01 twice"),
    (|b| b.nodes.push(b.nodes[0].clone()), "holds node agencies/G01/nodes/n1 twice"),
    (|b| b.systems.push(b.systems[0].clone()), "holds system agencies/H26.90/systems/mot-cua twice"),
    (|b| b.datasets.push(b.datasets[0].clone()), "holds dataset G01/dancu.cong_dan twice"),
    (|b| b.contracts.push(b.contracts[0].clone()), "holds the contract of G01 twice"),
    (|b| b.nodes[0].agency = "G99".into(), "belongs to G99, which is no party"),
    (|b| b.systems[0].agency = "G99".into(), "belongs to G99, which is no party"),
    (|b| b.nodes[1].certificates = vec![binding(1)], "is bound to another one too"),
    (|b| b.systems[1].certificates = vec![binding(11)], "is bound to another one too"),
    (|b| b.nodes[0].certificates[0].issuer.clear(), "not bound by issuer, serial and key"),
    (|b| b.nodes[0].certificates[0].serial.clear(), "not bound by issuer, serial and key"),
    (|b| b.nodes[0].certificates[0].spki_sha256.truncate(31), "not bound by issuer, serial and key"),
];

#[test]
fn a_bundle_that_contradicts_itself_is_refused() {
    for (change, words) in REFUSALS {
        let mut bundle = bundle();
        change(&mut bundle);
        let error = RightsIndex::from_bundle(&bundle).unwrap_err();
        assert!(error.to_string().contains(words), "{error} does not say {words}");
    }
    assert_eq!(RightsIndex::from_bundle(&RightsBundle::default()).unwrap_err(), BundleError::Header("mesh"));
}

#[test]
fn a_bundle_that_follows_another_is_indexed_as_if_it_stood_alone() {
    let first = RightsIndex::from_bundle(&bundle()).unwrap();
    let mut broken = RightsBundle { epoch: 8, ..bundle() };
    // Its provider, and the hash that it states, are those of the one before.
    broken.contracts[0].descriptor_set = vec![0xff].into();
    let mended = RightsBundle { epoch: 9, ..bundle() };
    let shape = |index: &RightsIndex| {
        let methods: Vec<_> = index.methods().iter().map(|method| format!("{method:?}")).collect();
        (index.epoch(), methods, index.problems().to_vec())
    };
    let mut index = first.clone();
    for bundle in [RightsBundle { epoch: 7, ..bundle() }, broken, mended] {
        index = index.followed_by(&bundle).unwrap();
        assert_eq!(shape(&index), shape(&RightsIndex::from_bundle(&bundle).unwrap()));
        assert_eq!(index.problems().is_empty(), bundle.epoch != 8);
    }
    assert_eq!(shape(&index).1, shape(&first).1);
    assert!(first.followed_by(&RightsBundle::default()).is_err());
}

#[test]
fn old_and_new_certificate_of_a_renewal_stand_for_the_same_node() {
    let mut bundle = bundle();
    bundle.nodes[0].certificates = vec![binding(1), binding(9), binding(9)];
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    for seed in [1, 9] {
        assert_eq!(index.party_of_node(&binding(seed)).unwrap().code, "G01");
    }
}

/// A change to the right of scenario 1 that makes it nonsense, and what is told.
type Nonsense = (fn(&mut Right), &'static str);

#[rustfmt::skip]
static NONSENSE: &[Nonsense] = &[
    (|r| r.dataset = "dancu.khac".into(), "its dataset is not in the bundle"),
    (|r| r.provider = "G12".into(), "its dataset is not in the bundle"),
    (|r| r.consumer = "H99".into(), "its consumer is not in the bundle"),
    (|r| r.consumer = "9900000099".into(), "outside the political system (R-15)"),
    (|r| r.consumer.clear(), "only open data may be granted to everybody"),
    (|r| { r.consumer.clear(); r.origin = RightOrigin::Open.into(); r.purpose = 0; }, "only open data may be granted to everybody"),
    (|r| r.system = "agencies/H26.90/systems/x".into(), "its system is not in the bundle"),
    (|r| r.system = "agencies/G12.90/systems/thue".into(), "its system is not the consumer's"),
    (|r| r.purpose = 0, "it states no purpose"),
    (|r| r.purpose = 99, "its purpose is unknown"),
    (|r| r.purpose = Purpose::Commercial.into(), "trade is no purpose"),
    (|r| r.origin = 0, "does not say where it comes from"),
    (|r| r.origin = 99, "does not say where it comes from"),
    (|r| r.methods.clear(), "which methods it grants"),
    (|r| r.methods.push(0), "which methods it grants"),
    (|r| r.methods.push(99), "which methods it grants"),
    (|r| r.valid_from = None, "from when it is valid"),
    (|r| r.valid_from = Some(prost_types::Timestamp { seconds: 0, nanos: -1 }), "from when it is valid"),
    (|r| r.valid_to = Some(prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 }), "its end is no time"),
    (|r| r.fields = vec!["khong_co".into()], "its field list does not fit the contract"),
    (|r| r.fields.clear(), "its field list does not fit the contract"),
    (|r| r.masked_fields = vec!["*".into()], "its field list does not fit the contract"),
];

#[test]
fn a_right_that_makes_no_sense_allows_nothing_and_is_told() {
    for (change, words) in NONSENSE {
        let mut bundle = bundle();
        change(&mut bundle.rights[0]);
        let index = RightsIndex::from_bundle(&bundle).unwrap();
        assert!(index.problems().len() == 1 && index.problems()[0].contains(words), "{:?}", index.problems());
        let get = method(&index, GET_CITIZEN);
        assert!(decide(&index, &question(&get, "H26.90", "ADMIN_PROCEDURE")).is_err(), "{words}");
        assert!(decide(&index, &question(&get, "H29", "ADMIN_PROCEDURE")).is_err(), "{words}");
    }
}

#[test]
fn words_that_this_version_does_not_know_allow_nothing() {
    for change in [(|d| d.decision_mode = 99) as fn(&mut Dataset), |d| d.release_gate = 99] {
        let mut bundle = bundle();
        change(&mut bundle.datasets[0]);
        let index = RightsIndex::from_bundle(&bundle).unwrap();
        assert!(index.problems()[0].contains("unknown gate or decision"), "{:?}", index.problems());
        assert!(matches!(index.method(GET_CITIZEN, None), Resolution::Unknown));
    }
}

#[test]
fn a_second_right_of_the_same_id_is_left_out() {
    let mut bundle = bundle();
    let twin = Right { purpose: Purpose::PublicService.into(), ..bundle.rights[0].clone() };
    bundle.rights.push(twin);
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    assert!(index.problems()[0].contains("its id comes twice"));
    let get = method(&index, GET_CITIZEN);
    assert!(decide(&index, &question(&get, "H26.90", "PUBLIC_SERVICE")).is_err());
}

#[test]
fn private_data_stays_inside_the_owner_s_subtree() {
    let text = proto::sample("vn/dancu/v1/citizen.proto").replacen("SHARING_SHARED", "SHARING_PRIVATE", 1);
    let mut bundle = bundle();
    bundle.contracts[0].descriptor_set = proto::compile(&text).into();
    for code in ["G01.90", "G010"] {
        bundle.parties.push(common::party(code, false, 3));
        let id = format!("right of {code}");
        bundle.rights.push(right(&id, CITIZENS, code, Purpose::StateManagement, &["*"]));
    }
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    assert!(decide(&index, &question(&get, "G01.90", "STATE_MANAGEMENT")).is_ok());
    for outside in ["G010", "H26.90"] {
        assert!(decide(&index, &question(&get, outside, "STATE_MANAGEMENT")).is_err(), "{outside}");
    }
    assert!(index.problems().iter().all(|problem| problem.contains("(R-23)")));
}

#[test]
fn one_path_of_several_providers_must_say_which() {
    let mut bundle = bundle();
    bundle.contracts.push(common::contract("H29", descriptors::DANCU));
    bundle.datasets.push(common::dataset("dancu.cong_dan", "H29"));
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    match index.method(GET_CITIZEN, None) {
        Resolution::Ambiguous(providers) => assert_eq!(providers, ["G01", "H29"]),
        other => panic!("{other:?}"),
    }
    for provider in ["G01", "H29"] {
        match index.method(GET_CITIZEN, Some(provider)) {
            Resolution::One(method) => assert_eq!(method.provider(), provider),
            other => panic!("{other:?}"),
        }
    }
    for (path, provider) in
        [(GET_CITIZEN, Some("G12")), (GET_CITIZEN, Some("")), ("", None), ("/x/Y", Some("G01"))]
    {
        assert!(matches!(index.method(path, provider), Resolution::Unknown), "{path} {provider:?}");
    }
    let get = match index.method(GET_CITIZEN, Some("H29")) {
        Resolution::One(method) => method,
        other => panic!("{other:?}"),
    };
    let denial = decide(&index, &question(&get, "H26.90", "ADMIN_PROCEDURE")).unwrap_err();
    assert_eq!(denial.reason, Reason::DenyNotEntitled, "a right to G01's data is none to H29's");
}

#[test]
fn hashed_fields_need_the_consumer_s_key() {
    let text = proto::sample("vn/dancu/v1/citizen.proto").replacen(
        "label_vi: \"Quê quán\"",
        "label_vi: \"Quê quán\" masking: MASKING_HASH",
        1,
    );
    let mut bundle = bundle();
    bundle.contracts[0].descriptor_set = proto::compile(&text).into();
    bundle.rights = ["H26.90", "H29"]
        .map(|consumer| Right {
            masked_fields: vec!["que_quan".into()],
            ..right(consumer, CITIZENS, consumer, Purpose::AdminProcedure, &["ho_ten"])
        })
        .into();
    let released = |index: &RightsIndex, consumer: &str, requested: Option<Vec<&str>>| {
        let get = method(index, GET_CITIZEN);
        let asked = Question { requested_fields: requested, ..question(&get, consumer, "ADMIN_PROCEDURE") };
        let permitted = decide(index, &asked).unwrap();
        let citizen =
            Citizen { ho_ten: "Nguyễn Văn Mẫu".into(), que_quan: "Mẫu".into(), ..Citizen::default() };
        let message = GetCitizenResponse { citizen: Some(citizen) }.encode_to_vec();
        let mut out = Vec::new();
        permitted.plan().apply(&message, &mut out, &mut Report::default()).unwrap();
        GetCitizenResponse::decode(out.as_slice()).unwrap().citizen.unwrap_or_default().que_quan
    };
    let keyless = RightsIndex::from_bundle(&bundle).unwrap();
    assert_eq!(released(&keyless, "H26.90", None), "", "without a key the field stays at home");
    bundle.rights[0].hash_key = vec![1; 31];
    let half = RightsIndex::from_bundle(&bundle).unwrap();
    assert_eq!(released(&half, "H26.90", None), "", "half a key is none");

    for (right, byte) in bundle.rights.iter_mut().zip(1..) {
        right.hash_key = vec![byte; 32];
    }
    let keyed = RightsIndex::from_bundle(&bundle).unwrap();
    let (first, second) = (released(&keyed, "H26.90", None), released(&keyed, "H29", None));
    assert_eq!((first.len(), second.len()), (32, 32));
    assert_ne!(first, second, "each consumer has its own tokens");
    assert_eq!(released(&keyed, "H26.90", Some(vec!["que_quan"])), first, "asked for by name: still masked");

    // Another agency's node gets the field as its provider has masked it.
    bundle.audience = "agencies/H26.90/nodes/n1".into();
    bundle.rights.iter_mut().for_each(|right| right.hash_key.clear());
    let consumer = RightsIndex::from_bundle(&bundle).unwrap();
    assert_eq!(released(&consumer, "H26.90", None), "Mẫu");
}

#[test]
fn problems_are_bounded() {
    let mut bundle = bundle();
    bundle.rights = (0..1500).map(|n| Right { id: n.to_string(), ..Right::default() }).collect();
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    assert_eq!(index.problems().len(), 1001);
    assert_eq!(index.problems()[1000], "and 500 more");
}

static INDEX: LazyLock<RightsIndex> = LazyLock::new(index);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_bundles_are_indexed_or_refused_without_a_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut small = bundle();
        small.contracts.truncate(2);
        let mut bytes = small.encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(bundle) = RightsBundle::decode(bytes.as_slice()) {
            let _ = RightsIndex::from_bundle(&bundle);
        }
    }

    #[test]
    fn a_right_decides_for_its_own_consumer_alone(code in "[GH][0-9]{2}(\\.[0-9A-Z]{1,2}){0,2}") {
        let index = &*INDEX;
        let get = method(index, GET_CITIZEN);
        let allowed = decide(index, &question(&get, &code, "ADMIN_PROCEDURE")).is_ok();
        prop_assert_eq!(allowed, code == "H26.90");
    }

    #[test]
    fn texts_of_a_call_are_judged_without_a_panic(purpose in "\\PC{0,20}", dossier in "\\PC{0,30}", user in "\\PC{0,80}", field in "\\PC{0,20}", consumer in "\\PC{0,10}", system in "\\PC{0,10}") {
        let index = &*INDEX;
        let get = method(index, GET_CITIZEN);
        let asked = Question {
            consumer: &consumer,
            system: Some(&system),
            dossier: Some(&dossier),
            user: Some(&user),
            requested_fields: Some(vec![&field]),
            ..question(&get, "", &purpose)
        };
        prop_assert!(decide(index, &asked).is_err());
        let with_right = Question { consumer: "H26.90", system: None, purpose: Some("ADMIN_PROCEDURE"), dossier: Some("H26.90-261121-0001"), ..asked };
        let _ = decide(index, &with_right);
    }
}

#[test]
fn callable_methods_leave_out_what_is_suspended_expired_or_not_yet_valid() {
    let mut bundle = bundle();
    bundle.rights.truncate(3);
    bundle.rights[2].suspended = true;
    bundle.rights.push(Right {
        valid_from: Some(timestamp(NOW + time::Duration::days(1))),
        ..right("later", CITIZENS, "H26.90", Purpose::Verification, &["ho_ten"])
    });
    bundle.rights.push(Right {
        methods: vec![MethodKind::SyncToNationalDb.into()],
        ..right("sync", CITIZENS, "H26.90", Purpose::NationalSync, &["*"])
    });
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let callable = index.callable_methods("H26.90", None, NOW);
    let granted: Vec<(&str, Purpose)> = callable
        .iter()
        .flat_map(|method| method.purposes.iter().map(|purpose| (method.path.as_str(), purpose.purpose())))
        .collect();
    assert_eq!(
        granted,
        [
            (GET_CITIZEN, Purpose::AdminProcedure),
            ("/vn.dancu.v1.CitizenService/ListCitizens", Purpose::AdminProcedure),
            (common::SYNC_CITIZENS, Purpose::NationalSync),
        ]
    );
}
