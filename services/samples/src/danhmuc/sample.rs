//! A handful of units for the day when the real list is not at hand. Every name says that it is a sample.

use lienthong_proto::vn::danhmuc::v1::AdministrativeUnit;

use super::code_list::{COMMUNE, PROVINCE};

/// Ends every Vietnamese name of the sample.
pub const SAMPLE_MARK_VI: &str = "(dữ liệu mẫu)";

/// Ends every English name of the sample.
pub const SAMPLE_MARK_EN: &str = "(sample)";

/// Code, Vietnamese name, English name, code of the unit above.
const UNITS: [(&str, &str, &str, &str); 10] = [
    ("01", "Thành phố Hà Nội", "Hanoi City", ""),
    ("00004", "Phường Ba Đình", "Ba Dinh Ward", "01"),
    ("00008", "Phường Ngọc Hà", "Ngoc Ha Ward", "01"),
    ("00025", "Phường Giảng Võ", "Giang Vo Ward", "01"),
    ("46", "Thành phố Huế", "Hue City", ""),
    ("19753", "Phường Phú Xuân", "Phu Xuan Ward", "46"),
    ("48", "Thành phố Đà Nẵng", "Da Nang City", ""),
    ("20197", "Phường Liên Chiểu", "Lien Chieu Ward", "48"),
    ("79", "Thành phố Hồ Chí Minh", "Ho Chi Minh City", ""),
    ("25747", "Phường Thủ Dầu Một", "Thu Dau Mot Ward", "79"),
];

/// The sample units.
pub fn units() -> Vec<AdministrativeUnit> {
    let unit = |(code, name, english, above): (&str, &str, &str, &str)| AdministrativeUnit {
        ma_dvhc: code.into(),
        ten_dvhc: format!("{name} {SAMPLE_MARK_VI}"),
        ten_tieng_anh: format!("{english} {SAMPLE_MARK_EN}"),
        cap: if above.is_empty() { PROVINCE } else { COMMUNE }.into(),
        ma_cap_tren: above.into(),
        ma_cu: String::new(),
        hieu_luc_tu: String::new(),
    };
    UNITS.map(unit).to_vec()
}
