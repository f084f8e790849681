//! Reading typed values from mappings, noting every mistake and going on.

use std::collections::{BTreeMap, BTreeSet};

use super::contracts::BesideContract;
use super::tree::{Located, Place, Value};
use super::{Dictionary, Mistake};
use crate::catalog::{Agency, Catalog, CatalogParts, Database, Entry, OutsideParty};
use crate::condition::Guardrail;
use crate::contract::Beside;
use crate::words;

/// An object as read, with the node that it came from, so that later rules can point at its keys.
#[derive(Debug)]
pub(super) struct Draft<'a, T> {
    pub file: &'a str,
    pub node: &'a Located,
    pub value: T,
}

impl<T> Draft<'_, T> {
    /// A mistake at the value of this path below the object, or at the nearest that is there.
    pub(super) fn mistake(
        &self,
        path: &[Step<'_>],
        rule: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Mistake {
        let mut node = self.node;
        for step in path {
            let next = match step {
                Step::Key(name) => node.get(name),
                Step::Item(index) => node.item(*index),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        Mistake::new(self.file, node.place, rule, message, remedy)
    }
}

/// A step from a node to one inside it.
pub(super) enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// Everything that all files hold.
#[derive(Debug, Default)]
pub(super) struct Drafts<'a> {
    pub agencies: Vec<Draft<'a, Agency>>,
    pub outside_parties: Vec<Draft<'a, OutsideParty>>,
    pub databases: Vec<Draft<'a, Database>>,
    pub entries: Vec<Draft<'a, Entry>>,
    pub guardrails: Vec<Draft<'a, Guardrail>>,
    pub invariants: Vec<Draft<'a, Guardrail>>,
    pub dictionary: Vec<Draft<'a, String>>,
    pub contracts: Vec<Draft<'a, BesideContract>>,
    /// Codes and ids that are declared, in objects with mistakes too: a reference to one of those is none.
    pub agency_codes: BTreeSet<&'a str>,
    pub dataset_ids: BTreeSet<&'a str>,
}

impl<'a> Drafts<'a> {
    /// Takes note of what these nodes declare.
    pub(super) fn declare(&mut self, agencies: &[&'a Located], databases: &[&'a Located]) {
        let text = |node: &'a Located, key| match node.get(key).map(|node| &node.value) {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        self.agency_codes.extend(agencies.iter().filter_map(|node| text(node, "code")));
        for datasets in databases.iter().filter_map(|node| node.get("datasets")) {
            if let Value::List(items) = &datasets.value {
                self.dataset_ids.extend(items.iter().filter_map(|node| text(node, "id")));
            }
        }
    }

    /// The catalog, once no mistake is left.
    pub(super) fn into_catalog(self) -> Catalog {
        fn values<T>(drafts: Vec<Draft<'_, T>>) -> Vec<T> {
            drafts.into_iter().map(|draft| draft.value).collect()
        }
        let dictionary = Dictionary::from_iter(values(self.dictionary));
        let mut contracts: BTreeMap<String, Beside> = BTreeMap::new();
        for contract in values(self.contracts) {
            let beside = contracts.entry(contract.provider).or_default();
            contract.named.into_iter().for_each(|(element, place)| beside.name(element, place));
            for (element, given, _) in contract.given {
                // INVARIANT: nothing is given twice in a catalog without mistakes.
                let _ = beside.add(element, given);
            }
        }
        Catalog::new(CatalogParts {
            agencies: values(self.agencies),
            outside_parties: values(self.outside_parties),
            databases: values(self.databases),
            entries: values(self.entries),
            guardrails: values(self.guardrails),
            invariants: values(self.invariants),
            dictionary,
            contracts,
        })
    }
}

/// Notes the mistakes of one file.
pub(super) struct Reader<'m> {
    file: &'m str,
    mistakes: &'m mut Vec<Mistake>,
}

impl<'m> Reader<'m> {
    pub(super) fn new(file: &'m str, mistakes: &'m mut Vec<Mistake>) -> Self {
        Self { file, mistakes }
    }

    /// Name of the file.
    pub(super) fn file(&self) -> &str {
        self.file
    }

    /// Opens a mapping; `what` names it in mistakes.
    pub(super) fn object<'r, 'a>(
        &'r mut self,
        node: &'a Located,
        what: &'static str,
    ) -> Option<Object<'r, 'm, 'a>> {
        if let Value::Map(_) = node.value {
            return Some(Object { reader: self, node, what, known: BTreeSet::new(), sound: true });
        }
        self.wrong_type(node, what, "a mapping");
        None
    }

    pub(super) fn note(
        &mut self,
        place: Place,
        rule: &'static str,
        message: String,
        remedy: impl Into<String>,
    ) {
        self.mistakes.push(Mistake::new(self.file, place, rule, message, remedy));
    }

    pub(super) fn wrong_type(&mut self, node: &Located, what: &str, wanted: &str) {
        let remedy = match (wanted, &node.value) {
            ("a text", Value::Integer(_) | Value::Number | Value::Bool(_)) => "put it in quotes".to_owned(),
            _ => format!("write {wanted}"),
        };
        self.note(node.place, "type", format!("{what} is {}, not {wanted}", node.kind()), remedy);
    }

    pub(super) fn text<'a>(&mut self, node: &'a Located, what: &str) -> Option<&'a str> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text),
            Value::Text(_) => {
                self.note(
                    node.place,
                    "type",
                    format!("{what} is empty"),
                    "write a text, or leave the key out",
                );
                None
            }
            _ => {
                self.wrong_type(node, what, "a text");
                None
            }
        }
    }
}

/// A mapping that is being read. Keys that nobody asks for are mistakes.
pub(super) struct Object<'r, 'm, 'a> {
    pub(super) reader: &'r mut Reader<'m>,
    pub(super) node: &'a Located,
    what: &'static str,
    known: BTreeSet<&'static str>,
    sound: bool,
}

impl<'a> Object<'_, '_, 'a> {
    /// Reports unknown keys. False where a key was missing or wrong, so that the object cannot be used.
    pub(super) fn finish(self) -> bool {
        if let Value::Map(entries) = &self.node.value {
            for (key, _) in entries.iter().filter(|(key, _)| !self.known.contains(key.name.as_str())) {
                let known: Vec<&str> = self.known.iter().copied().collect();
                let message = format!("{} has no key {:?}", self.what, key.name);
                self.reader.note(key.place, "key", message, format!("known keys: {}", known.join(", ")));
            }
        }
        self.sound
    }

    /// The node of a key; a key with nothing is absent.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<&'a Located> {
        self.known.insert(key);
        self.node.get(key).filter(|node| !matches!(node.value, Value::Null))
    }

    fn required(&mut self, key: &'static str) -> Option<&'a Located> {
        self.demand(key, "key", format!("add the key {key}"));
        self.optional(key)
    }

    /// Notes that a key is missing, where it is.
    pub(super) fn demand(&mut self, key: &'static str, rule: &'static str, remedy: impl Into<String>) {
        if self.optional(key).is_none() {
            let message = format!("{} has no {key}", self.what);
            self.wrong(self.node.place, rule, message, remedy);
        }
    }

    /// Notes a mistake that makes the object unusable.
    pub(super) fn wrong(
        &mut self,
        place: Place,
        rule: &'static str,
        message: String,
        remedy: impl Into<String>,
    ) {
        self.sound = false;
        self.reader.note(place, rule, message, remedy);
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, key: &'static str) -> String {
        let node = self.required(key);
        self.text_of(key, node)
    }

    /// A text that may be absent: then it is empty.
    pub(super) fn optional_text(&mut self, key: &'static str) -> String {
        let node = self.optional(key);
        self.text_of(key, node)
    }

    fn text_of(&mut self, key: &'static str, node: Option<&'a Located>) -> String {
        let text = node.map(|node| self.reader.text(node, key));
        self.sound &= text != Some(None);
        text.flatten().unwrap_or_default().to_owned()
    }

    /// A text in a format; `wanted` describes it.
    pub(super) fn formatted(
        &mut self,
        key: &'static str,
        good: impl Fn(&str) -> bool,
        wanted: &str,
    ) -> String {
        let node = self.required(key);
        let text = self.text_of(key, node);
        if let Some(node) = node.filter(|_| !text.is_empty() && !good(&text)) {
            self.wrong(
                node.place,
                "format",
                format!("{key} {text:?} is not {wanted}"),
                format!("write {wanted}"),
            );
        }
        text
    }

    /// A whole number within bounds; `None` where absent.
    pub(super) fn number(&mut self, key: &'static str, min: u32, max: u32) -> Option<u32> {
        let node = self.optional(key)?;
        let Value::Integer(given) = node.value else {
            self.sound = false;
            self.reader.wrong_type(node, key, "a number");
            return None;
        };
        let number = u32::try_from(given).ok().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let remedy = format!("write a number from {min} to {max}");
            self.wrong(node.place, "format", format!("{key} is {given}"), remedy);
        }
        number
    }

    /// True or false; false where absent.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        let Some(node) = self.optional(key) else {
            return false;
        };
        if let Value::Bool(flag) = node.value {
            return flag;
        }
        self.sound = false;
        self.reader.wrong_type(node, key, "true or false");
        false
    }

    /// One word of a closed list; `None` where absent or unknown.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(T, &str)]) -> Option<T> {
        let node = self.optional(key)?;
        self.word_of(key, node, words)
    }

    /// One word of a closed list that must be there; without it the object is unusable.
    pub(super) fn required_word<T: Copy>(&mut self, key: &'static str, words: &[(T, &str)]) -> Option<T> {
        let node = self.required(key)?;
        self.word_of(key, node, words)
    }

    /// The same, of a value that is already at hand.
    pub(super) fn word_of<T: Copy>(&mut self, key: &str, node: &Located, words: &[(T, &str)]) -> Option<T> {
        let found = self.reader.text(node, key).map(|text| (text, words::find(words, text)));
        match found {
            Some((_, Some(word))) => return Some(word),
            Some((text, None)) => {
                let known: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
                let message = format!("{key} {text:?} is unknown");
                self.wrong(node.place, "format", message, format!("write one of {}", known.join(", ")));
            }
            None => self.sound = false,
        }
        None
    }

    /// The items of a list; none where absent.
    pub(super) fn items(&mut self, key: &'static str) -> Vec<&'a Located> {
        match self.optional(key) {
            None => Vec::new(),
            Some(Located { value: Value::List(items), .. }) => items.iter().collect(),
            Some(node) => {
                self.sound = false;
                self.reader.wrong_type(node, key, "a list");
                Vec::new()
            }
        }
    }

    /// The entries of a mapping; none where absent.
    pub(super) fn entries(&mut self, key: &'static str) -> &'a [(super::tree::Key, Located)] {
        match self.optional(key) {
            None => &[],
            Some(Located { value: Value::Map(entries), .. }) => entries,
            Some(node) => {
                self.sound = false;
                self.reader.wrong_type(node, key, "a mapping");
                &[]
            }
        }
    }

    /// A list of texts, none twice.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let items = self.items(key);
        self.texts_of(key, &items)
    }

    /// The same, of items that are already at hand.
    pub(super) fn texts_of(&mut self, key: &str, items: &[&'a Located]) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for node in items {
            match self.text_item(key, node) {
                Some(text) if texts.contains(&text) => {
                    self.wrong(node.place, "id", format!("{key} names {text:?} twice"), "name it once");
                }
                Some(text) => texts.push(text),
                None => {}
            }
        }
        texts
    }

    /// One text of a list.
    pub(super) fn text_item(&mut self, key: &str, node: &Located) -> Option<String> {
        let text = self.reader.text(node, key).map(str::to_owned);
        self.sound &= text.is_some();
        text
    }

    /// A list of words of a closed list, none twice.
    pub(super) fn word_list<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        words: &[(T, &str)],
    ) -> Vec<T> {
        let mut list = Vec::new();
        for node in self.items(key) {
            match self.word_of(key, node, words) {
                Some(word) if list.contains(&word) => {
                    self.wrong(node.place, "id", format!("{key} names the same word twice"), "name it once");
                }
                Some(word) => list.push(word),
                None => {}
            }
        }
        list
    }
}
