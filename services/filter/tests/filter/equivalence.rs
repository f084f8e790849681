//! What the filter releases equals what the slow reference releases.

use std::collections::BTreeSet;

use lienthong_filter::{Plan, Report};
use proptest::collection::vec;
use proptest::prelude::*;
use prost_reflect::DynamicMessage;

use crate::generate::{self, Habits, Tape};
use crate::reference;
use crate::support::{ByName, response};

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// Over generated schemas, grants and messages, spoiled ones too.
    #[test]
    fn equals_the_slow_reference(
        schema in vec(any::<u8>(), 0..300),
        grant in vec(any::<u8>(), 0..200),
        message in vec(any::<u8>(), 0..600),
        spoil in proptest::option::weighted(0.3, vec(any::<u8>(), 12)),
    ) {
        let schema = generate::schema(&mut Tape::new(&schema));
        let response = response(&schema);
        let grant = generate::grant(&mut Tape::new(&grant), &response);
        let mut habits = Habits::default();
        let mut bytes = generate::message(&mut Tape::new(&message), &response, &mut habits);
        if let Some(spoil) = &spoil {
            generate::corrupt(&mut Tape::new(spoil), &mut bytes);
        }

        let plan = Plan::compile(&response, &ByName, &grant).unwrap();
        let mut out = b"before".to_vec();
        let mut report = Report::with_subjects_max(10_000);
        let outcome = plan.apply(&bytes, &mut out, &mut report);
        let decoded = DynamicMessage::decode(response.clone(), bytes.as_slice());
        prop_assert!(decoded.is_ok() || spoil.is_some(), "generated badly: {decoded:?}\n{schema}");
        prop_assert!(out.starts_with(b"before"));
        let out = &out[6..];

        match (&decoded, outcome) {
            (Ok(decoded), Ok(())) => {
                let expected = reference::release(decoded, &grant);
                let released = DynamicMessage::decode(response.clone(), out).unwrap();
                prop_assert_eq!(reference::canonical(&released), reference::canonical(&expected.message), "{}", schema);
                prop_assert_eq!(report.records, expected.records);
                let ids: BTreeSet<String> = plan.released(&report).map(str::to_owned).collect();
                prop_assert!(ids.is_superset(&expected.ids), "{:?} {:?}", ids, expected.ids);
                let mut expected = BTreeSet::new();
                reference::subjects(decoded, &mut expected);
                let found: BTreeSet<Vec<u8>> = report.subjects.iter().map(<[u8]>::to_vec).collect();
                prop_assert!(found.is_superset(&expected), "{found:?} {expected:?}");
                if spoil.is_none() && !habits.repeats && !reference::has_map(&response) {
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(report.superseded, 0);
                }
            }
            // prost-reflect reads a map field of whatever wire type as if it were a length, and so reads on elsewhere.
            (Ok(_), Err(error)) => {
                let lenient = spoil.is_some() && reference::has_map(&response);
                prop_assert!(lenient, "refused what a decoder reads: {error}\n{schema}");
            }
            // The filter judges structure and need not read what it drops or copies; what it lets through is whole.
            (Err(_), Ok(())) => {}
            (Err(_), Err(_)) => {
                prop_assert!(out.is_empty());
                prop_assert_eq!(report.records, 0);
                prop_assert!(report.subjects.is_empty() && report.fields_released.is_empty());
            }
        }

        // What was released holds nothing more to drop: filtered again it comes out the same, in one pass.
        if !out.is_empty() && report.masked == 0 {
            let mut again = Vec::new();
            let mut second = Report::new();
            plan.apply(out, &mut again, &mut second).unwrap();
            prop_assert_eq!(&again, out);
            prop_assert_eq!(second.dropped_fields + second.dropped_unknown + second.superseded, 0);
        }
    }

    /// Observing changes nothing and finds at least what a decoder finds.
    #[test]
    fn observing_keeps_everything(schema in vec(any::<u8>(), 0..300), message in vec(any::<u8>(), 0..600)) {
        let response = response(&generate::schema(&mut Tape::new(&schema)));
        let bytes = generate::message(&mut Tape::new(&message), &response, &mut Habits::default());
        let plan = Plan::observe(&response, &ByName).unwrap();
        let mut out = Vec::new();
        let mut report = Report::with_subjects_max(10_000);
        plan.apply(&bytes, &mut out, &mut report).unwrap();
        prop_assert_eq!(&out, &bytes);
        let mut expected = BTreeSet::new();
        reference::subjects(&DynamicMessage::decode(response, bytes.as_slice()).unwrap(), &mut expected);
        let found: BTreeSet<Vec<u8>> = report.subjects.iter().map(<[u8]>::to_vec).collect();
        prop_assert!(found.is_superset(&expected), "{found:?} {expected:?}");

        let mut alone = Report::with_subjects_max(10_000);
        plan.subjects(&bytes, &mut alone).unwrap();
        prop_assert!(alone.subjects.iter().eq(report.subjects.iter()));
    }

    /// Any bytes at all: an answer or an error, never a panic, and nothing of a refused message left behind.
    #[test]
    fn survives_any_bytes(schema in vec(any::<u8>(), 0..300), grant in vec(any::<u8>(), 0..100), bytes in vec(any::<u8>(), 0..200)) {
        let response = response(&generate::schema(&mut Tape::new(&schema)));
        let grant = generate::grant(&mut Tape::new(&grant), &response);
        let mut out = Vec::new();
        let mut report = Report::new();
        let plan = Plan::compile(&response, &ByName, &grant).unwrap();
        if plan.apply(&bytes, &mut out, &mut report).is_err() {
            prop_assert!(out.is_empty());
            prop_assert_eq!(report.dropped_unknown + report.dropped_fields + report.masked, 0);
        }
        let _ = Plan::observe(&response, &ByName).unwrap().subjects(&bytes, &mut report);
    }
}
