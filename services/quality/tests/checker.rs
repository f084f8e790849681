//! What records are like, by their contract: counted as it is, whatever the bytes are.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

use lienthong_proto::descriptors;
use lienthong_proto::lienthong::audit::v1::SampledQuality;
use lienthong_proto::vn::dancu::v1::{Citizen, GetCitizenResponse, ListCitizensResponse};
use lienthong_quality::{Checker, Sample};
use proptest::prelude::*;
use prost::Message;
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-22 05:00 UTC);

fn checker(message: &str) -> Option<Checker> {
    let pool = descriptors::pool(descriptors::DANCU).unwrap();
    Checker::of(&pool.get_message_by_name(message).unwrap())
}

fn citizen(number: &str) -> Citizen {
    Citizen {
        so_dinh_danh: number.to_owned(),
        ho_ten: "Nguyễn Văn Mẫu".to_owned(),
        ngay_sinh: "1990-01-31".to_owned(),
        cap_nhat_luc: Some(Timestamp { seconds: NOW.unix_timestamp() - 90, nanos: 0 }),
        ..Citizen::default()
    }
}

fn looked_at(citizens: Vec<Citizen>) -> SampledQuality {
    let list = ListCitizensResponse { citizens, ..ListCitizensResponse::default() };
    let mut sample = Sample::default();
    checker("vn.dancu.v1.ListCitizensResponse").unwrap().look_at(&list.encode_to_vec(), NOW, &mut sample);
    sample.quality().unwrap_or_default()
}

#[test]
fn good_records_are_only_counted() {
    let quality = looked_at(vec![citizen("999190000001"), citizen("999295000002")]);
    assert_eq!(quality, SampledQuality { records: 2, age_ms: Some(90_000), ..SampledQuality::default() });
}

/// The bad rows of: a wrong length, a missing field, a key that comes twice, no time of the last change.
#[test]
fn each_fault_is_counted_as_what_it_is() {
    let wrong = looked_at(vec![citizen("99919000000")]);
    assert_eq!((wrong.incorrect, wrong.incomplete), (1, 0), "an id of eleven digits");
    let nameless = looked_at(vec![Citizen { ho_ten: String::new(), ..citizen("999190000001") }]);
    assert_eq!((nameless.incorrect, nameless.incomplete), (0, 1), "a field that is demanded");
    let twice = looked_at(vec![citizen("999190000001"), citizen("999190000001")]);
    assert_eq!((twice.records, twice.duplicate), (2, 1), "a key that comes twice");
    let undated = looked_at(vec![Citizen { cap_nhat_luc: None, ..citizen("999190000001") }]);
    assert_eq!((undated.undated, undated.age_ms), (1, None), "no time of the last change");
    let stale = Citizen { cap_nhat_luc: Some(Timestamp { seconds: 1, nanos: 0 }), ..citizen("999190000002") };
    let both = looked_at(vec![stale, citizen("999190000001")]);
    assert_eq!(both.age_ms, Some(90_000), "the youngest counts");
}

#[test]
fn keys_are_remembered_over_the_messages_of_one_exchange() {
    let checker = checker("vn.dancu.v1.GetCitizenResponse").unwrap();
    let message = GetCitizenResponse { citizen: Some(citizen("999190000001")) }.encode_to_vec();
    let mut sample = Sample::default();
    checker.look_at(&message, NOW, &mut sample);
    checker.look_at(&message, NOW, &mut sample);
    assert_eq!(sample.quality().unwrap().duplicate, 1);
}

#[test]
fn where_nothing_is_demanded_there_is_nothing_to_check() {
    assert!(checker("vn.dancu.v1.GetCitizenRequest").is_none());
    assert!(Sample::default().quality().is_none());
}

proptest! {
    /// Whatever a backend sends, counting it breaks nothing and never counts more faults than records.
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..200) {
        let checker = checker("vn.dancu.v1.ListCitizensResponse").unwrap();
        let mut sample = Sample::default();
        checker.look_at(&bytes, NOW, &mut sample);
        let list = ListCitizensResponse { citizens: vec![citizen("999190000001"); 3], ..ListCitizensResponse::default() };
        let mut message = list.encode_to_vec();
        message.truncate(cut);
        message.extend(&bytes);
        checker.look_at(&message, NOW, &mut sample);
        if let Some(quality) = sample.quality() {
            for count in [quality.incorrect, quality.incomplete, quality.duplicate, quality.undated] {
                prop_assert!(count <= quality.records);
            }
        }
    }
}
