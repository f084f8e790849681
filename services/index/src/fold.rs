//! Text as people type it in a hurry: without case, without Vietnamese marks.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The text in lower case, without marks, `đ` as `d`, runs of blanks as one. "Hà Nội", "HA NOI" and "ha  noi" fold to the
/// same.
pub fn fold(text: &str) -> String {
    // Codes, names of resources and ids: they have no marks.
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    let mut blank = false;
    for letter in text.nfkd().filter(|letter| !is_combining_mark(*letter)) {
        if letter.is_whitespace() {
            blank = !folded.is_empty();
            continue;
        }
        if std::mem::take(&mut blank) {
            folded.push(' ');
        }
        match letter {
            'đ' | 'Đ' => folded.push('d'),
            other => folded.extend(other.to_lowercase()),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_case_and_blanks_make_no_difference() {
        for text in
            ["Bộ Công an", "BỘ CÔNG AN", "bo cong an", " Bo\u{323}\u{302}  Công\tan ", "Bô\u{323} Công an"]
        {
            assert_eq!(fold(text), "bo cong an", "{text}");
        }
        assert_eq!(fold("Đường Điện Biên Phủ"), "duong dien bien phu");
        assert_eq!(fold("H26.90"), "h26.90");
        assert_eq!(fold("  "), "");
    }

    proptest! {
        #[test]
        fn a_code_folds_as_any_text(text in "[!-~]{0,40}") {
            let (alone, beside) = (format!("{} e", fold(&text)), fold(&format!("{text} ế")));
            prop_assert_eq!(alone.trim_start(), beside);
        }

        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
