//! Reasons, deadlines and holidays: what the law may change without a new program.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::Date;
use time::macros::format_description;

use crate::calendar::Calendar;

/// The duty file that this program knows.
pub const VIETNAM: &str = include_str!("vietnam.toml");
/// Holidays that a file may list.
pub const HOLIDAYS_MAX: usize = 1_000;
/// Days of one holiday.
const HOLIDAY_DAYS_MAX: i64 = 31;

/// The rules that the operator sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutyRules {
    /// Reasons that are accepted, by code.
    pub reasons: BTreeMap<String, Reason>,
    /// Deadlines.
    pub days: Days,
    /// Working days.
    pub calendar: Calendar,
}

/// A reason that a provider may give.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Code, for example `OVERLOAD`.
    pub code: String,
    /// In Vietnamese.
    pub name_vi: String,
    /// In English.
    pub name_en: String,
    /// Where the law names it.
    pub source: String,
}

/// Deadlines, working days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Days {
    /// To answer a connection request.
    pub connection_answer: u32,
    /// Notice of planned maintenance.
    pub maintenance_notice: u32,
    /// For the provider to answer a dispute.
    pub provider: u32,
    /// For the information-technology unit above it.
    pub it_unit: u32,
    /// For the operator, before it is the Government's.
    pub operator: u32,
}

impl Default for Days {
    fn default() -> Days {
        Days { connection_answer: 2, maintenance_notice: 7, provider: 7, it_unit: 7, operator: 7 }
    }
}

/// The rules as their file says them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    /// Deadlines.
    #[serde(default)]
    pub days: Days,
    /// Reasons.
    pub reasons: Vec<Reason>,
    /// Days off.
    pub holidays: Vec<Holiday>,
    /// Weekend days that are worked for days off elsewhere, for example `2026-08-22`.
    #[serde(default)]
    pub made_up: Vec<String>,
}

/// One holiday.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Holiday {
    /// Its name.
    pub name_vi: String,
    /// First day off, for example `2026-02-16`.
    pub from: String,
    /// Last day off.
    pub to: String,
}

/// A file that says no rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the duty file: {0}")]
pub struct RulesError(String);

impl TryFrom<RulesFile> for DutyRules {
    type Error = RulesError;

    fn try_from(file: RulesFile) -> Result<DutyRules, RulesError> {
        let wrong = |problem: String| Err(RulesError(problem));
        let mut reasons = BTreeMap::new();
        for reason in file.reasons {
            let is_code = !reason.code.is_empty()
                && reason.code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if !is_code {
                return wrong(format!("reason {:?}: write capital letters and _", reason.code));
            }
            if let Some(twice) = reasons.insert(reason.code.clone(), reason) {
                return wrong(format!("reason {} comes twice; list it once", twice.code));
            }
        }
        if reasons.is_empty() {
            return wrong("no reason is accepted; list those of R-05".to_owned());
        }
        if file.holidays.len() > HOLIDAYS_MAX || file.made_up.len() > HOLIDAYS_MAX {
            return wrong(format!("more than {HOLIDAYS_MAX} holidays; leave out years that have passed"));
        }
        let mut days_off = Vec::new();
        for holiday in file.holidays {
            let (from, to) = (day(&holiday.from)?, day(&holiday.to)?);
            let last = (to - from).whole_days();
            if !(0..HOLIDAY_DAYS_MAX).contains(&last) {
                return wrong(format!("{}: from {from} to {to} is no holiday", holiday.name_vi));
            }
            days_off.extend((0..=last).map(|days| from.saturating_add(time::Duration::days(days))));
        }
        let made_up = file.made_up.iter().map(|text| day(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(DutyRules { reasons, days: file.days, calendar: Calendar::new(days_off, made_up) })
    }
}

fn day(text: &str) -> Result<Date, RulesError> {
    let format = format_description!("[year]-[month]-[day]");
    Date::parse(text, format).map_err(|_| RulesError(format!("{text:?} is no day; write it as 2026-02-16")))
}

/// What was read of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Accepted: it suspends.
    Lawful,
    /// Kept and reported; the data goes on. Why.
    Unjustified(String),
}

impl DutyRules {
    /// Judges a refusal by its reason and legal basis.
    pub fn judge(&self, reason: &str, legal_basis: &str) -> Judgement {
        if !self.reasons.contains_key(reason) {
            let known: Vec<&str> = self.reasons.keys().map(String::as_str).collect();
            return Judgement::Unjustified(format!(
                "the reason is none of those that the law knows ({}); lý do không thuộc danh mục được phép từ chối (R-05)",
                known.join(", ")
            ));
        }
        if legal_basis.trim().is_empty() {
            let why = "no legal basis is cited; không viện dẫn căn cứ pháp lý (R-04)";
            return Judgement::Unjustified(why.to_owned());
        }
        Judgement::Lawful
    }
}
