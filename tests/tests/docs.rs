//! The documentation holds: what a page links to exists, what it names is there, and every page can be found.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// A link of a page, as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    text: String,
    target: String,
}

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages()? {
        for link in links(&fs::read_to_string(&page)?) {
            if let Err(problem) = follow(&page, &link) {
                wrong.push(format!("{}: [{}]({}): {problem:#}", short(&page), link.text, link.target));
            }
        }
    }
    ensure!(wrong.is_empty(), "{} links lead nowhere:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

#[test]
fn every_page_can_be_reached_from_the_readme() -> Result<()> {
    let mut reached = BTreeSet::from([house().join("README.md")]);
    let mut to_read: Vec<PathBuf> = reached.iter().cloned().collect();
    while let Some(page) = to_read.pop() {
        for link in links(&fs::read_to_string(&page)?) {
            let Some((path, _)) = local(&page, &link.target) else {
                continue;
            };
            let is_page = path.extension().is_some_and(|extension| extension == "md") && path.is_file();
            if is_page && reached.insert(path.clone()) {
                to_read.push(path);
            }
        }
    }
    let hidden: Vec<_> = pages()?.into_iter().filter(|page| !reached.contains(page)).collect();
    ensure!(hidden.is_empty(), "no page leads to {hidden:?}");
    Ok(())
}

#[test]
fn every_path_that_a_page_names_is_there() -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages()? {
        for code in code_spans(&fs::read_to_string(&page)?) {
            if is_path_of_the_house(&code) && !house().join(&code).exists() {
                wrong.push(format!("{}: {code}", short(&page)));
            }
        }
    }
    ensure!(wrong.is_empty(), "pages name what is not there:\n{}", wrong.join("\n"));
    Ok(())
}

/// Rules that the law's part of the house answers for.
const RULES: u32 = 31;

#[test]
fn the_rules_table_has_every_rule_with_its_test() -> Result<()> {
    let page = fs::read_to_string(house().join("docs/rules.md"))?;
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| R-")).collect();
    ensure!(rows.len() == RULES as usize, "{} rows for {RULES} rules", rows.len());
    for (number, row) in (1..=RULES).zip(rows) {
        ensure!(
            row.starts_with(&format!("| R-{number:02} |")),
            "R-{number:02} is not where it should be: {row}"
        );
        let shown = links(row).iter().any(|link| {
            link.text.starts_with('`')
                && Path::new(&link.target).extension().is_some_and(|ending| ending == "rs")
        });
        ensure!(shown, "R-{number:02} names no test: {row}");
    }
    Ok(())
}

#[test]
fn the_readme_has_the_two_commands() -> Result<()> {
    let readme = fs::read_to_string(house().join("README.md"))?;
    for command in ["cargo run --release -- demo", "tests/run"] {
        ensure!(readme.lines().any(|line| line == command), "README.md has no line {command:?} to copy");
    }
    Ok(())
}

#[test]
fn every_dependency_is_accounted_for() -> Result<()> {
    let manifest = fs::read_to_string(house().join("Cargo.toml"))?;
    let page = fs::read_to_string(house().join("docs/decisions/0003-dependencies.md"))?;
    let named: BTreeSet<String> = code_spans(&page).into_iter().collect();
    let section = manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let lines = section.context("Cargo.toml has no [workspace.dependencies]")?.lines();
    let ours: BTreeSet<String> = lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("lienthong") && !name.starts_with('#'))
        .collect();
    ensure!(ours.len() > 10, "only {} dependencies were found: the manifest is read wrongly", ours.len());
    let unexplained: Vec<_> = ours.difference(&named).collect();
    ensure!(unexplained.is_empty(), "decision 0003 does not say why {unexplained:?} is here");
    Ok(())
}

#[test]
fn links_and_code_are_read_as_markdown_means_them() {
    let text = "a [page](one.md#part), `code [no](link)`\n```\n[no](link)\n```\n[`word`](two.rs) `services/x` [t](<a b>)";
    let link = |text: &str, target: &str| Link { text: text.to_owned(), target: target.to_owned() };
    assert_eq!(links(text), [link("page", "one.md#part"), link("`word`", "two.rs"), link("t", "a b")]);
    assert_eq!(code_spans(text), ["code [no](link)", "word", "services/x"]);
    assert_eq!(slug("Two words, and `code`: R-01"), "two-words-and-code-r-01");
}

/// The top of the house.
fn house() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Every page: README, CONTRIBUTING, and all below `docs/`.
fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = vec![house().join("README.md"), house().join("CONTRIBUTING.md")];
    let mut folders = vec![house().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

fn short(page: &Path) -> String {
    page.strip_prefix(house()).unwrap_or(page).display().to_string()
}

/// Checks one link: the file is there; the part of a page is a heading of it; a word of code stands in its source.
fn follow(page: &Path, link: &Link) -> Result<()> {
    let Some((path, part)) = local(page, &link.target) else {
        return Ok(());
    };
    ensure!(path.starts_with(house()), "it leads out of the house");
    ensure!(path.exists(), "there is no such file");
    if !part.is_empty() {
        let text = fs::read_to_string(&path)?;
        ensure!(headings(&text).contains(&part), "the page has no heading #{part}");
    }
    let source = path.extension().is_some_and(|extension| extension == "rs" || extension == "proto");
    if source && let Some(word) = link.text.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
        let word = word.rsplit("::").next().unwrap_or(word).trim_end_matches("()");
        if word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            ensure!(words(&fs::read_to_string(&path)?).contains(word), "the source does not name {word}");
        }
    }
    Ok(())
}

/// Where a link leads, if it stays in the house: the file, and the part of it.
fn local(page: &Path, target: &str) -> Option<(PathBuf, String)> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, part) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { page.to_owned() } else { normal(&page.parent()?.join(file)) };
    Some((path, part.to_owned()))
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// Lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Inline links, outside code.
fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for line in prose(text) {
        let mut rest = line;
        while let Some(middle) = rest.find("](") {
            let (before, after) = (&rest[..middle], &rest[middle + 2..]);
            let closing = after.find(')');
            let opening = before.rfind('[').filter(|start| is_outside_code(&before[..*start]));
            if let (Some(start), Some(end)) = (opening, closing) {
                links.push(Link {
                    text: before[start + 1..].to_owned(),
                    target: after[..end].trim_matches(['<', '>']).to_owned(),
                });
                rest = &after[end + 1..];
            } else {
                rest = after;
            }
        }
    }
    links
}

fn is_outside_code(before: &str) -> bool {
    before.matches('`').count().is_multiple_of(2)
}

/// What stands in single backticks.
fn code_spans(text: &str) -> Vec<String> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// True for a path from the top of the house that is meant literally.
fn is_path_of_the_house(code: &str) -> bool {
    let tops = ["certs/", "docs/", "gateway/", "proto/", "services/", "tests/", ".ci/", ".config/"];
    tops.iter().any(|top| code.starts_with(top))
        && !code.contains(|c: char| c.is_whitespace() || "<>*{}…".contains(c))
}

fn headings(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

/// The anchor that a heading gets.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect()
}
