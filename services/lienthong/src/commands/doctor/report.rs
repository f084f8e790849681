//! Findings as a person or a machine reads them. Pure.

use clap::ValueEnum;
use serde_json::json;

use crate::{
    commands::doctor::finding::{Finding, Status, Text, is_well},
    out::{Colour, paint},
};

/// Language of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// Vietnamese
    Vi,
    /// English
    En,
    /// Vietnamese and English
    Both,
}

impl Lang {
    /// The language of the environment: the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is set.
    pub fn of_environment() -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
        Self::of_locale(set.into_iter().find(|value| !value.is_empty()).as_deref().unwrap_or_default())
    }

    /// The language of a locale such as `vi_VN.UTF-8`; both for any other than Vietnamese and English.
    pub fn of_locale(locale: &str) -> Self {
        match locale.split(['_', '.', '@']).next() {
            Some("vi") => Self::Vi,
            Some("en") => Self::En,
            _ => Self::Both,
        }
    }

    fn of(self, text: &Text) -> Vec<&str> {
        match self {
            Self::Vi => vec![&text.vi],
            Self::En => vec![&text.en],
            Self::Both if text.vi == text.en => vec![&text.vi],
            Self::Both => vec![&text.vi, &text.en],
        }
    }
}

/// The report for a person.
pub fn lines(findings: &[Finding], lang: Lang, colourful: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in findings {
        let mark = match finding.status {
            Status::Ok => paint(Colour::Green, "✓", colourful),
            Status::Warn => paint(Colour::Bold, "!", colourful),
            Status::Fail => paint(Colour::Red, "✗", colourful),
            Status::Skip => paint(Colour::Dim, "–", colourful),
        };
        let title = lang.of(&finding.check.title()).join(" / ");
        let of = if finding.subject.is_empty() { String::new() } else { format!(" [{}]", finding.subject) };
        let seen = lang.of(&finding.seen);
        lines.push(format!("{mark} {title}{of}: {}", seen.first().copied().unwrap_or_default()));
        lines.extend(seen.iter().skip(1).map(|more| format!("    {more}")));
        if let Some(fix) = &finding.fix {
            lines.extend(lang.of(fix).into_iter().map(|fix| format!("    → {fix}")));
        }
    }
    let count = |status: Status| findings.iter().filter(|finding| finding.status == status).count();
    let (ok, warn) = (count(Status::Ok), count(Status::Warn));
    let (fail, skip) = (count(Status::Fail), count(Status::Skip));
    let sum = Text {
        vi: format!("{ok} tốt, {warn} cần chú ý, {fail} hỏng, {skip} chưa xem"),
        en: format!("{ok} ok, {warn} to watch, {fail} broken, {skip} not looked at"),
    };
    lines.extend(lang.of(&sum).into_iter().map(str::to_owned));
    lines
}

/// The report for a machine.
pub fn to_json(findings: &[Finding]) -> String {
    json!({ "ok": is_well(findings), "checks": findings }).to_string()
}
