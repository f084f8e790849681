//! The shared data dictionary (QĐ 2439/QĐ-TTg), as far as contracts refer to it.

use std::collections::BTreeSet;

use super::databases::{DOTTED, is_dotted};
use super::object::Reader;
use super::tree::Located;

/// The ids that contracts may refer to.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    ids: BTreeSet<String>,
}

impl Dictionary {
    /// True where the dictionary has this entry.
    pub fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// The ids, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }
}

impl FromIterator<String> for Dictionary {
    fn from_iter<I: IntoIterator<Item = String>>(ids: I) -> Self {
        Self { ids: ids.into_iter().collect() }
    }
}

/// An entry of `dictionary`: its id; the label is for people.
pub(super) fn entry(reader: &mut Reader<'_>, node: &Located) -> Option<String> {
    let mut object = reader.object(node, "the dictionary entry")?;
    let id = object.formatted("id", is_dotted, DOTTED);
    object.text("label_vi");
    object.finish().then_some(id)
}
