//! The rules, as they stand in a file: TOML, unknown keys refused, each mistake named with its rule.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Rules that apply where the operator has written none. A file to begin from.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// Rules of one file, at most.
pub const RULES_MAX: usize = 64;

/// The longest window, minutes: 31 days.
pub const WINDOW_MINUTES_MAX: u32 = 31 * 24 * 60;

/// The longest name of a rule, characters.
pub const NAME_CHARS_MAX: usize = 64;

/// The rules of one file. Each is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name; no other rule of the file has it.
    pub name: String,
    /// Whose asking is counted.
    pub of: Whose,
    /// Only these datasets; one that ends in `*` stands for whatever begins so; empty: all.
    pub datasets: Vec<String>,
    /// Systems that it does not look at.
    pub except: Vec<String>,
    /// What trips it.
    pub test: Test,
}

/// Whose asking a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// A system's, with all its end users.
    System,
    /// One end user's of a system.
    User,
}

/// What trips a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// More records in a window than `least`, and than `times_usual` times the usual.
    VolumeSpike {
        /// Window, milliseconds.
        window_ms: i64,
        /// Records.
        least: u64,
        /// How often the usual.
        times_usual: u32,
    },
    /// Anything asked outside the hours.
    OffHours(Hours),
    /// As many people, or answers that found nobody, under one dossier in a window.
    Enumeration {
        /// Window, milliseconds.
        window_ms: i64,
        /// People.
        least: u64,
    },
    /// As many denials in a window.
    RepeatedDenials {
        /// Window, milliseconds.
        window_ms: i64,
        /// Denials.
        least: u64,
    },
}

/// Working hours, by the clock of Việt Nam.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// First minute of the day.
    pub from: u32,
    /// Minute of the day behind the last one; before `from`: on the next morning.
    pub to: u32,
    /// Days on which they begin, Monday first.
    pub days: [bool; 7],
}

/// Why a file of rules is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// It is not TOML, or has a key that no rule knows.
    #[error("the watch rules cannot be read: {0}")]
    Toml(String),
    /// A rule is wrong.
    #[error("watch rule {name:?}: {problem}")]
    Rule {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// More than [`RULES_MAX`].
    #[error("{0} watch rules; at most {RULES_MAX} are applied")]
    TooMany(usize),
}

impl Default for Rules {
    fn default() -> Self {
        // A test reads them; without any, nothing is watched.
        Self::parse(DEFAULTS).unwrap_or(Self(Vec::new()))
    }
}

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// [`RulesError`] naming the first mistake.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(text).map_err(|error| RulesError::Toml(error.to_string()))?;
        if file.rule.len() > RULES_MAX {
            return Err(RulesError::TooMany(file.rule.len()));
        }
        let mut names = BTreeSet::new();
        let read = |raw: RawRule| {
            let name = raw.name.clone();
            let wrong = |problem: String| RulesError::Rule { name: name.clone(), problem };
            if !names.insert(raw.name.clone()) {
                return Err(wrong("another rule has this name".to_owned()));
            }
            raw.check().map_err(wrong)
        };
        file.rule.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The rules, in the order of the file.
    pub fn as_slice(&self) -> &[Rule] {
        &self.0
    }
}

impl Rule {
    /// Whether it looks at what this system asks of this dataset.
    pub fn looks_at(&self, system: &str, dataset: &str) -> bool {
        let is = |pattern: &String| match pattern.strip_suffix('*') {
            Some(begin) => dataset.starts_with(begin),
            None => pattern == dataset,
        };
        !self.except.iter().any(|other| other == system)
            && (self.datasets.is_empty() || self.datasets.iter().any(is))
    }
}

impl Hours {
    /// Whether a moment, in Unix milliseconds, lies within them.
    pub fn hold(&self, time_ms: i64) -> bool {
        let (day, minute) = local(time_ms);
        let works = |day: i64| {
            // 1970-01-01 was a Thursday.
            usize::try_from((day + 3).rem_euclid(7))
                .ok()
                .and_then(|day| self.days.get(day))
                .is_some_and(|on| *on)
        };
        if self.from < self.to {
            works(day) && (self.from..self.to).contains(&minute)
        } else {
            (works(day) && minute >= self.from) || (works(day - 1) && minute < self.to)
        }
    }
}

/// Day since 1970 and minute of the day, by the clock of Việt Nam, which knows no summer time.
pub(crate) fn local(time_ms: i64) -> (i64, u32) {
    const MINUTE_MS: i64 = 60_000;
    const DAY_MINUTES: i64 = 24 * 60;
    let minutes = time_ms.div_euclid(MINUTE_MS).saturating_add(7 * 60);
    (minutes.div_euclid(DAY_MINUTES), u32::try_from(minutes.rem_euclid(DAY_MINUTES)).unwrap_or(0))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    VolumeSpike,
    OffHours,
    Enumeration,
    RepeatedDenials,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    kind: Kind,
    name: String,
    of: Whose,
    #[serde(default)]
    datasets: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    window_minutes: Option<u32>,
    least: Option<u64>,
    times_usual: Option<u32>,
    from: Option<String>,
    to: Option<String>,
    days: Option<Vec<Day>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    const fn place(self) -> usize {
        match self {
            Self::Mon => 0,
            Self::Tue => 1,
            Self::Wed => 2,
            Self::Thu => 3,
            Self::Fri => 4,
            Self::Sat => 5,
            Self::Sun => 6,
        }
    }
}

impl RawRule {
    fn check(self) -> Result<Rule, String> {
        let Self { kind, name, of, datasets, except, window_minutes, least, times_usual, from, to, days } =
            self;
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(format!("give a name of 1 to {NAME_CHARS_MAX} characters"));
        }
        let counts = kind != Kind::OffHours;
        let keys = [
            ("window_minutes", window_minutes.is_some(), counts),
            ("least", least.is_some(), counts),
            ("times_usual", times_usual.is_some(), kind == Kind::VolumeSpike),
            ("from", from.is_some(), !counts),
            ("to", to.is_some(), !counts),
            ("days", days.is_some(), !counts),
        ];
        for (key, is_there, belongs) in keys {
            match (is_there, belongs) {
                (true, false) => {
                    return Err(format!("{key} has no meaning in a rule of this kind; leave it out"));
                }
                (false, true) => return Err(format!("{key} is missing")),
                _ => {}
            }
        }
        let window_ms = match window_minutes.unwrap_or(1) {
            minutes @ 1..=WINDOW_MINUTES_MAX => i64::from(minutes) * 60_000,
            _ => return Err(format!("window_minutes: give 1 to {WINDOW_MINUTES_MAX}")),
        };
        let least = least.filter(|least| *least > 0 || !counts);
        let least = if counts { least.ok_or("least: give at least 1")? } else { 0 };
        let test = match kind {
            Kind::VolumeSpike => {
                let times_usual =
                    times_usual.filter(|times| *times > 0).ok_or("times_usual: give at least 1")?;
                Test::VolumeSpike { window_ms, least, times_usual }
            }
            Kind::Enumeration => Test::Enumeration { window_ms, least },
            Kind::RepeatedDenials => Test::RepeatedDenials { window_ms, least },
            Kind::OffHours => {
                let (from, to) = (minute("from", from)?, minute("to", to)?);
                if from == to {
                    return Err("from and to are the same time of day".to_owned());
                }
                let mut on = [false; 7];
                days.into_iter().flatten().for_each(|day| on[day.place()] = true);
                Test::OffHours(Hours { from, to, days: on })
            }
        };
        Ok(Rule { name, of, datasets, except, test })
    }
}

/// A time of day as "HH:MM"; 24:00 is the end of the day.
fn minute(key: &str, text: Option<String>) -> Result<u32, String> {
    let text = text.unwrap_or_default();
    let parsed = || {
        let (hour, minute) = text.split_once(':')?;
        if hour.len() != 2 || minute.len() != 2 {
            return None;
        }
        let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
        (minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
    };
    parsed().ok_or_else(|| format!("{key}: give a time of day such as \"07:30\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(rule: &str) -> String {
        Rules::parse(&format!("[[rule]]\n{rule}")).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_sound() {
        assert!(Rules::parse(DEFAULTS).unwrap().as_slice().len() >= 5);
        assert_eq!(Rules::default(), Rules::parse(DEFAULTS).unwrap());
    }

    #[test]
    fn each_mistake_is_named_with_its_rule() {
        let head = "kind = \"enumeration\"\nname = \"n\"\nof = \"user\"\n";
        assert!(problem(head).contains("\"n\": window_minutes is missing"));
        assert!(problem(&format!("{head}window_minutes = 5\nleast = 0")).contains("least"));
        assert!(problem(&format!("{head}window_minutes = 0\nleast = 1")).contains("window_minutes: give"));
        assert!(problem(&format!("{head}window_minutes = 5\nleast = 1\ndays = []")).contains("leave it out"));
        assert!(problem(&format!("{head}colour = 5")).contains("colour"));
        let hours = |from: &str| {
            format!(
                "kind = \"off-hours\"\nname = \"n\"\nof = \"user\"\nfrom = \"{from}\"\nto = \"17:00\"\ndays = [\"mon\"]"
            )
        };
        for from in ["7:30", "07:60", "25:00", "", "ab:cd", "24:01", "17:00"] {
            assert!(problem(&hours(from)).contains("from"), "{from}");
        }
        let good = format!("[[rule]]\n{}", hours("07:30"));
        assert!(Rules::parse(&format!("{good}\n{good}")).unwrap_err().to_string().contains("another rule"));
    }

    #[test]
    fn hours_are_those_of_the_place_and_may_reach_into_the_morning() {
        let at = |day: i64, hour: i64, minute: i64| ((day * 24 + hour - 7) * 60 + minute) * 60_000;
        // 2026-11-20 was a Friday: day 20,777.
        let days = [true, true, true, true, true, false, false];
        let office = Hours { from: 7 * 60, to: 17 * 60, days };
        assert!(office.hold(at(20_777, 7, 0)) && office.hold(at(20_777, 16, 59)));
        assert!(!office.hold(at(20_777, 6, 59)) && !office.hold(at(20_777, 17, 0)));
        assert!(!office.hold(at(20_778, 12, 0)), "Saturday");
        let night = Hours { from: 22 * 60, to: 6 * 60, days };
        assert!(night.hold(at(20_777, 23, 0)) && night.hold(at(20_778, 5, 59)), "Friday night");
        assert!(
            !night.hold(at(20_778, 6, 0)) && !night.hold(at(20_778, 23, 0)) && !night.hold(at(20_776, 12, 0))
        );
    }
}
