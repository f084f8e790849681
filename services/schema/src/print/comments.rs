//! Comments of a file, by the path of what they belong to (descriptor.proto, `SourceCodeInfo`).

use std::collections::HashMap;

use prost_reflect::FileDescriptor;
use prost_types::source_code_info::Location;

/// Comments of a file.
pub struct Comments(HashMap<Vec<i32>, Location>);

impl Comments {
    /// The comments that a file was published with; none where it was published without.
    pub fn of(file: &FileDescriptor) -> Self {
        let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
        let commented = |location: &Location| {
            location.leading_comments.is_some()
                || location.trailing_comments.is_some()
                || !location.leading_detached_comments.is_empty()
        };
        Self(
            info.location
                .into_iter()
                .filter(commented)
                .map(|location| (location.path.clone(), location))
                .collect(),
        )
    }

    /// The paragraphs before an element, as lines of `//`. The last one touches it. Trailing comments of more than one
    /// line stand here too.
    pub fn leading(&self, path: &[i32]) -> Vec<Vec<String>> {
        let Some(location) = self.0.get(path) else { return Vec::new() };
        let mut paragraphs: Vec<Vec<String>> =
            location.leading_detached_comments.iter().map(|comment| lines(comment)).collect();
        let mut last = location.leading_comments.as_deref().map(lines).unwrap_or_default();
        if let Some(trailing) = &location.trailing_comments
            && (lines(trailing).len() > 1 || is_block(path))
        {
            last.extend(lines(trailing));
        }
        if !paragraphs.is_empty() || !last.is_empty() {
            paragraphs.push(last);
        }
        paragraphs
    }

    /// A comment of one line behind an element.
    pub fn trailing(&self, path: &[i32]) -> Option<String> {
        let trailing = lines(self.0.get(path)?.trailing_comments.as_deref()?);
        if is_block(path) {
            return None;
        }
        <[String; 1]>::try_from(trailing).ok().map(|[line]| line)
    }
}

/// True for messages, enums, services and methods, which may have a body.
fn is_block(path: &[i32]) -> bool {
    match path {
        [4..=6, _] | [6, _, 2, _] => true,
        [4, .., 3 | 4, _] => path.len().is_multiple_of(2),
        _ => false,
    }
}

fn lines(comment: &str) -> Vec<String> {
    let comment = comment.strip_suffix('\n').unwrap_or(comment);
    let shown = |line: &str| {
        let text: String =
            line.chars().filter(|character| !character.is_control() || *character == '\t').collect();
        format!("//{}", text.trim_end())
    };
    comment.split('\n').map(shown).collect()
}
