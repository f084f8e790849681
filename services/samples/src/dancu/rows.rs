//! The persons of the sample register. Nobody here exists: every number starts with 999, which no province has.

use lienthong_proto::vn::dancu::v1::Citizen;
use prost_types::Timestamp;

use super::register::{DEAD, LIVING, Resident};

/// The commune of permanent residence of the demo's person: Phường Ba Đình, Hà Nội.
pub const DEMO_WARD: &str = "00004";

/// Persons made up by rule beside the four of the story, so that lists have several pages.
pub const GENERATED_COUNT: u32 = 52;

/// Moment of the oldest record: 2026-10-01 00:00 UTC. Each further record changed a minute later.
const FIRST_CHANGE_UNIX_SECONDS: i64 = 1_790_812_800;

/// Real communes and their provinces: places are open data, only persons are made up.
const PLACES: [(&str, &str); 6] = [
    (DEMO_WARD, "Phường Ba Đình, Thành phố Hà Nội"),
    ("00008", "Phường Ngọc Hà, Thành phố Hà Nội"),
    ("00025", "Phường Giảng Võ, Thành phố Hà Nội"),
    ("20197", "Phường Liên Chiểu, Thành phố Đà Nẵng"),
    ("19753", "Phường Phú Xuân, Thành phố Huế"),
    ("25747", "Phường Thủ Dầu Một, Thành phố Hồ Chí Minh"),
];

const FAMILY_NAMES: [&str; 8] = ["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Vũ", "Đặng", "Bùi"];

const MEN: [&str; 5] = ["Văn Thử", "Minh Họa", "Giả Lập", "Hữu Mẫu", "Đức Ví Dụ"];

const WOMEN: [&str; 5] = ["Thị Mẫu", "Thị Thử", "Ngọc Ví Dụ", "Thí Điểm", "Thị Minh Họa"];

const ETHNIC_GROUPS: [&str; 5] = ["Kinh", "Tày", "Thái", "Mường", "Khmer"];

const MARITAL_STATUSES: [&str; 3] = ["Chưa kết hôn", "Đã kết hôn", "Đã ly hôn"];

/// Everybody: the four persons of the story first, then the generated ones.
pub fn residents() -> Vec<Resident> {
    let persons = story().into_iter().chain((1..=GENERATED_COUNT).map(generated));
    (0..).zip(persons).map(|(index, person)| person.registered(index)).collect()
}

struct Person {
    number: String,
    name: String,
    born: String,
    sex: &'static str,
    ethnic_group: &'static str,
    place: usize,
    house: String,
    marital_status: &'static str,
    status: &'static str,
}

impl Person {
    fn registered(self, index: i64) -> Resident {
        let (commune, place) = PLACES[self.place];
        let address = format!("{}, {place}", self.house);
        Resident {
            citizen: Citizen {
                so_dinh_danh: self.number,
                ho_ten: self.name,
                ngay_sinh: self.born,
                gioi_tinh: self.sex.into(),
                dan_toc: self.ethnic_group.into(),
                quoc_tich: "Việt Nam".into(),
                que_quan: PLACES[(self.place + 1) % PLACES.len()].1.into(),
                noi_thuong_tru: address.clone(),
                noi_o_hien_tai: address,
                tinh_trang_hon_nhan: self.marital_status.into(),
                trang_thai: self.status.into(),
                cap_nhat_luc: Some(Timestamp { seconds: FIRST_CHANGE_UNIX_SECONDS + index * 60, nanos: 0 }),
            },
            ma_dvhc_thuong_tru: commune.into(),
        }
    }
}

/// The persons whom the demo and the scenarios name.
fn story() -> [Person; 4] {
    let person = |number: &str, name: &str, born: &str, sex, place, status| Person {
        number: number.into(),
        name: name.into(),
        born: born.into(),
        sex,
        ethnic_group: "Kinh",
        place,
        house: "Số 1 phố Thử Nghiệm".into(),
        marital_status: "Đã kết hôn",
        status,
    };
    [
        person("999190000001", "Nguyễn Văn Mẫu", "1990-01-15", "Nam", 0, LIVING),
        person("999295000002", "Trần Thị Thử", "1995-06-20", "Nữ", 1, LIVING),
        person("999188000003", "Lê Thí Điểm", "1988-03-08", "Nữ", 0, DEAD),
        Person {
            marital_status: "Chưa kết hôn",
            ..person("999301000004", "Nguyễn Mẫu An", "2026-11-16", "Nữ", 0, LIVING)
        },
    ]
}

/// The `index`-th person made by rule. The number reads 999, century and sex, year of birth, a serial, as real ones do.
fn generated(index: u32) -> Person {
    let pick = |list: &[&'static str], step: u32| list[(index / step) as usize % list.len()];
    let woman = index % 2 == 1;
    let year = 50 + index * 7 % 50;
    Person {
        number: format!("999{}{year}{:06}", u8::from(woman), 100_000 + index),
        name: format!("{} {}", pick(&FAMILY_NAMES, 1), pick(if woman { &WOMEN } else { &MEN }, 2)),
        born: format!("19{year}-{:02}-{:02}", index % 12 + 1, index * 5 % 28 + 1),
        sex: if woman { "Nữ" } else { "Nam" },
        ethnic_group: pick(&ETHNIC_GROUPS, 3),
        place: index as usize % PLACES.len(),
        house: format!("Số {} phố Thử Nghiệm", index + 1),
        marital_status: pick(&MARITAL_STATUSES, 4),
        status: LIVING,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use unicode_normalization::is_nfc;

    use super::*;

    #[test]
    fn every_person_is_visibly_fake_and_has_a_number_of_his_own() {
        let residents = residents();
        let numbers: BTreeSet<_> = residents.iter().map(|resident| &resident.citizen.so_dinh_danh).collect();
        assert_eq!(numbers.len(), residents.len());
        assert_eq!(residents.len(), 56);
        for number in numbers {
            assert!(number.starts_with("999") && number.len() == 12, "{number}");
            assert!(number.bytes().all(|byte| byte.is_ascii_digit()), "{number}");
        }
    }

    #[test]
    fn every_text_is_nfc_and_every_field_filled() {
        for Resident { citizen, .. } in residents() {
            for text in [
                &citizen.ho_ten,
                &citizen.ngay_sinh,
                &citizen.gioi_tinh,
                &citizen.dan_toc,
                &citizen.quoc_tich,
                &citizen.que_quan,
                &citizen.noi_thuong_tru,
                &citizen.noi_o_hien_tai,
                &citizen.tinh_trang_hon_nhan,
                &citizen.trang_thai,
            ] {
                assert!(!text.is_empty() && is_nfc(text), "{citizen:?}");
            }
        }
    }
}
