//! A text that matches a field's regular expression (R-40).

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::{chance::Chance, fake};

/// Longest pattern that is read, bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Longest text that is made, bytes: a pattern may ask for any length.
pub const TEXT_BYTES_MAX: usize = 1024;

/// How often a part that may be repeated without end is repeated beyond its minimum.
const REPEATS_MORE_MAX: u32 = 4;

/// Bytes of a compiled pattern; larger ones are not checked, so nothing is made from them.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// Texts tried before giving up: one may be spoilt by what keeps it from being real.
const ATTEMPTS_MAX: usize = 8;

/// A pattern that was read.
#[derive(Debug)]
pub struct Pattern {
    check: Regex,
    form: Hir,
}

impl Pattern {
    /// Reads a pattern; `None` for one that is malformed, or larger than [`PATTERN_BYTES_MAX`].
    pub fn read(pattern: &str) -> Option<Self> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return None;
        }
        let check = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build().ok()?;
        Some(Self { check, form: regex_syntax::parse(pattern).ok()? })
    }

    /// True where the text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.check.is_match(text)
    }

    /// A text that matches and is nobody's number; `None` where there seems to be none.
    pub fn text(&self, chance: &Chance) -> Option<String> {
        (0..ATTEMPTS_MAX).find_map(|attempt| {
            let mut text = String::new();
            write(&self.form, &mut chance.at(attempt), &mut text)?;
            let made_up = fake::made_up(&text);
            let text = if self.matches(&made_up) { made_up } else { text };
            (self.matches(&text) && !fake::may_be_real(&text)).then_some(text)
        })
    }
}

/// Writes one text of the form; `None` when it grows beyond [`TEXT_BYTES_MAX`], or holds what is no text.
fn write(form: &Hir, chance: &mut Chance, text: &mut String) -> Option<()> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    match form.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(character(class, chance)?),
        HirKind::Repetition(repetition) => {
            let max = repetition.max.unwrap_or(repetition.min.saturating_add(REPEATS_MORE_MAX));
            let more = u64::from(max.saturating_sub(repetition.min).min(REPEATS_MORE_MAX)) + 1;
            let times = u64::from(repetition.min) + chance.below(more);
            for _ in 0..times {
                write(&repetition.sub, chance, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, chance, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, chance, text))?,
        HirKind::Alternation(choices) => write(chance.one_of(choices)?, chance, text)?,
    }
    Some(())
}

/// A character of a class: of its part that people can read, where it has one.
fn character(class: &Class, chance: &mut Chance) -> Option<char> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => {
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
        Class::Bytes(class) => {
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
    };
    let within = |from: u32, to: u32| -> Vec<(u32, u32)> {
        let cut = ranges.iter().map(|(start, end)| ((*start).max(from), (*end).min(to)));
        cut.filter(|(start, end)| start <= end).collect()
    };
    let readable = [('a', 'z'), ('A', 'Z'), ('0', '9'), (' ', '~')];
    let readable = readable.map(|(from, to)| within(from.into(), to.into()));
    let ranges = readable.iter().find(|ranges| !ranges.is_empty()).unwrap_or(&ranges);
    let (start, end) = *chance.one_of(ranges)?;
    let place = u32::try_from(chance.below(u64::from(end - start) + 1)).ok()?;
    char::from_u32(start + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_of_the_samples_have_texts() {
        let patterns = [
            "^[0-9]{12}$",
            "^[0-9]{10}(-[0-9]{3})?$",
            "^([0-9]{2}|[0-9]{5})$",
            "^(TINH|XA)$",
            r"^\d{4}-\d{2}-\d{2}$",
            "^[A-ZĐ]{2,}$",
            "",
        ];
        for pattern in patterns {
            let read = Pattern::read(pattern).unwrap();
            for n in 0..50 {
                let text = read.text(&Chance::of("test").at(n)).unwrap();
                assert!(read.matches(&text), "{pattern}: {text}");
                assert!(!fake::may_be_real(&text), "{pattern}: {text}");
            }
        }
        let person = Pattern::read("^[0-9]{12}$").unwrap();
        assert!(person.text(&Chance::of("test")).unwrap().starts_with("999"));
    }

    #[test]
    fn what_could_only_be_real_is_not_made() {
        assert_eq!(Pattern::read("^0[0-9]{11}$").unwrap().text(&Chance::of("test")), None);
        assert_eq!(Pattern::read("^a{2000}$").unwrap().text(&Chance::of("test")), None, "too long");
        assert!(Pattern::read("(").is_none());
        assert!(Pattern::read(&"a".repeat(2000)).is_none());
    }

    proptest::proptest! {
        #[test]
        fn rubbish_never_panics(pattern in ".{0,60}") {
            if let Some(read) = Pattern::read(&pattern)
                && let Some(text) = read.text(&Chance::of("test")) {
                proptest::prop_assert!(read.matches(&text));
            }
        }
    }
}
