//! The decision against an independent one: lists instead of an index, narrowing instead of comparing, written from
//! the design's words. 120,000 random questions to random rights; no disagreement about outcome, right or fields. And
//! against a third judge that nobody here wrote: the same rights as Cedar policies, with conditions on rows and a record for
//! each, 20,000 questions, a million of them with `--long`.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

#[path = "common/cedar.rs"]
mod cedar;
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use common::{GET_CITIZEN, GET_UNIT, NOW, SYNC_CITIZENS, bundle, dataset, method, proto, right, timestamp};
use lienthong_catalog::{Method, Question, RightsIndex, decide};
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::lienthong::control::v1::{Right, RightOrigin, RightsBundle};
use lienthong_proto::lienthong::options::v1::{DecisionMode, MethodKind, Purpose};
use lienthong_proto::reason::Reason;
use lienthong_proto::vn::dancu::v1::Citizen;
use proptest::prelude::*;
use prost::Message as _;

const BUNDLES: u32 = 200;
const QUESTIONS: usize = 600;

/// A dataset with nested and sensitive fields.
const INSURANCE: &str = r#"
syntax = "proto3";
package vn.thu.v1;
import "lienthong/options/v1/options.proto";
service ThuService {
  rpc Get(GetRequest) returns (GetResponse) {
    option (lienthong.options.v1.exchange) = {dataset: "thu.ho_so" kind: METHOD_KIND_QUERY};
  }
}
message HoSo {
  option (lienthong.options.v1.dataset) = {
    id: "thu.ho_so" name_vi: "Hồ sơ thử" key_fields: "ma" sharing: SHARING_SHARED
    importance: IMPORTANCE_CORE secrecy: SECRECY_NONE personal: PERSONAL_BASIC
  };
  string ma = 1 [(lienthong.options.v1.field) = {label_vi: "Mã"}];
  string luong = 2 [(lienthong.options.v1.field) = {label_vi: "Lương" personal: PERSONAL_SENSITIVE}];
  DiaChi dia_chi = 3 [(lienthong.options.v1.field) = {label_vi: "Địa chỉ"}];
  NoiSinh noi_sinh = 4 [(lienthong.options.v1.field) = {label_vi: "Nơi sinh"}];
}
message DiaChi {
  string tinh = 1 [(lienthong.options.v1.field) = {label_vi: "Tỉnh"}];
  string benh = 2 [(lienthong.options.v1.field) = {label_vi: "Bệnh" personal: PERSONAL_SENSITIVE}];
}
message NoiSinh {
  string tinh = 1 [(lienthong.options.v1.field) = {label_vi: "Tỉnh"}];
  string xa = 2 [(lienthong.options.v1.field) = {label_vi: "Xã"}];
}
message GetRequest { string ma = 1; }
message GetResponse { HoSo ho_so = 1 [(lienthong.options.v1.record) = true]; }
"#;
static INSURANCE_SET: LazyLock<Vec<u8>> = LazyLock::new(|| proto::compile(INSURANCE));
const GET_INSURANCE: &str = "/vn.thu.v1.ThuService/Get";

const PURPOSES: [Purpose; 4] =
    [Purpose::AdminProcedure, Purpose::StateManagement, Purpose::Statistics, Purpose::Verification];
const CONSUMERS: [&str; 8] = ["H26.90", "H26.90", "H26.90", "H29", "G12.90", "G01", "9900000099", "H30"];
const SYSTEMS: [&str; 4] = [
    "agencies/H26.90/systems/mot-cua",
    "agencies/H26.90/systems/cu",
    "agencies/G12.90/systems/thue",
    "agencies/H26.90/systems/khong-co",
];
const FIELDS: [&str; 11] = [
    "ho_ten",
    "so_dinh_danh",
    "tinh_trang_hon_nhan",
    "ma",
    "luong",
    "dia_chi",
    "dia_chi.tinh",
    "dia_chi.benh",
    "noi_sinh",
    "noi_sinh.xa",
    "khong_co",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(BUNDLES))]

    #[test]
    fn the_index_decides_as_the_list_does(seed in any::<u64>()) {
        for (question, decided, expected) in play(seed) {
            prop_assert_eq!(decided, expected, "{}", question);
        }
    }
}

#[test]
fn the_questions_reach_every_outcome() {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, decided, _) in (0..20).flat_map(play) {
        let outcome = decided.map_or_else(Reason::name, |(_, _, source, _)| match source {
            PurposeSource::Default => "ALLOW BY DEFAULT",
            _ => "ALLOW",
        });
        *times.entry(outcome).or_default() += 1;
    }
    assert_eq!(times.len(), 16, "{times:#?}");
    assert!(times.values().all(|times| *times >= 20), "{times:#?}");
    assert!(times["ALLOW"] >= 200, "{times:#?}");
    assert!(times["ALLOW BY DEFAULT"] >= 20, "{times:#?}");
}

/// Conditions on rows of citizens: about fields that may be missing, about the consumer, on the border of a group.
const CONDITIONS: [&str; 7] = [
    "context.record.noi_thuong_tru == \"Huế\"",
    "context.record.noi_thuong_tru != \"Huế\"",
    "context.record.noi_thuong_tru == principal.code",
    "principal in Agency::\"H26\" && context.record.trang_thai == \"đang sống\"",
    "principal in Agency::\"H2\" && context.record.trang_thai == \"đang sống\"",
    "!(context.record.ho_ten like \"*Mẫu\") || context.record.trang_thai == \"đã mất\"",
    "context.record.trang_thai == \"đang sống\" || context.record.noi_thuong_tru == \"Huế\"",
];
/// What a record may say. The second is the first with its marks apart: no text of the mesh, as if it were missing.
const PLACES: [&str; 6] = ["Huế", "Hue\u{302}\u{301}", "Đà Nẵng", "H26.90", "H260.90", ""];

/// A record as it travels, and what is to be read in it.
fn random_record(dice: &mut Dice) -> (Vec<u8>, Vec<(&'static str, &'static str)>) {
    let said = [
        ("noi_thuong_tru", *dice.pick(&PLACES)),
        ("trang_thai", *dice.pick(&["đang sống", "đã mất", ""])),
        ("ho_ten", *dice.pick(&["Nguyễn Văn Mẫu", "Trần Thị Thử", ""])),
    ];
    let citizen = Citizen {
        noi_thuong_tru: said[0].1.to_owned(),
        trang_thai: said[1].1.to_owned(),
        ho_ten: said[2].1.to_owned(),
        ..Citizen::default()
    };
    let read = said.into_iter().filter(|(_, text)| !text.is_empty() && *text != PLACES[1]);
    (citizen.encode_to_vec(), read.collect())
}

#[test]
fn cedar_permits_what_the_index_permits() {
    let bundles = if std::env::var_os("LIENTHONG_TEST_LONG").is_some() { 1_667 } else { 34 };
    let (mut asked, mut allowed, mut admitted, mut dropped) = (0, 0, 0, 0);
    for seed in 0..bundles {
        let mut dice = Dice(seed);
        let mut bundle = random_bundle(&mut dice);
        for right in bundle.rights.iter_mut().filter(|right| right.dataset == common::CITIZENS.0) {
            if !dice.one_in(4) {
                (*dice.pick(&CONDITIONS)).clone_into(&mut right.condition);
            }
        }
        let demanded = |dataset: &str, min| if dataset == "thu.ho_so" { 3.max(min) } else { min };
        let judge = cedar::CedarRights::new(&bundle, granted, |dataset| dataset == "danhmuc.dvhc", demanded);
        let index = RightsIndex::from_bundle(&bundle).unwrap();
        assert!(index.problems().is_empty(), "{:?}", index.problems());
        let methods = [GET_CITIZEN, SYNC_CITIZENS, GET_UNIT, GET_INSURANCE].map(|path| method(&index, path));
        for _ in 0..QUESTIONS {
            let mut question = random_question(&mut dice, &methods);
            // Codes and purposes beside the border of those that are granted.
            if dice.one_in(8) {
                question.consumer =
                    *dice.pick(&["H26", "H260.90", "H26.9", "H26.900", "h26.90", "H26.90\u{301}", ""]);
            }
            if dice.one_in(30) {
                question.purpose =
                    Some(*dice.pick(&["STATISTICS ", "statistics", "STATISTICS\u{301}", "", "ANY"]));
            }
            let (bytes, record) = random_record(&mut dice);
            let permitting = judge.permitting(&question, &record);
            asked += 1;
            match decide(&index, &question) {
                Ok(permitted) => {
                    allowed += 1;
                    let id = permitted.right_id().to_owned();
                    let scope = permitted.record_scope();
                    let admits = scope.as_ref().is_none_or(|scope| scope.admits(&bytes));
                    let told = format!("{id} on {:?} and {record:?}: {question:#?}", permitted.condition());
                    assert_eq!(permitting.contains(&id), admits, "whether the record is released: {told}");
                    if scope.is_some() {
                        *(if admits { &mut admitted } else { &mut dropped }) += 1;
                    }
                }
                Err(denial) => assert!(permitting.is_empty(), "{denial}, but {permitting:?}: {question:#?}"),
            }
        }
    }
    assert!(allowed * 50 > asked, "{allowed} of {asked} were allowed: the questions say too little");
    assert!(admitted >= 10 && dropped >= 10, "{admitted} records admitted, {dropped} dropped: too little");
}

type Outcome = Result<(String, Purpose, PurposeSource, BTreeSet<String>), Reason>;

fn decided(index: &RightsIndex, question: &Question<'_>) -> Outcome {
    let permitted = decide(index, question).map_err(|denial| denial.reason)?;
    let fields = permitted.fields().map(str::to_owned).collect();
    Ok((permitted.right_id().to_owned(), permitted.purpose(), permitted.purpose_source(), fields))
}

/// Plays one seed: each question, the decision, and the oracle's.
fn play(seed: u64) -> Vec<(String, Outcome, Outcome)> {
    let mut dice = Dice(seed);
    let bundle = random_bundle(&mut dice);
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    assert!(index.problems().is_empty(), "{:?}", index.problems());
    let methods = [GET_CITIZEN, SYNC_CITIZENS, GET_UNIT, GET_INSURANCE].map(|path| method(&index, path));
    let other = RightsIndex::from_bundle(&random_bundle(&mut Dice(seed + 1))).unwrap();
    let mut played = Vec::new();
    for _ in 0..QUESTIONS {
        let question = random_question(&mut dice, &methods);
        let decided = decided(&index, &question);
        // Whoever was found before is judged as whoever is looked up; what another index has found counts for nothing.
        for index_of in [&index, &other] {
            let place = index_of.place(question.consumer, question.system);
            assert_eq!(
                self::decided(&index, &Question { place, ..question.clone() }),
                decided,
                "{question:#?}"
            );
        }
        played.push((format!("{question:#?}"), decided, oracle(&bundle, &question)));
    }
    played
}

/// The same decision, by narrowing the list of rights.
#[allow(clippy::too_many_lines, reason = "one decision, read from top to bottom")]
fn oracle(bundle: &RightsBundle, q: &Question<'_>) -> Outcome {
    let party = bundle.parties.iter().find(|party| party.code == q.consumer);
    if party.is_some_and(|party| party.outside) {
        return Err(Reason::DenyNotEntitled);
    }
    let dataset = bundle.datasets.iter().find(|dataset| dataset.id == q.method.dataset_id()).unwrap();
    let age_max = Duration::try_from(dataset.bundle_age_max.unwrap_or_default()).unwrap();
    let is_online = dataset.decision_mode() == DecisionMode::Online;
    let default = q.system.and_then(|name| {
        let system =
            bundle.systems.iter().find(|system| system.name == name && system.agency == q.consumer)?;
        Some(system.default_purpose()).filter(|purpose| *purpose != Purpose::Unspecified)
    });
    // Of the datasets here, only the administrative units are neither personal, core nor important.
    let default = default.filter(|_| dataset.id == "danhmuc.dvhc" && party.is_some());
    let (purpose, source) = match q.purpose {
        _ if q.clock_behind => return Err(Reason::DenyClock),
        _ if is_online && q.rights_age > Duration::ZERO => return Err(Reason::DenyBrokerUnreachable),
        _ if q.rights_age > age_max => return Err(Reason::DenyRightsStale),
        _ if q.min_epoch > bundle.epoch => return Err(Reason::DenyEpoch),
        None => (default.ok_or(Reason::DenyPurpose)?, PurposeSource::Default),
        Some("COMMERCIAL") => return Err(Reason::DenyCommercial),
        Some(word) => {
            let stated = Purpose::from_str_name(&format!("PURPOSE_{word}")).ok_or(Reason::DenyPurpose)?;
            if q.purpose_source == PurposeSource::Default && default != Some(stated) {
                return Err(Reason::DenyPurpose);
            }
            (stated, q.purpose_source)
        }
    };
    let party = party.ok_or(Reason::DenyNotEntitled)?;
    let system = match q.system {
        None => None,
        Some(name) => {
            let found =
                bundle.systems.iter().find(|system| system.name == name && system.agency == q.consumer);
            Some(found.ok_or(Reason::DenyCertificate)?)
        }
    };
    let level = system.map_or(party.security_level, |system| system.security_level);
    let provider_level =
        bundle.parties.iter().find(|party| party.code == dataset.provider).unwrap().security_level;
    let demanded = if dataset.id == "thu.ho_so" {
        3.max(dataset.min_security_level)
    } else {
        dataset.min_security_level
    };

    let mut left: Vec<&Right> = bundle
        .rights
        .iter()
        .filter(|right| {
            right.dataset == dataset.id && (right.consumer == q.consumer || right.consumer.is_empty())
        })
        .filter(|right| right.system.is_empty() || Some(&right.system) == system.map(|system| &system.name))
        .collect();
    let mut narrow = |keep: &dyn Fn(&Right) -> bool, reason: Reason| {
        left.retain(|right| keep(right));
        if left.is_empty() { Err(reason) } else { Ok(()) }
    };
    narrow(&|_| true, Reason::DenyNotEntitled)?;
    narrow(&|right| [purpose, Purpose::Unspecified].contains(&right.purpose()), Reason::DenyPurpose)?;
    let dossier_is_bad =
        q.dossier == Some("x") || (purpose == Purpose::AdminProcedure && q.dossier.is_none());
    if dossier_is_bad
        || q.user == Some("123456789012")
        || q.requested_fields.as_ref().is_some_and(Vec::is_empty)
    {
        return Err(Reason::DenyContext);
    }
    let now = q.now.unix_timestamp();
    let begun = |right: &Right| right.valid_from.unwrap().seconds <= now;
    narrow(
        &|right| begun(right) && right.valid_to.is_none_or(|end| now < end.seconds),
        Reason::DenyExpiredRight,
    )?;
    narrow(&|right| !right.suspended, Reason::DenySuspended)?;
    narrow(&|right| right.methods().any(|kind| kind == q.method.kind()), Reason::DenyMethod)?;
    narrow(&|_| level >= demanded && provider_level >= demanded, Reason::DenySecurityLevel)?;
    let asked: Option<BTreeSet<String>> =
        q.requested_fields.as_ref().map(|fields| fields.iter().map(|field| (*field).to_owned()).collect());
    narrow(&|right| asked.iter().flatten().all(|id| may_ask(&granted(right), id)), Reason::DenyField)?;

    // A message that is asked for whole is reported whole, whatever inside it is asked for too.
    let whole = asked.map(|mut asked| {
        if asked.contains("noi_sinh") {
            asked.retain(|id| !id.starts_with("noi_sinh."));
        }
        asked
    });
    let specific_first = |right: &&Right| {
        (
            right.purpose() == Purpose::Unspecified,
            right.consumer.is_empty(),
            right.system.is_empty(),
            right.origin,
            right.id.clone(),
        )
    };
    let chosen = left.into_iter().min_by_key(specific_first).unwrap();
    Ok((chosen.id.clone(), purpose, source, whole.unwrap_or_else(|| granted(chosen))))
}

/// What a right's list grants, by a table instead of by descriptors.
fn granted(right: &Right) -> BTreeSet<String> {
    let spelled = |id: &String| -> Vec<&'static str> {
        match (right.dataset.as_str(), id.as_str()) {
            ("thu.ho_so", "*") => vec!["ma", "dia_chi.tinh", "noi_sinh"],
            ("thu.ho_so", "dia_chi") => vec!["dia_chi.tinh"],
            ("danhmuc.dvhc", "*") => {
                vec!["ma_dvhc", "ten_dvhc", "ten_tieng_anh", "cap", "ma_cap_tren", "ma_cu", "hieu_luc_tu"]
            }
            (_, "*") => vec![
                "so_dinh_danh",
                "ho_ten",
                "ngay_sinh",
                "gioi_tinh",
                "dan_toc",
                "quoc_tich",
                "que_quan",
                "noi_thuong_tru",
                "noi_o_hien_tai",
                "tinh_trang_hon_nhan",
                "trang_thai",
                "cap_nhat_luc",
            ],
            (_, id) => FIELDS.iter().filter(|field| **field == id).copied().collect(),
        }
    };
    right.fields.iter().flat_map(spelled).map(str::to_owned).collect()
}

fn may_ask(granted: &BTreeSet<String>, id: &str) -> bool {
    granted.contains(id) || (id.starts_with("noi_sinh.") && granted.contains("noi_sinh"))
}

fn random_question<'a>(dice: &mut Dice, methods: &'a [Arc<Method>]) -> Question<'a> {
    let purposes = ["ADMIN_PROCEDURE", "STATE_MANAGEMENT", "STATISTICS", "VERIFICATION", "PUBLIC_SERVICE"];
    let caller = PurposeSource::Caller;
    let mut question = Question {
        method: &methods[dice.index(methods.len())],
        consumer: CONSUMERS[dice.index(CONSUMERS.len())],
        system: dice.one_in(3).then(|| *dice.pick(&SYSTEMS)),
        place: None,
        purpose_source: *dice.pick(&[caller, caller, caller, PurposeSource::Default]),
        purpose: match dice.below(30) {
            0 => None,
            1 => Some("COMMERCIAL"),
            2 => Some("x"),
            _ => Some(purposes[dice.index(purposes.len())]),
        },
        requested_fields: dice.one_in(3).then(|| dice.some(&FIELDS, 3)),
        dossier: *dice.pick(&[None, Some("H26.90-261121-0001"), Some("H26.90-261121-0001"), Some("x")]),
        user: *dice.pick(&[None, Some("u-1"), Some("u-1"), Some("123456789012")]),
        min_epoch: if dice.one_in(20) { 8 } else { 0 },
        now: NOW + time::Duration::hours(dice.below(5).cast_signed() - 2),
        rights_age: Duration::from_secs(*dice.pick(&[0, 0, 0, 0, 0, 86_400, 90_000])),
        clock_behind: dice.one_in(40),
    };
    // A known system that asks for administrative units: chance alone seldom leads to a default purpose.
    if dice.one_in(6) {
        question.method = &methods[2];
        question.consumer = "H26.90";
        question.system = Some(SYSTEMS[dice.index(2)]);
        question.purpose = *dice.pick(&[None, None, Some("STATISTICS"), Some("VERIFICATION")]);
    }
    question
}

fn random_bundle(dice: &mut Dice) -> RightsBundle {
    let mut bundle = bundle();
    bundle.parties.push(common::party("G24", false, 3));
    bundle.contracts.push(common::contract("G24", &INSURANCE_SET));
    bundle.datasets.push(dataset("thu.ho_so", "G24"));
    for dataset in &mut bundle.datasets {
        if dice.one_in(10) {
            dataset.decision_mode = DecisionMode::Online.into();
        }
        dataset.min_security_level = *dice.pick(&[0, 0, 1, 2, 3]);
    }
    for system in &mut bundle.systems {
        let defaults = [Purpose::Unspecified, Purpose::Statistics, Purpose::Verification];
        system.default_purpose = (*dice.pick(&defaults)).into();
    }
    bundle.rights = (0..dice.below(60)).map(|number| random_right(dice, number)).collect();
    bundle
}

fn random_right(dice: &mut Dice, number: u64) -> Right {
    let open = dice.one_in(8);
    let dataset = if open {
        common::UNITS
    } else {
        *dice.pick(&[common::CITIZENS, ("thu.ho_so", "G24"), common::UNITS])
    };
    let consumer = if open { "" } else { *dice.pick(&["H26.90", "H26.90", "H29", "G12.90"]) };
    let default = !open && dice.one_in(10);
    let purpose = if open || default { Purpose::Unspecified } else { *dice.pick(&PURPOSES) };
    let fields = match dataset.0 {
        "dancu.cong_dan" => dice.pick(&["*", "ho_ten", "so_dinh_danh ho_ten"]),
        "thu.ho_so" => dice.pick(&["*", "* luong", "dia_chi ma", "dia_chi.benh noi_sinh", "noi_sinh.xa"]),
        _ => "*",
    };
    let fields: Vec<&str> = fields.split(' ').collect();
    let kinds = [MethodKind::Query, MethodKind::SyncToNationalDb, MethodKind::SyncToConsumer];
    let hour = |dice: &mut Dice| timestamp(NOW + time::Duration::hours(dice.below(7).cast_signed() - 3));
    Right {
        system: if consumer == "H26.90" && dice.one_in(3) {
            SYSTEMS[dice.index(2)].to_owned()
        } else {
            String::new()
        },
        methods: dice.some(&kinds, 3).into_iter().map(i32::from).collect(),
        valid_from: Some(if dice.one_in(2) { hour(dice) } else { timestamp(NOW - time::Duration::days(1)) }),
        valid_to: dice.one_in(3).then(|| hour(dice)),
        suspended: dice.one_in(5),
        origin: if open {
            RightOrigin::Open
        } else if default {
            RightOrigin::Default
        } else {
            RightOrigin::CatalogMandatory
        }
        .into(),
        ..right(&format!("right-{number:03}-"), dataset, consumer, purpose, &fields)
    }
}

/// A small reproducible source of chance (SplitMix64), so that one seed is one case.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// Up to `max` different ones.
    fn some<T: Copy + PartialEq>(&mut self, from: &[T], max: usize) -> Vec<T> {
        let mut some = Vec::new();
        for _ in 0..=self.index(max) {
            let one = *self.pick(from);
            if !some.contains(&one) {
                some.push(one);
            }
        }
        some
    }
}
