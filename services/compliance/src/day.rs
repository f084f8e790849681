//! Days and years of Việt Nam (UTC+07:00, without summer time): the law counts in them.

use time::macros::offset;
use time::{Date, OffsetDateTime};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The day of a moment, Unix milliseconds; the first day there is for one that no calendar has.
pub fn of_ms(at_ms: i64) -> Date {
    let at = OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1_000));
    at.map_or(Date::MIN, of)
}

/// The day of a moment.
pub fn of(at: OffsetDateTime) -> Date {
    at.checked_to_offset(offset!(+7)).map_or(Date::MIN, OffsetDateTime::date)
}

/// Unix milliseconds of a moment.
pub fn unix_ms(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// The first moment after a day, Unix milliseconds.
pub fn end_ms(day: Date) -> i64 {
    let next = day.next_day().unwrap_or(Date::MAX);
    unix_ms(next.midnight().assume_offset(offset!(+7)))
}

/// A day as it is written: `2026-12-31`.
pub fn written(day: Date) -> String {
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

/// A day as [`written`]; `None` for anything else.
pub fn read(text: &str) -> Option<Date> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    Date::parse(text, format).ok()
}

/// The same day so many months later; the last day of that month where it has no such day.
pub fn months_later(day: Date, months: u8) -> Date {
    let index = i32::from(u8::from(day.month())) - 1 + i32::from(months);
    let year = day.year() + index / 12;
    let month = u8::try_from(index % 12 + 1).ok().and_then(|month| time::Month::try_from(month).ok());
    let Some(month) = month else { return day };
    let last = month.length(year);
    Date::from_calendar_date(year, month, day.day().min(last)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_viet_nam() {
        assert_eq!(of(datetime!(2026-12-31 16:59:59 UTC)), date!(2026 - 12 - 31));
        assert_eq!(of(datetime!(2026-12-31 17:00 UTC)), date!(2027 - 01 - 01));
        assert_eq!(end_ms(date!(2026 - 12 - 31)), unix_ms(datetime!(2026-12-31 17:00 UTC)));
        assert_eq!(of_ms(i64::MIN), Date::MIN);
    }

    #[test]
    fn half_a_year_later_is_a_day_that_there_is() {
        assert_eq!(months_later(date!(2026 - 08 - 31), 6), date!(2027 - 02 - 28));
        assert_eq!(months_later(date!(2026 - 12 - 15), 6), date!(2027 - 06 - 15));
        assert_eq!(months_later(date!(2026 - 06 - 30), 6), date!(2026 - 12 - 30));
    }

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(read(&written(date!(2026 - 02 - 03))), Some(date!(2026 - 02 - 03)));
        assert_eq!(read("2026-2-3x"), None);
    }
}
