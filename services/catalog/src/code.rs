//! Codes: of agencies, of parties outside the political system, of dossiers.
//!
//! Sources: QĐ 20/2020/QĐ-TTg Articles 4–6 (agency codes), NĐ 61/2018/NĐ-CP (dossier codes). A code says
//! where its agency stands in the hierarchy, so that delegation and R-23 are prefix tests on group borders.

/// Longest agency code, characters (QĐ 20/2020 Article 4).
pub const AGENCY_CODE_CHARS_MAX: usize = 35;

/// Longest identifier after the scheme of a `Z` code, characters (QĐ 20/2020 Article 6).
const OTHER_SCHEME_ID_CHARS_MAX: usize = 32;

/// True for the code of a body of the political system: `M X1 X2`, M in A–Y, then groups of `[0-9A-Z]` split
/// by `.`, from the top down.
pub fn is_state_code(text: &str) -> bool {
    if text.len() > AGENCY_CODE_CHARS_MAX {
        return false;
    }
    let mut groups = text.split('.');
    let first = groups.next().unwrap_or_default().as_bytes();
    matches!(first, [b'A'..=b'Y', b'0'..=b'9', b'0'..=b'9'])
        && groups.all(|group| !group.is_empty() && group.bytes().all(is_code_character))
}

/// True for a code of another scheme: `Z01`–`Z99` and an identifier of that scheme.
pub fn is_other_scheme_code(text: &str) -> bool {
    match text.as_bytes() {
        [b'Z', tens @ b'0'..=b'9', units @ b'0'..=b'9', id @ ..] => {
            (*tens, *units) != (b'0', b'0')
                && (1..=OTHER_SCHEME_ID_CHARS_MAX).contains(&id.len())
                && id.iter().all(|byte| *byte == b'.' || is_code_character(*byte))
        }
        _ => false,
    }
}

/// True for the business number of an enterprise, co-operative or household business: 10 digits, and 3 more
/// for a branch.
pub fn is_business_number(text: &str) -> bool {
    let (number, branch) =
        text.split_once('-').map_or((text, None), |(number, branch)| (number, Some(branch)));
    is_digits(number, 10) && branch.is_none_or(|branch| is_digits(branch, 3))
}

/// True for the code of any party: a state body, another scheme, or a business number.
pub fn is_party_code(text: &str) -> bool {
    is_state_code(text) || is_other_scheme_code(text) || is_business_number(text)
}

/// True where `code` is `ancestor` or stands below it. `H26` is above `H26.90` and not above `H260`; codes of
/// other schemes have nothing below them.
pub fn is_within(code: &str, ancestor: &str) -> bool {
    match code.strip_prefix(ancestor) {
        Some("") => true,
        Some(rest) => rest.starts_with('.') && is_state_code(ancestor) && is_state_code(code),
        None => false,
    }
}

/// True for a dossier code: `<agency_code>-YYMMDD-NNNN`, with a date that exists.
pub fn is_dossier_code(text: &str) -> bool {
    let mut parts = text.rsplitn(3, '-');
    let (Some(sequence), Some(date), Some(agency)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    is_digits(sequence, 4) && is_date(date) && is_state_code(agency)
}

/// `YYMMDD` of this century.
fn is_date(text: &str) -> bool {
    if !is_digits(text, 6) {
        return false;
    }
    let pair = |at: usize| text[at..at + 2].parse::<u8>().unwrap_or_default();
    time::Month::try_from(pair(2))
        .is_ok_and(|month| time::Date::from_calendar_date(2000 + i32::from(pair(0)), month, pair(4)).is_ok())
}

fn is_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_code_character(byte: u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agency_codes_follow_the_decision() {
        for good in ["G01", "H26.90", "D90", "Y99.0A.ZZ", "H26.000000000000000000000000000000Z"] {
            assert!(is_state_code(good), "{good}");
        }
        let long = format!("H26.{}", "0".repeat(32));
        for bad in [
            "",
            "G1",
            "g01",
            "Z01",
            "G01.",
            "G01..1",
            ".G01",
            "G01.9a",
            "G01 ",
            "000.00.00.H26",
            &long,
            "H26.９０",
        ] {
            assert!(!is_state_code(bad), "{bad}");
        }
        for good in ["Z01A", "Z99.1.2", "Z10ABC"] {
            assert!(is_other_scheme_code(good), "{good}");
        }
        for bad in ["Z00A", "Z01", "Z1A", "Z01a", "ZZ1A"] {
            assert!(!is_other_scheme_code(bad), "{bad}");
        }
        for good in ["9900000099", "9900000099-001"] {
            assert!(is_business_number(good), "{good}");
        }
        for bad in
            ["990000009", "99000000999", "9900000099-", "9900000099-01", "9900000099-0011", "99000O0099"]
        {
            assert!(!is_business_number(bad), "{bad}");
        }
    }

    #[test]
    fn a_prefix_counts_on_group_borders_only() {
        assert!(is_within("H26", "H26"));
        assert!(is_within("H26.90", "H26"));
        assert!(is_within("H26.90.1", "H26.90"));
        for (code, ancestor) in [
            ("H260", "H26"),
            ("H26.901", "H26.90"),
            ("H26", "H26.90"),
            ("H26.90", ""),
            ("H26.90", "H2"),
            ("Z01A.B", "Z01A"),
        ] {
            assert!(!is_within(code, ancestor), "{code} {ancestor}");
        }
    }

    #[test]
    fn dossier_codes_carry_agency_date_and_sequence() {
        assert!(is_dossier_code("H26.90-261121-0001"));
        assert!(is_dossier_code("G01-240229-9999"));
        for bad in [
            "",
            "H26.90",
            "H26.90-261121",
            "H26.90-261121-001",
            "H26.90-261121-00001",
            "H26.90-261321-0001",
            "H26.90-250229-0001",
            "h26-261121-0001",
            "H26.90-261121-000a",
            "X-H26.90-261121-0001",
            "H26.90-26112é-0001",
        ] {
            assert!(!is_dossier_code(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC*") {
            let _ = (is_state_code(&text), is_other_scheme_code(&text), is_business_number(&text), is_dossier_code(&text));
        }

        #[test]
        fn within_means_equal_or_longer_by_whole_groups(a in "[GH][0-9]{2}(\\.[0-9A-Z]{1,2}){0,3}", b in "[GH][0-9]{2}(\\.[0-9A-Z]{1,2}){0,3}") {
            let groups = |code: &str| code.split('.').map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(is_within(&a, &b), groups(&a).starts_with(&groups(&b)));
        }
    }
}
