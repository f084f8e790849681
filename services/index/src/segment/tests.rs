use proptest::prelude::*;

use super::*;
use crate::query::Clause;
use crate::row::Row;

fn dimension(number: u8) -> Dimension {
    [Dimension::Consumer, Dimension::Dataset, Dimension::User, Dimension::Subject][usize::from(number % 4)]
}

fn row() -> impl Strategy<Value = Row> {
    let term = (0..4_u8, "[ab]{1,3}").prop_map(|(number, value)| Term::text(dimension(number), &value));
    let time = prop_oneof![8 => 0..50_i64, 1 => Just(NO_TIME_MS)];
    (time, prop::collection::vec(term, 0..6)).prop_map(|(time, terms)| Row::new(time, terms))
}

fn query() -> impl Strategy<Value = Query> {
    let clause =
        (0..4_u8, prop::collection::vec((any::<bool>(), "[ab]{0,3}"), 1..3)).prop_map(|(number, wants)| {
            let want = |(exactly, value): (bool, String)| {
                let term = Term::text(dimension(number), &value);
                if exactly { Want::Exactly(term) } else { Want::Beginning(term) }
            };
            Clause(wants.into_iter().map(want).collect())
        });
    let times = prop::option::of((0..50_i64, 0..50_i64).prop_map(|(a, b)| a.min(b)..a.max(b)));
    (prop::collection::vec(clause, 0..4), times).prop_map(|(clauses, times_ms)| Query { clauses, times_ms })
}

/// The block of rows as two open segments.
fn open(first_index: u64, rows: &[Row]) -> (Segment<Vec<u8>>, Segment<Vec<u8>>) {
    let built = build(first_index, rows);
    (Segment::open(built.terms).unwrap(), Segment::open(built.subjects).unwrap())
}

fn expected(rows: &[Row], query: &Query, below: u64) -> Vec<u64> {
    let accepted = (100..).zip(rows).filter(|(index, row)| *index < below && query.accepts(row));
    let mut indexes: Vec<u64> = accepted.map(|(index, _)| index).collect();
    indexes.reverse();
    indexes
}

proptest! {
    #[test]
    fn a_segment_answers_as_its_rows_do(
        rows in prop::collection::vec(row(), 0..80), query in query(), below in 90..190_u64, page in 1..100_usize,
    ) {
        let (terms, subjects) = open(100, &rows);
        let mut expected = expected(&rows, &query, below);
        expected.truncate(page);
        prop_assert_eq!(search(&terms, &subjects, &query, below, page).unwrap(), expected);
    }

    #[test]
    fn merged_segments_are_those_that_would_have_been_built(
        rows in prop::collection::vec(row(), 1..120), cuts in prop::collection::vec(1..40_usize, 1..6),
    ) {
        let (mut terms, mut subjects, mut begin) = (Vec::new(), Vec::new(), 0);
        for cut in cuts {
            let end = (begin + cut).min(rows.len());
            let (one, other) = open(100 + begin as u64, &rows[begin..end]);
            terms.push(one);
            subjects.push(other);
            begin = end;
            if begin == rows.len() {
                break;
            }
        }
        let whole = build(100, &rows[..begin]);
        // Times of blocks in which nothing has one widen the span, nothing else.
        let merged = Segment::open(merge(&terms, Vec::new()).unwrap()).unwrap();
        let direct = Segment::open(whole.terms).unwrap();
        prop_assert_eq!(merged.blocks(), direct.blocks());
        for block in 0..direct.blocks() {
            prop_assert_eq!(merged.terms_of(block).unwrap(), direct.terms_of(block).unwrap());
        }
        let (mut merged_times, mut direct_times) = (merged.times(), direct.times());
        for entry in 0..direct.entries() {
            prop_assert_eq!(merged_times.of(entry).unwrap(), direct_times.of(entry).unwrap());
        }
        prop_assert_eq!(merge(&subjects, Vec::new()).unwrap(), whole.subjects);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic(
        rows in prop::collection::vec(row(), 1..60), at in any::<prop::sample::Index>(), flip in 1..=255_u8, cut in any::<bool>(),
    ) {
        let mut bytes = build(100, &rows).terms;
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= flip;
        }
        if let Ok(segment) = Segment::open(bytes) {
            // What opens either says that it is damaged, or gives what was there.
            let (direct, _) = open(100, &rows);
            for block in 0..segment.blocks() {
                if let Ok(terms) = segment.terms_of(block) {
                    prop_assert_eq!(terms, direct.terms_of(block).unwrap());
                }
            }
            let (mut times, mut direct_times) = (segment.times(), direct.times());
            for entry in 0..segment.entries() {
                if let Ok(time) = times.of(entry) {
                    prop_assert_eq!(time, direct_times.of(entry).unwrap());
                }
            }
        }
    }

    #[test]
    fn any_bytes_open_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Segment::open(bytes).is_err());
    }
}

#[test]
fn long_lists_and_many_blocks_are_found() {
    let rows: Vec<Row> = (0..20_000_u32)
        .map(|number| {
            let each = Term::bytes(Dimension::Exchange, &number.to_be_bytes());
            let some = Term::text(Dimension::Consumer, if number % 3 == 0 { "H26.90" } else { "G01" });
            Row::new(i64::from(number), vec![each, some])
        })
        .collect();
    let (terms, subjects) = open(0, &rows);
    assert!(terms.blocks() > 20);
    for number in [0_u32, 1, 9_999, 19_999] {
        let want = Want::Exactly(Term::bytes(Dimension::Exchange, &number.to_be_bytes()));
        let query = Query { clauses: vec![Clause(vec![want])], times_ms: None };
        assert_eq!(search(&terms, &subjects, &query, u64::MAX, 10).unwrap(), [u64::from(number)]);
    }
    let agency = Want::Exactly(Term::text(Dimension::Consumer, "h26.90"));
    let query = Query { clauses: vec![Clause(vec![agency])], times_ms: Some(300..400) };
    let found = search(&terms, &subjects, &query, u64::MAX, 3).unwrap();
    assert_eq!(found, [399, 396, 393]);
}

/// A file that counts how often it is read.
struct Counted(Vec<u8>, std::cell::Cell<usize>);

impl ReadAt for Counted {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.set(self.1.get() + 1);
        self.0.read_exact_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

#[test]
fn a_question_about_time_reads_only_the_times_that_may_answer_it() {
    // Every seventh has no time; the first chunk has none at all.
    let time =
        |number: u32| if number < 1_024 || number.is_multiple_of(7) { NO_TIME_MS } else { i64::from(number) };
    let rows: Vec<Row> = (0..20_000_u32).map(|number| Row::new(time(number), vec![])).collect();
    let built = build(0, &rows);
    let counted = |bytes| Segment::open(Counted(bytes, 0.into())).unwrap();
    let (terms, subjects) = (counted(built.terms), counted(built.subjects));
    let opened = terms.source().1.get();
    let query = |times| Query { clauses: vec![], times_ms: Some(times) };
    assert_eq!(search(&terms, &subjects, &query(1_030..1_032), u64::MAX, 10).unwrap(), [1_031, 1_030]);
    assert_eq!(terms.source().1.get() - opened, 1, "one chunk, once");
    let found = search(&terms, &subjects, &query(0..20_000), u64::MAX, 20_000).unwrap();
    assert_eq!(found.len(), rows.iter().filter(|row| row.time_ms != NO_TIME_MS).count());
}

#[test]
fn an_erased_person_is_in_no_segment_and_everybody_else_is() {
    let token = |number: u8| Term::bytes(Dimension::Subject, &[number; 16]);
    let rows: Vec<Row> = (0..100_u8).map(|number| Row::new(0, vec![token(number % 10)])).collect();
    let (_, subjects) = open(0, &rows);
    let erased =
        |number: u8| move |term: &[u8]| term == Term::bytes(Dimension::Subject, &[number; 16]).as_bytes();
    let kept = erase(subjects, Vec::new(), erased(3)).unwrap();
    let kept = erase(Segment::open(kept).unwrap(), Vec::new(), erased(5)).unwrap();
    assert!(!kept.windows(16).any(|window| window == [3; 16] || window == [5; 16]));
    let kept = Segment::open(kept).unwrap();
    let marked = kept.entries_of(&Want::Exactly(Term::flag(Dimension::SubjectsErased))).unwrap();
    let of_both = (0..100).filter(|number| number % 10 == 3 || number % 10 == 5).collect::<Vec<u32>>();
    assert_eq!(marked, of_both);
    assert_eq!(kept.entries_of(&Want::Exactly(token(3))).unwrap(), [] as [u32; 0]);
    assert_eq!(kept.entries_of(&Want::Exactly(token(4))).unwrap().len(), 10);
}
