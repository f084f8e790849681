//! What a plan is compiled from, and the mistakes that it refuses.

use std::collections::BTreeSet;

use lienthong_filter::plan::{DEPTH_MAX, FIELD_IDS_MAX, FIELDS_PER_MESSAGE_MAX};
use lienthong_filter::{FieldSet, Grant, HashKey, Masking, Plan, PlanError, Report};

use crate::support::{ByName, Wire, grant, response};

const SCHEMA: &str = r#"
    syntax = "proto3";
    package t;
    message Response { Person record = 1; }
    message Person {
        string name = 1;
        int32 age = 2;
        bytes photo = 3;
        Place home = 4;
        map<string, Place> places = 5;
        repeated Person children = 6;
    }
    message Place { string province = 1; }
"#;

#[track_caller]
fn refuses(source: &str, grant: &Grant, expected: &PlanError) {
    assert_eq!(&Plan::compile(&response(source), &ByName, grant).unwrap_err(), expected);
}

fn with_masking(id: &str, masking: Masking) -> Grant {
    let mut grant = grant(["*"]);
    grant.masking.insert(id.into(), masking);
    grant
}

#[test]
fn plans_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Plan>();
}

#[test]
fn ids_that_exist_nowhere_are_refused() {
    for id in [
        "ho_ten",
        "name.x",
        "home.",
        ".home",
        "",
        "home..province",
        "places.key",
        "places.value.province",
        "record",
        "record.name",
        "Name",
    ] {
        let expected = PlanError::UnknownField { id: id.into(), message: "t.Response".into() };
        refuses(SCHEMA, &grant([id]), &expected);
        refuses(SCHEMA, &with_masking(id, Masking::Omit), &expected);
    }
}

#[test]
fn ids_deeper_than_any_message_are_refused() {
    let deep = |levels: usize| "children.".repeat(levels - 1) + "name";
    assert!(
        Plan::compile(&response(SCHEMA), &ByName, &with_masking(&deep(DEPTH_MAX), Masking::Omit)).is_ok()
    );
    for levels in [DEPTH_MAX + 1, 100_000] {
        let expected = PlanError::IdTooDeep { id: deep(levels) };
        refuses(SCHEMA, &with_masking(&deep(levels), Masking::Omit), &expected);
    }
}

#[test]
fn maskings_must_fit_their_fields() {
    for (id, masking, name) in [
        ("age", Masking::Partial, "PARTIAL"),
        ("age", Masking::Hash, "HASH"),
        ("photo", Masking::Partial, "PARTIAL"),
        ("home", Masking::Hash, "HASH"),
        ("places", Masking::Partial, "PARTIAL"),
    ] {
        refuses(SCHEMA, &with_masking(id, masking), &PlanError::MaskingKind { id: id.into(), masking: name });
    }
    for (id, masking) in [("age", Masking::Omit), ("home", Masking::None), ("photo", Masking::Hash)] {
        assert!(Plan::compile(&response(SCHEMA), &ByName, &with_masking(id, masking)).is_ok());
    }
}

#[test]
fn a_granted_hash_needs_a_key() {
    let mut without = with_masking("name", Masking::Hash);
    without.hash_key = None;
    refuses(SCHEMA, &without, &PlanError::HashKeyMissing { field: "t.Person.name".into() });
    without.fields = ["age"].into_iter().collect();
    assert!(Plan::compile(&response(SCHEMA), &ByName, &without).is_ok());
    assert_eq!(HashKey::new(b"short").unwrap_err(), PlanError::HashKeyLength { given: 5 });
    assert_eq!(format!("{:?}", HashKey::new(&[7; 32]).unwrap()), "HashKey(secret)");
}

#[test]
fn a_response_without_a_record_is_refused() {
    let source = "syntax = \"proto3\"; package t; message Response { string name = 1; Response next = 2; }";
    refuses(source, &grant(["*"]), &PlanError::NoRecord { message: "t.Response".into() });
    let bare = response(
        "syntax = \"proto3\"; package t; message Response { Person p = 1; } message Person { Person record = 1; }",
    );
    let bare = bare.get_field_by_name("p").unwrap().kind().as_message().unwrap().clone();
    let nested = PlanError::RecordInRecord { field: "t.Person.record".into() };
    assert_eq!(Plan::compile(&bare, &ByName, &grant(["*"])).unwrap_err(), nested);
}

#[test]
fn marks_in_wrong_places_are_refused() {
    let with = |line: &str| {
        format!(
            "syntax = \"proto3\"; package t; message Response {{ {line} }} message P {{ string a = 1; P b = 2; }}"
        )
    };
    let kind = PlanError::RecordKind { field: "t.Response.record2".into() };
    refuses(&with("P record = 1; string record2 = 2;"), &grant(["*"]), &kind);
    refuses(&with("P record = 1; map<string, P> record2 = 2;"), &grant(["*"]), &kind);
    let subject = PlanError::SubjectKind { field: "t.Response.subject".into() };
    refuses(&with("P record = 1; uint64 subject = 2;"), &grant(["*"]), &subject);
    let nested = "syntax = \"proto3\"; package t; message Response { P record = 1; } message P { Q q = 1; } message Q { P record = 1; }";
    refuses(nested, &grant(["*"]), &PlanError::RecordInRecord { field: "t.Q.record".into() });
}

#[test]
fn records_may_sit_deep_in_the_envelope_and_be_of_several_types() {
    let source = r#"syntax = "proto3"; package t;
        message Response { repeated Page pages = 1; map<string, Page> named = 2; Q record_q = 3; }
        message Page { repeated P record = 1; int32 total = 2; }
        message P { string a = 1; string b = 2; }
        message Q { string b = 1; string c = 2; }"#;
    let plan = Plan::compile(&response(source), &ByName, &grant(["a", "c"])).unwrap();
    let page = |p: Wire| Wire::new().len(1, p).int(2, 9);
    let build = |p: &Wire, q: &Wire| {
        Wire::new()
            .len(1, page(p.clone()))
            .len(2, Wire::new().len(1, "key").len(2, page(p.clone())))
            .len(3, q)
    };
    let message = build(&Wire::new().len(1, "a").len(2, "b"), &Wire::new().len(1, "b").len(2, "c"));
    let mut out = Vec::new();
    let mut report = Report::new();
    plan.apply(&message.0, &mut out, &mut report).unwrap();
    assert_eq!(out, build(&Wire::new().len(1, "a"), &Wire::new().len(2, "c")).0);
    assert_eq!(report.records, 3);
    let released: BTreeSet<&str> = plan.released(&report).collect();
    assert_eq!(released, BTreeSet::from(["a", "c"]));
}

#[test]
fn nothing_granted_releases_nothing_of_a_record() {
    let none = Grant::new(FieldSet::Only([].into()));
    let plan = Plan::compile(&response(SCHEMA), &ByName, &none).unwrap();
    let mut out = Vec::new();
    let mut report = Report::new();
    plan.apply(&Wire::new().len(1, Wire::new().len(1, "An").int(2, 5)).0, &mut out, &mut report).unwrap();
    assert_eq!(out, [0x0a, 0x00]);
    assert_eq!((report.records, report.dropped_fields), (1, 2));
    assert!(plan.ids().is_empty());
}

#[test]
fn bounds_hold() {
    let fields = |prefix: &str, count: usize| {
        let lines: Vec<String> = (1..=count).map(|i| format!("string {prefix}{i} = {i};")).collect();
        lines.concat()
    };
    let head = "syntax = \"proto3\"; package t; message Response";
    let schema = |count| format!("{head} {{ P record = 1; }} message P {{ {} }}", fields("f", count));
    assert!(Plan::compile(&response(&schema(FIELDS_PER_MESSAGE_MAX)), &ByName, &grant(["*"])).is_ok());
    let expected = PlanError::TooManyFields { message: "t.P".into(), fields: FIELDS_PER_MESSAGE_MAX + 1 };
    refuses(&schema(FIELDS_PER_MESSAGE_MAX + 1), &grant(["*"]), &expected);

    // The three records of the response together have more ids than a report has room for.
    let records =
        ["P", "Q", "R"].map(|name| format!("message {name} {{ {} }}", fields(name, FIELD_IDS_MAX / 3 + 1)));
    let source = format!("{head} {{ P record1 = 1; Q record2 = 2; R record3 = 3; }} {}", records.concat());
    let expected = PlanError::TooManyIds { message: "t.Response".into() };
    refuses(&source, &grant(["*"]), &expected);
    let many = Grant::new((0..=FIELD_IDS_MAX).map(|index| format!("f{index}")).collect());
    refuses(SCHEMA, &many, &expected);
}

#[test]
fn errors_say_what_to_do() {
    let error = Plan::compile(&response(SCHEMA), &ByName, &grant(["ho_ten"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "field id ho_ten exists in no record of t.Response: correct the entry's field list (R-24)"
    );
}
