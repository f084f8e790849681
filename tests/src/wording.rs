//! The words of a page: what the house wrote on it for people, without what the mesh happens to hold.
//!
//! Left out are the cells and row heads of tables, the values of facts, and times; numbers, ids and hashes in a sentence become
//! `…`. So the words of a page are the same today and tomorrow, on a quick machine and on a slow one. Labels, buttons and
//! summaries in a table's first row are words of the house, too.

use std::collections::{BTreeMap, BTreeSet};

/// Elements that do not end a line.
const INLINE: [&str; 9] = ["a", "b", "br", "code", "em", "span", "strong", "time", "title"];

/// Elements without an end.
const VOID: [&str; 4] = ["br", "input", "link", "meta"];

/// Elements of a form, that are told even in a cell.
const FORM: [&str; 4] = ["button", "input", "label", "summary"];

/// Where an element begins or ends within a line: words on both sides of it are two, though no space is written.
const EDGE: char = '\u{1}';

/// The words of a page, a line each.
pub fn words(page: &str) -> Vec<String> {
    let mut reader = Reader::default();
    let mut rest = page;
    while let Some((text, behind)) = rest.split_once('<') {
        reader.text(text);
        // A sign of this kind within an attribute is written as an entity.
        let (tag, behind) = behind.split_once('>').unwrap_or((behind, ""));
        match tag.strip_prefix('/') {
            Some(name) => reader.close(name),
            None => reader.open(tag),
        }
        rest = behind;
    }
    reader.text(rest);
    reader.end_line();
    reader.lines
}

#[derive(Default)]
struct Reader {
    lines: Vec<String>,
    line: String,
    /// What the present line is: a heading, an item, ….
    mark: &'static str,
    /// The elements around, each with whether its text is told.
    around: Vec<(String, bool)>,
    /// Rows of the present table's body so far.
    rows: usize,
}

impl Reader {
    fn open(&mut self, tag: &str) {
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if !INLINE.contains(&name) {
            self.end_line();
            self.mark = mark(name);
        }
        match name {
            "tbody" => self.rows = 0,
            "tr" => self.rows += 1,
            _ => {}
        }
        let told = self.tells(name, tag);
        if told {
            for (attribute, mark) in [("aria-label", "aria-label: "), ("placeholder", "placeholder: ")] {
                if let Some(value) = value(tag, attribute).filter(|value| !value.is_empty()) {
                    self.lines.push(format!("{mark}{}", lasting(value)));
                }
            }
        }
        match name {
            "time" if told => self.line.push('…'),
            "br" => self.line.push(' '),
            _ => self.line.push(EDGE),
        }
        if !VOID.contains(&name) {
            self.around.push((name.to_owned(), told && name != "time"));
        }
    }

    fn tells(&self, name: &str, tag: &str) -> bool {
        let around = self.around.last().is_none_or(|(_, told)| *told);
        match name {
            "head" | "td" | "dd" => false,
            "th" => around && value(tag, "scope") != Some("row"),
            _ if FORM.contains(&name) => around || self.rows == 1,
            _ => around,
        }
    }

    fn close(&mut self, name: &str) {
        if INLINE.contains(&name) {
            self.line.push(EDGE);
        } else {
            self.end_line();
        }
        while let Some((open, _)) = self.around.pop() {
            if open == name {
                break;
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.around.last().is_some_and(|(_, told)| *told) {
            self.line.push_str(text);
        }
    }

    fn end_line(&mut self) {
        let line = lasting(&self.line);
        if !line.is_empty() {
            self.lines.push(format!("{}{line}", self.mark));
            self.mark = "";
        }
        self.line.clear();
    }
}

const fn mark(element: &str) -> &'static str {
    match element.as_bytes() {
        b"h1" => "# ",
        b"h2" => "## ",
        b"li" => "- ",
        b"th" => "| ",
        b"option" => "  ",
        b"button" => "> ",
        _ => "",
    }
}

fn value<'t>(tag: &'t str, attribute: &str) -> Option<&'t str> {
    let (_, behind) = tag.split_once(&format!(" {attribute}=\""))?;
    Some(behind.split_once('"')?.0)
}

/// A text as it is on every run.
fn lasting(text: &str) -> String {
    let text = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")]
        .into_iter()
        .fold(apart(text), |text, (written, meant)| text.replace(written, meant));
    text.split_whitespace().map(lasting_word).collect::<Vec<_>>().join(" ")
}

/// A text in which an edge between two words, or a word and a sign, is a space, and any other is nothing.
fn apart(text: &str) -> String {
    let mut parts = text.split(EDGE).filter(|part| !part.is_empty());
    let mut apart = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        if is_word(part.chars().next()) && (is_word(apart.chars().last()) || apart.ends_with('%')) {
            apart.push(' ');
        }
        apart.push_str(part);
    }
    apart
}

fn lasting_word(word: &str) -> String {
    let parts = word.split_inclusive(['/', '@']).map(|part| {
        let bare = part.trim_matches([',', '.', ';', ':', '(', ')', '#', '+', '/', '@']);
        if passes(bare) { part.replace(bare, "…") } else { part.to_owned() }
    });
    parts.collect()
}

/// Whether a word is a number, an id or a hash.
fn passes(word: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let grouped = word.split('.').enumerate().all(|(place, group)| {
        digits(group) && (if place == 0 { !group.is_empty() } else { group.len() == 3 })
    });
    let hexadecimal = word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    grouped || hexadecimal
}

/// Where two texts of sections differ, each of which begins with a line `=== heading`: the heading, and the lines between what
/// is the same before and after; `-` before what only the first has, `+` before what only the second has.
pub fn differences(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (sections(before), sections(after));
    let headings: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let nothing = Vec::new();
    let mut told = Vec::new();
    for heading in headings {
        let (mut before, mut after) =
            (before.get(heading).unwrap_or(&nothing).clone(), after.get(heading).unwrap_or(&nothing).clone());
        if before == after {
            continue;
        }
        let same = |(one, other): &(&&str, &&str)| one == other;
        let begin = before.iter().zip(&after).take_while(same).count();
        before.drain(..begin);
        after.drain(..begin);
        let end = before.iter().rev().zip(after.iter().rev()).take_while(same).count();
        before.truncate(before.len() - end);
        after.truncate(after.len() - end);
        told.push(format!("=== {heading}"));
        told.extend(before.iter().map(|line| format!("- {line}")));
        told.extend(after.iter().map(|line| format!("+ {line}")));
    }
    told
}

fn sections(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let sections = text.split("=== ").filter(|section| !section.is_empty());
    sections
        .map(|section| (section.lines().next().unwrap_or_default(), section.lines().skip(1).collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_house_wrote_is_told_and_what_the_mesh_holds_is_not() {
        let page = "<head><title>T</title></head><body><ul><li><strong>7</strong>nút</li></ul><h1>Trao đổi 019b0000-1111-7222-8333-444455556666</h1>\
                    <p role=\"status\">1.234 mục, <strong>12</strong> / 13 từ <time datetime=\"x\">hôm nay</time>.</p>\
                    <dl><div><dt>Nút</dt><dd>G01</dd></div></dl>\
                    <table aria-label=\"Bảng &amp; số\"><thead><tr><th scope=\"col\">Mã</th></tr></thead>\
                    <tbody><tr><th scope=\"row\">A</th><td>b<form><label>Lý do</label><input placeholder=\"H26.90\"></form></td></tr>\
                    <tr><td><button>Đóng</button></td></tr></tbody></table>\
                    <pre><code>lienthong show changes/00000012@3</code></pre></body>";
        let expected = [
            "- … nút",
            "# Trao đổi …",
            "… mục, … / … từ ….",
            "Nút",
            "aria-label: Bảng & số",
            "| Mã",
            "Lý do",
            "placeholder: H26.90",
            "lienthong show changes/…@…",
        ];
        assert_eq!(words(page), expected);
    }
    #[test]
    fn of_two_texts_only_what_differs_is_told() {
        let before = "=== a\none\ntwo\nthree\n\n=== b\nfour\n\n=== gone\nx\n";
        let after = "=== a\none\n2\nthree\n\n=== b\nfour\n\n=== new\ny\n";
        let expected = ["=== a", "- two", "+ 2", "=== gone", "- x", "=== new", "+ y"];
        assert_eq!(differences(before, after), expected);
        assert_eq!(differences(before, before), Vec::<String>::new());
    }
}
