//! Working days of Việt Nam: Monday to Friday at UTC+07:00, but for the holidays, and with the Saturdays that make up for
//! them. Tết follows the moon and swaps are decided each year, so that holidays are data.

use std::collections::BTreeSet;

use time::{Date, OffsetDateTime, Time, UtcOffset, Weekday};

/// Days that one count walks at most: ten years. Beyond it, every day counts.
const DAYS_WALKED_MAX: u32 = 3_660;

/// Days off, and days made up for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    holidays: BTreeSet<Date>,
    made_up: BTreeSet<Date>,
}

impl Calendar {
    /// A calendar of these days off, and these weekend days that are worked instead.
    pub fn new(
        holidays: impl IntoIterator<Item = Date>,
        made_up: impl IntoIterator<Item = Date>,
    ) -> Calendar {
        Calendar { holidays: holidays.into_iter().collect(), made_up: made_up.into_iter().collect() }
    }

    /// Whether offices work on this day.
    pub fn is_working_day(&self, day: Date) -> bool {
        if self.made_up.contains(&day) {
            return true;
        }
        !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) && !self.holidays.contains(&day)
    }

    /// The end of the last of `days` working days, counted from the day after `from`: midnight in Việt Nam.
    pub fn due(&self, from: OffsetDateTime, days: u32) -> OffsetDateTime {
        let mut day = local_day(from);
        let (mut left, mut walked) = (days, 0);
        while left > 0 {
            let Some(next) = day.next_day() else { break };
            day = next;
            walked += 1;
            if walked > DAYS_WALKED_MAX || self.is_working_day(day) {
                left -= 1;
            }
        }
        end_of(day)
    }

    /// Whole working days after the day of `from` and before the day of `to`.
    pub fn between(&self, from: OffsetDateTime, to: OffsetDateTime) -> u32 {
        let (mut day, last) = (local_day(from), local_day(to));
        let (mut days, mut walked) = (0, 0);
        while let Some(next) = day.next_day().filter(|next| *next < last) {
            day = next;
            walked += 1;
            if walked > DAYS_WALKED_MAX {
                break;
            }
            days += u32::from(self.is_working_day(day));
        }
        days
    }

    /// The last day that the data knows of: beyond it, holidays count as working days.
    pub fn last_day(&self) -> Option<Date> {
        self.holidays.last().copied()
    }
}

/// The day in Việt Nam (UTC+07:00, without summer time).
pub fn local_day(at: OffsetDateTime) -> Date {
    at.to_offset(vietnam()).date()
}

fn end_of(day: Date) -> OffsetDateTime {
    let next = day.next_day().unwrap_or(day);
    next.with_time(Time::MIDNIGHT).assume_offset(vietnam()).to_offset(UtcOffset::UTC)
}

fn vietnam() -> UtcOffset {
    UtcOffset::from_hms(7, 0, 0).unwrap_or(UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::{date, datetime};

    use super::*;

    fn calendar() -> Calendar {
        let tet = (0..5).map(|days| date!(2026 - 02 - 16) + time::Duration::days(days));
        Calendar::new(tet, [date!(2026 - 08 - 22)])
    }

    #[test]
    fn the_border_of_a_day_is_midnight_in_viet_nam() {
        // 17:30 UTC on Monday is already Tuesday in Việt Nam.
        let monday = datetime!(2026-11-23 16:30 UTC);
        assert_eq!(calendar().due(monday, 1), datetime!(2026-11-24 17:00 UTC));
        let tuesday = datetime!(2026-11-23 17:30 UTC);
        assert_eq!(calendar().due(tuesday, 1), datetime!(2026-11-25 17:00 UTC));
    }

    #[test]
    fn weekends_and_tet_do_not_count_and_made_up_days_do() {
        let friday = datetime!(2026-02-13 03:00 UTC);
        // Tết takes the whole next week: the seven days end on the second Tuesday after it.
        assert_eq!(calendar().due(friday, 7), datetime!(2026-03-03 17:00 UTC));
        assert!(calendar().is_working_day(date!(2026 - 08 - 22)), "a Saturday that is made up for");
        assert_eq!(calendar().between(friday, datetime!(2026-02-25 03:00 UTC)), 2);
        assert_eq!(calendar().between(friday, friday), 0);
        assert_eq!(calendar().last_day(), Some(date!(2026 - 02 - 20)));
    }

    proptest! {
        /// A later beginning is never due earlier, more days never end earlier, and what is due is as many days away.
        #[test]
        fn time_goes_one_way(from in 1_700_000_000_i64..1_900_000_000, more in 0_i64..10_000_000, days in 0_u32..40) {
            let calendar = calendar();
            let from = OffsetDateTime::from_unix_timestamp(from).unwrap();
            let later = from + time::Duration::seconds(more);
            let due = calendar.due(from, days);
            prop_assert!(due > from);
            prop_assert!(calendar.due(later, days) >= due);
            prop_assert!(calendar.due(from, days + 1) > due);
            // The last of the days is the one before midnight.
            prop_assert_eq!(calendar.between(from, due), days);
        }
    }
}
