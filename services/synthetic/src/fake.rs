//! What keeps a synthetic value from being taken for a real person's or company's: numbers in ranges that no
//! authority issues. The sample registers use the same.

/// Digits of a personal identification number (số định danh cá nhân).
pub const PERSON_DIGITS: usize = 12;

/// With which a made-up one begins: no province has this code.
pub const PERSON_PREFIX: &str = "999";

/// Digits of an enterprise code (mã số doanh nghiệp), without its branch.
pub const ENTERPRISE_DIGITS: usize = 10;

/// With which a made-up one begins.
pub const ENTERPRISE_PREFIX: &str = "99";

/// The text with every run of digits that could be somebody's number moved to a range that nobody's is in.
pub fn made_up(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut run = String::new();
    for character in text.chars().chain(std::iter::once('\0')) {
        if character.is_ascii_digit() {
            run.push(character);
            continue;
        }
        let prefix = match run.len() {
            PERSON_DIGITS => PERSON_PREFIX,
            ENTERPRISE_DIGITS => ENTERPRISE_PREFIX,
            _ => "",
        };
        made.push_str(prefix);
        made.push_str(&run[prefix.len()..]);
        run.clear();
        made.push(character);
    }
    made.pop();
    made
}

/// True for a text with a run of 12 digits that could be a real person's number.
pub fn may_be_real(text: &str) -> bool {
    let runs = text.split(|character: char| !character.is_ascii_digit());
    runs.into_iter().any(|run| run.len() == PERSON_DIGITS && !run.starts_with(PERSON_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_persons_and_companies_are_moved() {
        assert_eq!(made_up("001190000001"), "999190000001");
        assert_eq!(made_up("0101234567-001"), "9901234567-001");
        assert_eq!(made_up("a 001190000001, 12345"), "a 999190000001, 12345");
        assert_eq!(made_up(""), "");
        assert_eq!(made_up("0011900000012"), "0011900000012", "13 digits are nobody's");
    }

    proptest::proptest! {
        #[test]
        fn what_is_made_up_is_never_real(text in "[0-9a-zA-ZĐđ .-]{0,40}") {
            let made = made_up(&text);
            proptest::prop_assert!(!may_be_real(&made), "{made}");
            proptest::prop_assert_eq!(made.chars().count(), text.chars().count());
        }
    }
}
