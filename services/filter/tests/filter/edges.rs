//! One small message for each rule of the wire format, of settlement, of masking and of the report.

use lienthong_filter::plan::DEPTH_MAX;
use lienthong_filter::{Fault, FilterError, Grant, Masking, Plan, Report};
use prost_reflect::MessageDescriptor;

use crate::support::{ByName, Wire, filter, grant, response};

const PERSON: &str = r#"
    syntax = "proto2";
    package t;
    message Response {
        repeated Person record = 1;
        optional string next_page_token = 2;
        optional Page page = 3;
    }
    message Page { optional int32 total = 1; }
    message Person {
        optional string subject_id = 1;
        optional string name = 2;
        optional Place home = 3;
        oneof state { string alive = 4; Place dead = 5; }
        repeated uint32 years = 6 [packed = true];
        repeated fixed32 codes = 7;
        optional group Note = 8 { optional string text = 1; optional string hidden = 2; }
        map<string, Place> places = 9;
        optional bytes photo = 10;
        optional Person parent = 11;
        optional fixed64 wide = 5000;
        map<string, string> labels = 12;
    }
    message Place { optional string province = 1; optional string street = 2; }
"#;

fn person() -> MessageDescriptor {
    response(PERSON)
}

/// The bytes of a response with this one record.
fn one(record: &Wire) -> Vec<u8> {
    Wire::new().len(1, record).0
}

#[track_caller]
fn releases(grant: &Grant, record: &Wire, expected: &Wire) -> Report {
    let (out, report) = filter(&person(), grant, &one(record)).unwrap();
    assert_eq!(out, one(expected));
    // A response that is the record itself is filtered as the record in an envelope is.
    let bare = person().get_field_by_name("record").unwrap().kind().as_message().unwrap().clone();
    let (out, of_bare) = filter(&bare, grant, &record.0).unwrap();
    assert_eq!(out, expected.0);
    assert_eq!(format!("{of_bare:?}"), format!("{report:?}"));
    report
}

#[track_caller]
fn refuses(bytes: &[u8], position: usize, fault: Fault) {
    let everything = grant(["*"]);
    assert_eq!(filter(&person(), &everything, bytes).unwrap_err(), FilterError { position, fault });
}

// What stays, what goes.

#[test]
fn keeps_granted_fields_in_their_order_and_counts_the_rest() {
    let record = Wire::new().len(2, "An").int(77, 5).len(1, "1").len(10, [0; 300]).len(77, "x");
    let report = releases(&grant(["name", "subject_id"]), &record, &Wire::new().len(2, "An").len(1, "1"));
    assert_eq!((report.records, report.dropped_fields, report.dropped_unknown), (1, 1, 2));
    assert_eq!((report.masked, report.superseded), (0, 0));
}

#[test]
fn keeps_the_envelope_and_drops_what_is_unknown_in_it() {
    let bytes = Wire::new()
        .int(99, 1)
        .len(3, Wire::new().int(1, 2).int(2, 3))
        .len(1, Wire::new().len(2, "An"))
        .len(2, "next")
        .len(1, Wire::new().len(2, "Bình"));
    let (out, report) = filter(&person(), &grant(["years"]), &bytes.0).unwrap();
    assert_eq!(out, Wire::new().len(3, Wire::new().int(1, 2)).len(1, "").len(2, "next").len(1, "").0);
    assert_eq!((report.records, report.dropped_fields, report.dropped_unknown), (2, 2, 2));
}

#[test]
fn grants_part_of_a_message_by_dotted_ids() {
    let place = Wire::new().len(2, "Lê Lợi").len(1, "Hà Nội");
    let record = Wire::new().len(3, &place).len(9, Wire::new().len(1, "quê").len(2, &place));
    let granted = Wire::new().len(1, "Hà Nội");
    let expected = Wire::new().len(3, &granted).len(9, Wire::new().len(1, "quê").len(2, &granted));
    let plan = Plan::compile(&person(), &ByName, &grant(["home.province", "places.province"])).unwrap();
    let mut report = Report::new();
    let mut out = Vec::new();
    plan.apply(&one(&record), &mut out, &mut report).unwrap();
    assert_eq!(out, one(&expected));
    assert!(plan.released(&report).eq(["home.province", "places.province"]));
}

#[test]
fn reports_the_ids_that_were_granted_and_seen() {
    let plan = Plan::compile(&person(), &ByName, &grant(["name", "home", "home.street", "photo"])).unwrap();
    assert!(plan.ids().iter().map(|id| &**id).eq(["name", "home", "photo"]));
    let mut report = Report::new();
    let record = Wire::new().len(3, Wire::new().len(1, "Huế")).len(2, "An").int(5, 0);
    assert!(plan.apply(&one(&record), &mut Vec::new(), &mut report).is_err());
    assert!(report.fields_released.is_empty());
    plan.apply(&one(&Wire::new().len(3, "").len(2, "")), &mut Vec::new(), &mut report).unwrap();
    assert_eq!(plan.released(&report).collect::<Vec<_>>(), ["name", "home"]);
    assert_eq!((report.fields_released.len(), report.fields_released.iter().count()), (2, 2));
}

#[test]
fn follows_recursive_types_and_numbers_above_the_table() {
    let parent = |inner: &Wire| Wire::new().int(99, 1).len(11, inner).raw(&[0xc1, 0xb8, 0x02]).raw(&[9; 8]);
    let kept = |inner: &Wire| Wire::new().len(11, inner).raw(&[0xc1, 0xb8, 0x02]).raw(&[9; 8]);
    let record = parent(&parent(&parent(&Wire::new())));
    releases(&grant(["*"]), &record, &kept(&kept(&kept(&Wire::new()))));
    releases(
        &grant(["parent.parent.wide"]),
        &record,
        &Wire::new().len(11, Wire::new().len(11, Wire::new().raw(&[0xc1, 0xb8, 0x02]).raw(&[9; 8]))),
    );
}

#[test]
fn lengths_shrink_across_the_border_of_a_byte() {
    for hidden in [0, 1, 100, 126, 127, 128, 16_200, 16_383, 16_384, 70_000] {
        let record = Wire::new().len(3, Wire::new().len(1, "Huế").len(2, vec![b'x'; hidden])).len(2, "An");
        releases(
            &grant(["home.province", "name"]),
            &record,
            &Wire::new().len(3, Wire::new().len(1, "Huế")).len(2, "An"),
        );
    }
}

#[test]
fn lists_come_packed_or_not() {
    let record =
        Wire::new().len(6, [1, 2, 0x80, 1]).int(6, 7).len(7, [0; 8]).raw(&[0x3d, 1, 2, 3, 4]).len(6, "");
    releases(&grant(["years", "codes"]), &record, &record);
    releases(&grant(["codes"]), &record, &Wire::new().len(7, [0; 8]).raw(&[0x3d, 1, 2, 3, 4]));
}

#[test]
fn groups_are_filtered_and_skipped() {
    let note =
        Wire::new().len(2, "secret").len(1, "open").group(70, &Wire::new().group(71, &Wire::new().int(1, 1)));
    let record = Wire::new().group(8, &note).group(99, &note).len(2, "An");
    let report = releases(
        &grant(["note.text", "name"]),
        &record,
        &Wire::new().group(8, &Wire::new().len(1, "open")).len(2, "An"),
    );
    assert_eq!((report.dropped_fields, report.dropped_unknown), (1, 2));
    releases(&grant(["name"]), &record, &Wire::new().len(2, "An"));
}

// Settlement comes before filtering.

#[test]
fn the_last_scalar_wins() {
    let record = Wire::new().len(2, "old").len(1, "1").len(2, "new");
    let report = releases(&grant(["name"]), &record, &Wire::new().len(2, "new"));
    assert_eq!((report.superseded, report.dropped_fields), (1, 1));
}

#[test]
fn a_later_member_of_a_oneof_hides_an_earlier_one() {
    let record = Wire::new().len(4, "alive").len(5, Wire::new().len(1, "Huế"));
    releases(&grant(["alive"]), &record, &Wire::new());
    releases(&grant(["dead"]), &record, &Wire::new().len(5, Wire::new().len(1, "Huế")));
    // Going back and forth begins the message anew.
    let back = Wire::new().len(5, Wire::new().len(2, "gone")).raw(&record.0);
    let report = releases(&grant(["dead", "alive"]), &back, &Wire::new().len(5, Wire::new().len(1, "Huế")));
    assert_eq!(report.superseded, 2);
}

#[test]
fn parts_of_a_message_merge() {
    let record = Wire::new()
        .len(3, Wire::new().len(1, "old").len(2, "hidden"))
        .len(2, "An")
        .len(3, Wire::new().len(1, "new").int(9, 9))
        .group(8, &Wire::new().len(1, "a"))
        .group(8, &Wire::new().len(2, "b"));
    let expected = Wire::new()
        .len(2, "An")
        .len(3, Wire::new().len(1, "new"))
        .group(8, &Wire::new().len(1, "a").len(2, "b"));
    let report = releases(&grant(["home.province", "name", "note"]), &record, &expected);
    assert_eq!((report.superseded, report.dropped_fields, report.dropped_unknown), (1, 1, 1));
}

#[test]
fn a_part_that_is_cut_short_stays_an_error() {
    // Joined, the two would read as one whole field.
    let record = Wire::new().len(3, [0x0a, 5]).len(3, "abcde");
    refuses(&one(&record), 5, Fault::LengthBeyondEnd { length: 5, remaining: 0 });
}

#[test]
fn elements_of_lists_do_not_merge() {
    let bytes = Wire::new()
        .len(1, Wire::new().len(2, "An"))
        .len(1, Wire::new().len(2, "Bình"))
        .len(2, "a")
        .len(2, "b");
    let (out, report) = filter(&person(), &grant(["name"]), &bytes.0).unwrap();
    assert_eq!(
        out,
        Wire::new().len(1, Wire::new().len(2, "An")).len(1, Wire::new().len(2, "Bình")).len(2, "b").0
    );
    assert_eq!((report.records, report.superseded), (2, 1));
}

#[test]
fn nested_repeats_take_time_in_proportion() {
    // Each level holds its child twice; tried again at each level the work would double 60 times.
    let mut record = Wire::new().len(2, "a").len(2, "b");
    for _ in 0..DEPTH_MAX - 4 {
        record = Wire::new().len(11, &record).len(11, "").len(2, "x").len(2, "y");
    }
    let (out, report) = filter(&person(), &grant(["*"]), &one(&record)).unwrap();
    assert!(out.len() < record.0.len());
    assert_eq!(report.superseded, (DEPTH_MAX - 3) as u64);
}

// Masking.

fn masked(id: &str, masking: Masking) -> Grant {
    let mut grant = grant(["*"]);
    grant.masking.insert(id.to_owned(), masking);
    grant
}

#[test]
fn partial_shows_at_most_a_third_on_character_borders() {
    for (text, shown) in [
        ("", ""),
        ("a", "*"),
        ("Huế", "***"),
        ("12345", "*****"),
        ("Đống Đa", "Đ*****a"),
        ("001099012345", "00********45"),
        ("Nguyễn Thị Ánh Tuyết", "Ngu**************yết"),
        ("\u{1F600}\u{1F601}\u{1F602}\u{1F603}\u{1F604}\u{1F605}", "\u{1F600}****\u{1F605}"),
        (&"x".repeat(100), &format!("xxx{}xxx", "*".repeat(94))),
    ] {
        let report = releases(
            &masked("name", Masking::Partial),
            &Wire::new().len(2, text).len(10, "p"),
            &Wire::new().len(2, shown).len(10, "p"),
        );
        assert_eq!(report.masked, u64::from(!text.is_empty()));
    }
}

#[test]
fn partial_needs_text() {
    let bytes = one(&Wire::new().len(2, [0xff]));
    let error = filter(&person(), &masked("name", Masking::Partial), &bytes).unwrap_err();
    assert_eq!(error, FilterError { position: 2, fault: Fault::NotUtf8 { number: 2 } });
    // Unmasked it is copied as it is: for the receiver to refuse.
    assert!(filter(&person(), &grant(["*"]), &bytes).is_ok());
}

#[test]
fn hash_gives_one_token_for_one_value_and_key() {
    let record = Wire::new().len(2, "001099012345").len(10, "001099012345");
    let hashed = |key: u8| {
        let mut grant = masked("name", Masking::Hash);
        grant.masking.insert("photo".into(), Masking::Hash);
        grant.hash_key = Some(lienthong_filter::HashKey::new(&[key; 32]).unwrap());
        filter(&person(), &grant, &one(&record)).unwrap().0
    };
    // Computed by another implementation of HMAC-SHA-256.
    let token = "1b949f57052f7cad40f9c77af22fd78a";
    let out = hashed(7);
    assert_eq!(out.len(), 2 + 2 + 32 + 2 + 16);
    let (text, bytes) = (&out[4..36], &out[38..]);
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, digits.concat().as_bytes());
    assert_eq!(std::str::from_utf8(text), Ok(token));
    assert_eq!(out, hashed(7));
    assert_ne!(out, hashed(8));
}

#[test]
fn masks_reach_into_lists_maps_and_messages() {
    let record = Wire::new()
        .len(12, Wire::new().len(1, "key").len(2, "123456"))
        .len(9, Wire::new().len(1, "key").len(2, Wire::new().len(2, "Lê Lợi").len(1, "Huế")))
        .len(3, Wire::new().len(2, "Lê Lợi"));
    let mut grant = masked("labels", Masking::Partial);
    grant.masking.insert("places.street".into(), Masking::Partial);
    grant.masking.insert("home.street".into(), Masking::Omit);
    let expected = Wire::new()
        .len(12, Wire::new().len(1, "key").len(2, "1****6"))
        .len(9, Wire::new().len(1, "key").len(2, Wire::new().len(2, "L****i").len(1, "Huế")))
        .len(3, "");
    let report = releases(&grant, &record, &expected);
    assert_eq!((report.masked, report.dropped_fields), (2, 1));
}

#[test]
fn masks_hold_after_settlement_too() {
    let record = Wire::new().len(2, "secret").len(2, "123456").len(10, "");
    let mut grant = masked("name", Masking::Partial);
    grant.masking.insert("photo".into(), Masking::Hash);
    let report = releases(&grant, &record, &Wire::new().len(2, "1****6").len(10, ""));
    assert_eq!((report.masked, report.superseded), (1, 1));
}

// Subjects.

#[test]
fn subjects_are_seen_granted_or_not_and_unmasked() {
    let record = Wire::new().len(1, "A").len(11, Wire::new().len(1, "B").len(11, Wire::new().len(1, "C")));
    for mut grant in [grant(["name"]), grant(["*"]), grant(["parent.name"])] {
        grant.masking.insert("subject_id".into(), Masking::Hash);
        let (_, report) = filter(&person(), &grant, &one(&record)).unwrap();
        assert_eq!(report.subjects.iter().collect::<Vec<_>>(), [b"A", b"B", b"C"]);
    }
}

#[test]
fn a_request_is_observed_and_kept() {
    let plan = Plan::observe(&person(), &ByName).unwrap();
    let request = one(&Wire::new().len(1, "A").len(1, "B").int(99, 9).len(11, Wire::new().len(1, "A")));
    let mut report = Report::new();
    let mut out = Vec::new();
    plan.apply(&request, &mut out, &mut report).unwrap();
    assert_eq!(out, request);
    assert_eq!(report.subjects.iter().collect::<Vec<_>>(), [b"A", b"B"]);
    report.reset();
    plan.subjects(&request, &mut report).unwrap();
    assert_eq!(report.subjects.len(), 2);
    let error = plan.subjects(&[0x0a, 4, 0x0a, 1, b'C', 0x08], &mut report).unwrap_err();
    assert_eq!(error, FilterError { position: 6, fault: Fault::Truncated });
    assert_eq!(report.subjects.len(), 2);
}

#[test]
fn subjects_beyond_the_bound_are_counted() {
    let mut bytes = Wire::new();
    for index in 0..40 {
        bytes = bytes.len(1, Wire::new().len(1, index.to_string()));
    }
    let (_, report) = filter(&person(), &grant(["name"]), &bytes.0).unwrap();
    assert_eq!((report.records, report.subjects.len(), report.subjects.overflow()), (40, 32, 8));
}

// Malformed messages.

#[test]
fn an_empty_message_is_one() {
    let (out, report) = filter(&person(), &grant(["*"]), &[]).unwrap();
    assert!(out.is_empty());
    assert_eq!(report.records, 0);
}

#[test]
fn truncation_anywhere_is_refused_or_shorter() {
    let record =
        Wire::new().len(2, "An").len(3, Wire::new().len(1, "Huế")).group(8, &Wire::new().len(1, "n"));
    let whole = one(&record);
    for cut in 1..whole.len() {
        assert!(filter(&person(), &grant(["*"]), &whole[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn malformed_fields_are_refused_with_their_place() {
    refuses(&[0x80], 0, Fault::Truncated);
    refuses(&[0x12], 1, Fault::Truncated);
    refuses(&[0x00, 1], 0, Fault::FieldNumberZero);
    refuses(&[0x80, 0x00], 0, Fault::FieldNumberZero);
    refuses(&[0x80, 0x80, 0x80, 0x80, 0x10, 0], 0, Fault::FieldNumberTooLarge);
    refuses(&[0x0e], 0, Fault::WireTypeUnknown { wire_type: 6 });
    refuses(&[0x0f], 0, Fault::WireTypeUnknown { wire_type: 7 });
    refuses(&[0x12, 3, b'a'], 1, Fault::LengthBeyondEnd { length: 3, remaining: 1 });
    let overlong = [0x98, 0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
    refuses(&overlong, 2, Fault::VarintOverlong);
    refuses(&[0xff; 30], 0, Fault::VarintOverlong);
    refuses(
        &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        1,
        Fault::LengthBeyondEnd { length: u64::MAX, remaining: 0 },
    );
    refuses(&[0x9d, 0x06, 1, 2, 3], 2, Fault::Truncated);
    refuses(&[0x99, 0x06, 1, 2, 3, 4, 5, 6, 7], 2, Fault::Truncated);
    // A length may not leave the message that the field sits in, though the bytes are there.
    refuses(
        &[0x0a, 3, 0x12, 9, b'a', 0x12, 2, b'b', b'c'],
        3,
        Fault::LengthBeyondEnd { length: 9, remaining: 1 },
    );
}

#[test]
fn a_wrong_wire_type_of_a_known_field_is_refused() {
    refuses(&one(&Wire::new().int(2, 1)), 2, Fault::WireTypeMismatch { number: 2, expected: 2, found: 0 });
    refuses(&[0x08, 1], 0, Fault::WireTypeMismatch { number: 1, expected: 2, found: 0 });
    let wide = Wire::new().len(5_000, "12345678");
    refuses(&one(&wide), 2, Fault::WireTypeMismatch { number: 5_000, expected: 1, found: 2 });
    // Also where the field is not granted, and where the message holds repeats.
    let record = Wire::new().len(1, "a").len(1, "b").int(2, 1);
    let error = filter(&person(), &grant(["years"]), &one(&record)).unwrap_err();
    assert_eq!(error.fault, Fault::WireTypeMismatch { number: 2, expected: 2, found: 0 });
}

#[test]
fn packed_lists_must_be_whole() {
    refuses(&one(&Wire::new().len(6, [1, 0x80])), 4, Fault::PackedMalformed { number: 6 });
    refuses(&one(&Wire::new().len(6, [0xff; 11])), 4, Fault::PackedMalformed { number: 6 });
    refuses(&one(&Wire::new().len(7, [0; 6])), 4, Fault::PackedMalformed { number: 7 });
    let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let record = Wire::new().len(6, largest);
    releases(&grant(["years"]), &record, &record);
}

#[test]
fn groups_must_close_by_their_own_end() {
    refuses(&[0x9b, 0x06, 0x08, 1], 0, Fault::GroupUnclosed { number: 99 });
    refuses(&[0x9b, 0x06, 0xa4, 0x06], 2, Fault::GroupUnclosed { number: 99 });
    refuses(&[0x9c, 0x06], 0, Fault::GroupEndUnexpected { number: 99 });
    // An end in a nested message does not close a group around it.
    refuses(&one(&Wire::new().raw(&[0x43, 0x44, 0x44])), 4, Fault::GroupEndUnexpected { number: 8 });
}

#[test]
fn depth_is_bounded_in_messages_and_groups() {
    let nest = |levels: usize| {
        let mut record = Wire::new().len(2, "An");
        for _ in 0..levels {
            record = Wire::new().len(11, &record);
        }
        one(&record)
    };
    let everything = grant(["*"]);
    assert!(filter(&person(), &everything, &nest(DEPTH_MAX - 2)).is_ok());
    let error = filter(&person(), &everything, &nest(DEPTH_MAX - 1)).unwrap_err();
    assert_eq!(error.fault, Fault::TooDeep);
    // Observed inside what is dropped, too.
    assert_eq!(filter(&person(), &grant(["name"]), &nest(100)).unwrap_err().fault, Fault::TooDeep);

    let groups = |levels: usize| [[0x9b, 0x06].repeat(levels), [0x9c, 0x06].repeat(levels)].concat();
    assert!(filter(&person(), &everything, &groups(DEPTH_MAX)).is_ok());
    assert_eq!(filter(&person(), &everything, &groups(DEPTH_MAX + 1)).unwrap_err().fault, Fault::TooDeep);
    assert_eq!(filter(&person(), &everything, &groups(1_000_000)).unwrap_err().fault, Fault::TooDeep);
}

#[test]
fn padded_varints_are_read_and_lengths_written_shortest() {
    // Padded tag, padded length: kept where nothing changes, shortest where something does.
    let untouched = [0x8a, 0x00, 0x84, 0x00, 0x12, 0x02, b'A', b'n'];
    assert_eq!(filter(&person(), &grant(["name"]), &untouched).unwrap().0, untouched);
    let changed = [0x8a, 0x00, 0x86, 0x00, 0x12, 0x02, b'A', b'n', 0x32, 0x00];
    let expected = [0x8a, 0x00, 0x04, 0x12, 0x02, b'A', b'n'];
    assert_eq!(filter(&person(), &grant(["name"]), &changed).unwrap().0, expected);
}

#[test]
fn a_refused_message_leaves_no_trace() {
    let plan = Plan::compile(&person(), &ByName, &grant(["name"])).unwrap();
    let mut out = b"kept".to_vec();
    let mut report = Report::new();
    plan.apply(&one(&Wire::new().len(1, "A").len(2, "An").int(99, 1)), &mut out, &mut report).unwrap();
    let (out_before, report_before) = (out.clone(), format!("{report:?}"));
    for spoiled in [
        Wire::new().len(1, "B").len(2, "Bình").int(99, 1).raw(&[0]),
        Wire::new().len(1, "B").len(1, "C").len(2, "Bình").len(2, "Bình").raw(&[0]),
        Wire::new().len(1, "x".repeat(257)),
    ] {
        assert!(plan.apply(&one(&spoiled), &mut out, &mut report).is_err());
        assert_eq!(out, out_before);
        assert_eq!(format!("{report:?}"), report_before);
    }
}

#[test]
fn errors_name_place_and_rule() {
    let error = filter(&person(), &grant(["*"]), &one(&Wire::new().int(2, 1))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "message malformed at byte 2: field 2 has wire type 0, its declaration asks for 2"
    );
}
