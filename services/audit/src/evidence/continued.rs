//! Whether an exchange with many subjects is here whole: a closing record says how many continuation records stand before
//! it, and a file that leaves one out hides whom the exchange was about.

use std::collections::BTreeSet;

use lienthong_proto::lienthong::audit::v1::{Continuation, Record, record::Body};

use super::{EVIDENCE_RECORDS_MAX, EvidenceReport};
use crate::hash::Hash;

/// Checks that each closing record has the continuations that it names. A file that is as long as a file may be says what it
/// lacks, and is not false for it.
pub(super) fn check(records: &[(u64, Hash, Record)], report: &mut EvidenceReport) {
    for (at, _, record) in records {
        let Some(Body::Closing(closing)) = &record.body else { continue };
        if closing.continuations == 0 {
            continue;
        }
        let parts = parts_of(records, &record.recorder, &closing.opening_hash);
        let missing = (1..=closing.continuations).filter(|part| !parts.contains(part)).count();
        let what = format!("the {} continuations of record {at} are here", closing.continuations);
        if missing > 0 && records.len() >= EVIDENCE_RECORDS_MAX {
            report.notes.push(format!("not all of {what}: {missing} are missing"));
        } else {
            report.add(missing == 0, what);
        }
    }
}

/// The parts that a node recorded of the exchange which it opened by this record.
fn parts_of(records: &[(u64, Hash, Record)], recorder: &str, opening: &[u8]) -> BTreeSet<u32> {
    let continuations = records.iter().filter(|(_, _, record)| record.recorder == recorder);
    let parts = continuations.filter_map(|(_, _, record)| match &record.body {
        Some(Body::Continuation(Continuation { opening_hash, part, .. })) if opening_hash == opening => {
            Some(*part)
        }
        _ => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::audit::v1::Closing;

    use super::*;
    use crate::hash::leaf_hash;

    fn record(recorder: &str, body: Body) -> Record {
        Record { recorder: recorder.to_owned(), body: Some(body), ..Record::default() }
    }

    fn continuation(recorder: &str, opening: u8, part: u32) -> Record {
        let continuation = Continuation { opening_hash: vec![opening; 32], part, ..Continuation::default() };
        record(recorder, Body::Continuation(continuation))
    }

    fn closing(recorder: &str, opening: u8, continuations: u32) -> Record {
        let closing = Closing { opening_hash: vec![opening; 32], continuations, ..Closing::default() };
        record(recorder, Body::Closing(closing))
    }

    fn judged(records: Vec<Record>) -> EvidenceReport {
        let records: Vec<_> = (0..).zip(records).map(|(at, one)| (at, leaf_hash(b""), one)).collect();
        let mut report = EvidenceReport::default();
        check(&records, &mut report);
        report
    }

    #[test]
    fn every_part_of_each_side_must_be_here() {
        let whole = || {
            vec![
                continuation("a", 1, 1),
                continuation("a", 1, 2),
                closing("a", 1, 2),
                continuation("b", 2, 1),
                closing("b", 2, 1),
            ]
        };
        let report = judged(whole());
        assert!(report.is_sound() && report.checks.len() == 2, "{report:?}");
        for left_out in [0, 1, 3] {
            let mut records = whole();
            records.remove(left_out);
            assert!(!judged(records).is_sound(), "{left_out}");
        }
        // Neither another node's nor another opening's, nor the same one twice, stands for it.
        for stranger in [continuation("b", 1, 2), continuation("a", 2, 2), continuation("a", 1, 1)] {
            let mut records = whole();
            records[1] = stranger;
            assert!(!judged(records).is_sound());
        }
        assert_eq!(judged(vec![closing("a", 1, 0)]).checks, []);
    }

    #[test]
    fn a_file_that_is_full_says_what_it_lacks() {
        let mut records: Vec<_> =
            (2..).take(EVIDENCE_RECORDS_MAX - 1).map(|part| continuation("a", 1, part)).collect();
        records.push(closing("a", 1, 2_000));
        let report = judged(records);
        assert_eq!((report.checks.len(), report.notes.len()), (0, 1), "{report:?}");
    }
}
