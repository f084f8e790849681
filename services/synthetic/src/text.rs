//! What stands in a text field: by its pattern, else by what the dictionary or its name says it is, else its label.

use crate::{chance::Chance, fake, pattern::Pattern};

/// What is known of a text field.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Name in the contract, for example `ho_ten`.
    pub name: &'a str,
    /// Vietnamese label; may be empty.
    pub label: &'a str,
    /// Entry of the shared data dictionary, for example `con_nguoi.ho_ten`; may be empty.
    pub dictionary_ref: &'a str,
    /// Regular expression; may be empty.
    pub regex: &'a str,
}

/// A text for a field; empty where its pattern leaves only what could be real.
pub fn text(known: Known<'_>, chance: &Chance) -> String {
    let meaning = known.dictionary_ref.rsplit('.').next().filter(|word| !word.is_empty());
    let plausible = meaning.and_then(|word| plausible(word, &mut chance.with(b"plausible")));
    let plausible = plausible.or_else(|| plausible_by_name(known.name, chance));
    if known.regex.is_empty() {
        return plausible.unwrap_or_else(|| labelled(known, chance));
    }
    let Some(pattern) = Pattern::read(known.regex) else {
        return String::new();
    };
    // What the dictionary suggests is used where it fits the pattern: a date that exists, a code that is one.
    plausible.filter(|text| pattern.matches(text)).or_else(|| pattern.text(chance)).unwrap_or_default()
}

fn plausible_by_name(name: &str, chance: &Chance) -> Option<String> {
    plausible(name, &mut chance.with(b"plausible"))
}

const FAMILY_NAMES: [&str; 8] = ["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Vũ", "Đặng", "Bùi"];
const GIVEN_NAMES: [&str; 8] =
    ["Văn Mẫu", "Thị Mẫu", "Văn Thử", "Thị Thử", "Giả Lập", "Minh Họa", "Ví Dụ", "Thí Điểm"];

/// Real communes with their codes: places are open data.
const PLACES: [(&str, &str); 4] = [
    ("00004", "Phường Ba Đình, Thành phố Hà Nội"),
    ("20197", "Phường Liên Chiểu, Thành phố Đà Nẵng"),
    ("19753", "Phường Phú Xuân, Thành phố Huế"),
    ("25747", "Phường Thủ Dầu Một, Thành phố Hồ Chí Minh"),
];

/// What a word of the dictionary, or a field's name, stands for.
fn plausible(word: &str, chance: &mut Chance) -> Option<String> {
    let number = chance.below(100) + 1;
    let mut pick = |several: &[&str]| chance.one_of(several).map_or(String::new(), |one| (*one).to_owned());
    Some(match word {
        "so_dinh_danh" => format!("{}{:09}", fake::PERSON_PREFIX, chance.below(1_000_000_000)),
        "ma_so_doanh_nghiep" | "ma_so_thue" => {
            format!("{}{:08}", fake::ENTERPRISE_PREFIX, chance.below(100_000_000))
        }
        "ho_ten" | "full_name" => format!("{} {}", pick(&FAMILY_NAMES), pick(&GIVEN_NAMES)),
        "gioi_tinh" => pick(&["Nam", "Nữ"]),
        "dan_toc" => pick(&["Kinh", "Tày", "Thái", "Mường", "Khmer"]),
        "quoc_tich" => "Việt Nam".to_owned(),
        "tinh_trang_hon_nhan" => pick(&["Chưa kết hôn", "Đã kết hôn", "Đã ly hôn"]),
        "loai_hinh" => pick(&["Công ty TNHH", "Công ty cổ phần", "Doanh nghiệp tư nhân"]),
        "tinh_trang" | "tinh_trang_phap_ly" => pick(&["Đang hoạt động", "Tạm ngừng"]),
        "ten" | "ten_doanh_nghiep" => format!("Công ty Ví Dụ {number}"),
        "ma_dvhc" => chance.one_of(&PLACES)?.0.to_owned(),
        "ten_dvhc" | "que_quan" => chance.one_of(&PLACES)?.1.to_owned(),
        "tru_so" | "address" => address(number, chance)?,
        "email" => format!("mau{number}@sandbox.invalid"),
        _ if word.starts_with("noi_") || word.starts_with("dia_chi") => address(number, chance)?,
        "ngay" | "date" => date(chance),
        _ if word.starts_with("ngay_") || word.ends_with("_date") => date(chance),
        _ => return None,
    })
}

fn address(number: u64, chance: &mut Chance) -> Option<String> {
    Some(format!("Số {number} phố Thử Nghiệm, {}", chance.one_of(&PLACES)?.1))
}

/// A date that exists, ISO 8601.
fn date(chance: &mut Chance) -> String {
    format!("{}-{:02}-{:02}", 1950 + chance.below(70), 1 + chance.below(12), 1 + chance.below(28))
}

/// What nothing is known of says at least what it is.
fn labelled(known: Known<'_>, chance: &Chance) -> String {
    let label = if known.label.is_empty() { known.name } else { known.label };
    fake::made_up(&format!("{label} mẫu {}", chance.with(b"labelled").below(100) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known<'a>(name: &'a str, dictionary_ref: &'a str, regex: &'a str) -> Known<'a> {
        Known { name, label: "", dictionary_ref, regex }
    }

    #[test]
    fn a_text_is_what_the_dictionary_says_if_it_fits_the_pattern() {
        let chance = Chance::of("test");
        let date = text(known("x", "con_nguoi.ngay_sinh", "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), &chance);
        assert!(date[5..7].parse::<u32>().unwrap() <= 12, "{date}");
        assert_eq!(text(known("cap", "dia_chi.cap_dvhc", "^(TINH)$"), &chance), "TINH");
        assert_eq!(text(known("quoc_tich", "", ""), &chance), "Việt Nam");
        assert!(text(known("ghi_chu", "", ""), &chance).starts_with("ghi_chu mẫu "));
        assert_eq!(text(known("x", "", "("), &chance), "", "a pattern that is none has no text");
        assert_eq!(text(known("x", "", "^0[0-9]{11}$"), &chance), "");
    }
}
