//! What one set of files says otherwise than another, object by object: whatever sections there are, by the trees alone.

use std::collections::BTreeMap;

use super::tree::{Located, Value};
use super::{Mistake, SourceFile, canonical, tree};

/// Keys that name an object of a section, the first that it has.
const NAMING_KEYS: [&str; 3] = ["id", "code", "provider"];
/// Longest value that a line shows, characters.
const VALUE_CHARS_MAX: usize = 120;

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Altered,
}

/// One object that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDifference {
    /// How.
    pub difference: Difference,
    /// Section and name, for example `entries/CE-0007`.
    pub object: String,
    /// Key by key, for example `min_security_level: 3 → 4`; none where it is added or removed.
    pub lines: Vec<String>,
}

/// What `after` says otherwise than `before`, by name of the objects.
///
/// # Errors
/// The files that are not YAML.
pub fn differences(
    before: &[SourceFile],
    after: &[SourceFile],
) -> Result<Vec<ObjectDifference>, Vec<Mistake>> {
    let (before, after) = (trees(before)?, trees(after)?);
    let (before, after) = (objects(&before), objects(&after));
    let mut differences = Vec::new();
    for (object, node) in &before {
        match after.get(object) {
            None => differences.push(whole(Difference::Removed, object)),
            Some(now) if canonical::json(now) != canonical::json(node) => {
                differences.push(ObjectDifference {
                    difference: Difference::Altered,
                    object: object.clone(),
                    lines: lines(node, now),
                });
            }
            Some(_) => {}
        }
    }
    let new = after.keys().filter(|object| !before.contains_key(*object));
    differences.extend(new.map(|object| whole(Difference::Added, object)));
    differences.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(differences)
}

fn whole(difference: Difference, object: &str) -> ObjectDifference {
    ObjectDifference { difference, object: object.to_owned(), lines: Vec::new() }
}

fn trees(files: &[SourceFile]) -> Result<Vec<Located>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let trees = files
        .iter()
        .filter_map(|file| tree::parse(file).map_err(|mistake| mistakes.push(mistake)).ok())
        .collect();
    if mistakes.is_empty() { Ok(trees) } else { Err(mistakes) }
}

fn objects(trees: &[Located]) -> BTreeMap<String, &Located> {
    let mut objects = BTreeMap::new();
    let sections = trees.iter().filter_map(|tree| match &tree.value {
        Value::Map(sections) => Some(sections),
        _ => None,
    });
    for (section, node) in sections.flatten() {
        let items: Vec<&Located> = match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Null => Vec::new(),
            _ => vec![node],
        };
        for item in items {
            let named = NAMING_KEYS.iter().find_map(|key| match item.get(key).map(|node| &node.value) {
                Some(Value::Text(name)) => Some(format!("{}/{name}", section.name)),
                _ => None,
            });
            let name = named.unwrap_or_else(|| section.name.clone());
            // Several of one name, as options beside one provider's contract may come: told apart by their order.
            let taken = |place: usize| if place == 1 { name.clone() } else { format!("{name}#{place}") };
            let free = (1..=objects.len() + 1).map(taken).find(|name| !objects.contains_key(name));
            objects.insert(free.unwrap_or(name), item);
        }
    }
    objects
}

fn lines(before: &Located, after: &Located) -> Vec<String> {
    let (Value::Map(old), Value::Map(new)) = (&before.value, &after.value) else {
        return vec![format!("{} → {}", shown(Some(before)), shown(Some(after)))];
    };
    let mut keys: Vec<&str> = old.iter().chain(new).map(|(key, _)| key.name.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let text = |node: Option<&Located>| node.map(canonical::json).unwrap_or_default();
    let differing = keys.into_iter().filter(|key| text(before.get(key)) != text(after.get(key)));
    differing.flat_map(|key| of_key(key, before.get(key), after.get(key))).collect()
}

/// One key; of an object inside, each of its keys.
fn of_key(key: &str, before: Option<&Located>, after: Option<&Located>) -> Vec<String> {
    match (before, after) {
        (Some(old), Some(new)) if matches!((&old.value, &new.value), (Value::Map(_), Value::Map(_))) => {
            lines(old, new).into_iter().map(|line| format!("{key}.{line}")).collect()
        }
        _ => vec![line(key, before, after)],
    }
}

/// One value. Of lists, only what comes and goes is said, unless it is their order.
fn line(key: &str, before: Option<&Located>, after: Option<&Located>) -> String {
    if let (Some(Value::List(old)), Some(Value::List(new))) =
        (before.map(|node| &node.value), after.map(|node| &node.value))
    {
        let texts = |items: &[Located]| items.iter().map(|item| shown(Some(item))).collect::<Vec<_>>();
        let (old, new) = (texts(old), texts(new));
        let gone = old.iter().filter(|item| !new.contains(item)).map(|item| format!("− {item}"));
        let come = new.iter().filter(|item| !old.contains(item)).map(|item| format!("+ {item}"));
        let moved: Vec<String> = gone.chain(come).collect();
        if !moved.is_empty() {
            return format!("{key}: {}", moved.join(", "));
        }
    }
    format!("{key}: {} → {}", shown(before), shown(after))
}

fn shown(node: Option<&Located>) -> String {
    let text = match node.map(|node| &node.value) {
        None | Some(Value::Null) => return "–".to_owned(),
        Some(Value::Text(text)) => text.clone(),
        Some(_) => node.map(canonical::json).unwrap_or_default(),
    };
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn objects_are_compared_by_name_wherever_they_stand() {
        let before = [file(
            "a.yaml",
            "entries: [{id: CE-1, level: 3, to: [G1, G2], by: {A: [x], B: [y]}}, {id: CE-2}]\nagencies: [{code: G1, name: x}]",
        )];
        let after = [
            file("b.yaml", "agencies:\n  - name: x\n    code: G1"),
            file(
                "c.yaml",
                "entries: [{to: [G2, G3], id: CE-1, level: 4, by: {B: [y], A: [x, z]}}, {id: CE-3}]",
            ),
        ];
        let found: Vec<String> = differences(&before, &after)
            .unwrap()
            .iter()
            .map(|one| format!("{:?} {} {}", one.difference, one.object, one.lines.join("; ")))
            .collect();
        assert_eq!(
            found,
            [
                "Altered entries/CE-1 by.A: + z; level: 3 → 4; to: − G1, + G3",
                "Removed entries/CE-2 ",
                "Added entries/CE-3 ",
            ]
        );
        assert_eq!(differences(&after, &after).unwrap(), []);
    }

    #[test]
    fn several_of_one_name_and_values_that_are_gone() {
        let before = [file("a.yaml", "contracts: [{provider: G1, a: 1}, {provider: G1, b: 2}]")];
        let after = [file("a.yaml", "contracts: [{provider: G1, a: 1}, {provider: G1, c: x}]")];
        let found = differences(&before, &after).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].object.as_str(), found[0].lines.len()), ("contracts/G1#2", 2));
        assert_eq!(found[0].lines, ["b: 2 → –", "c: – → x"]);
    }

    #[test]
    fn what_is_no_yaml_is_named() {
        let mistakes = differences(&[], &[file("bad.yaml", "a: [")]).unwrap_err();
        assert_eq!(mistakes[0].file, "bad.yaml");
    }
}
