//! Values with a form of their own: days and durations.

use std::time::Duration;

use time::Date;
use time::macros::format_description;

use super::object::Object;

/// Longest duration that is taken: a year.
const DURATION_SECONDS_MAX: u64 = 366 * 86_400;

impl Object<'_, '_, '_> {
    /// A day, ISO 8601; `None` where absent.
    pub(super) fn date(&mut self, key: &'static str) -> Option<Date> {
        let node = self.optional(key)?;
        let text = self.text_item(key, node)?;
        let date = Date::parse(&text, format_description!("[year]-[month]-[day]")).ok();
        if date.is_none() {
            let message = format!("{key} {text:?} is no date");
            self.wrong(node.place, "format", message, "write a day that exists: 2026-11-01");
        }
        date
    }

    /// A duration: a whole number and `s`, `m`, `h` or `d`; `None` where absent.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let node = self.optional(key)?;
        let text = self.text_item(key, node)?;
        let duration = parse_duration(&text);
        if duration.is_none() {
            let remedy = "write a number and s, m, h or d, at most a year: 15m, 24h, 7d";
            self.wrong(node.place, "format", format!("{key} {text:?} is no duration"), remedy);
        }
        duration
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit_seconds)?;
    (seconds <= DURATION_SECONDS_MAX).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_whole_and_bounded() {
        for (text, seconds) in [("0s", 0), ("15m", 900), ("24h", 86_400), ("366d", DURATION_SECONDS_MAX)] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "h", "1", "-1h", "+1h", "1.5h", "1 h", "1w", "367d", "99999999999999999999d", "1é", "１h"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC*") {
            let _ = parse_duration(&text);
        }
    }
}
