//! The shared data dictionary (QĐ 2439/QĐ-TTg), as far as contracts refer to it.

use std::collections::BTreeSet;

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
}

impl FromIterator<String> for Dictionary {
    fn from_iter<I: IntoIterator<Item = String>>(ids: I) -> Self {
        Self {
            ids: ids.into_iter().collect(),
        }
    }
}
