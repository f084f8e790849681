//! A role's TOML file, read strictly: an unknown key is an error, and every error says where it is.
//!
//! Structs that are read here carry `#[serde(deny_unknown_fields)]`. A secret never stands in such a file: a key names
//! the file that holds it.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest configuration file that is read, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the configuration at `path`.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let read = error.utf8_error().valid_up_to();
        let place = Place::of(&String::from_utf8_lossy(&error.as_bytes()[..read]), read);
        ConfigError::wrong(path, place, String::new(), "the file is not UTF-8 text here".to_owned())
    })?;
    parse(&text, path)
}

/// Reads a configuration from its text; `path` is only named in errors.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let key = key_at(text, &span);
        ConfigError::wrong(path, Place::of(text, span.start), key, error.message().replace('\n', "; "))
    })
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("cannot read the configuration {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Larger than [`CONFIG_BYTES_MAX`].
    #[error("{path} is larger than {CONFIG_BYTES_MAX} bytes; is it a configuration?", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, or not what the role needs: an unknown key, a missing one, a wrong value.
    #[error("{path}:{place}: {}{problem}", colon(key), path = path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        place: Place,
        /// The key or table, with the tables above it, `a.b.c`; empty at the top of the file.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

impl ConfigError {
    fn wrong(path: &Path, place: Place, key: String, problem: String) -> Self {
        Self::Wrong { path: path.to_owned(), place, key, problem }
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

impl Place {
    /// The place of byte `offset` of `text`.
    fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.split(|byte| *byte == b'\n').count(),
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

fn colon(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

/// The innermost key whose name or value covers `span`; empty where the text is no TOML or the place no key.
fn key_at(text: &str, span: &Range<usize>) -> String {
    let mut keys = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        descend_table(table.get_ref(), span, &mut keys);
    }
    keys.join(".")
}

fn descend_table(table: &DeTable<'_>, span: &Range<usize>, keys: &mut Vec<String>) {
    let found = table.iter().find(|(key, value)| {
        covers(&key.span(), span) || covers(&value.span(), span) || holds(value.get_ref(), span)
    });
    if let Some((key, value)) = found {
        keys.push(key.get_ref().to_string());
        descend(value, span, keys);
    }
}

fn descend(value: &Spanned<DeValue<'_>>, span: &Range<usize>, keys: &mut Vec<String>) {
    match value.get_ref() {
        DeValue::Table(table) => descend_table(table, span, keys),
        DeValue::Array(array) => {
            let found = array
                .iter()
                .enumerate()
                .find(|(_, item)| covers(&item.span(), span) || holds(item.get_ref(), span));
            if let Some((index, item)) = found {
                if let Some(last) = keys.last_mut() {
                    *last = format!("{last}[{index}]");
                }
                descend(item, span, keys);
            }
        }
        _ => {}
    }
}

/// Whether something inside `value` covers `span`: the span of a `[table]` is its header only.
fn holds(value: &DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => table.iter().any(|(key, value)| {
            covers(&key.span(), span) || covers(&value.span(), span) || holds(value.get_ref(), span)
        }),
        DeValue::Array(array) => {
            array.iter().any(|item| covers(&item.span(), span) || holds(item.get_ref(), span))
        }
        _ => false,
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && outer.start < outer.end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Role {
        name: String,
        #[serde(default)]
        tls: Option<Tls>,
        #[serde(default)]
        peers: Vec<Peer>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Tls {
        certificate: PathBuf,
        #[serde(default)]
        timeout_ms: u64,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Peer {
        address: std::net::SocketAddr,
    }

    fn error(text: &str) -> String {
        parse::<Role>(text, Path::new("node.toml")).unwrap_err().to_string()
    }

    #[test]
    fn every_mistake_has_its_place_and_key() {
        for (text, said) in [
            ("name = \"n\"\nnane = 1\n", "node.toml:2:1: nane: unknown field `nane`"),
            ("name = 7\n", "node.toml:1:8: name: invalid type: integer `7`, expected a string"),
            ("name = \"n\"\n[tls]\ntimeout_ms = 5\n", "node.toml:2:1: tls: missing field `certificate`"),
            (
                "name = \"n\"\n[tls]\ncertificate = \"c\"\ntimeout_ms = \"Năm\" # Năm\n",
                "node.toml:4:14: tls.timeout_ms: invalid type: string \"Năm\"",
            ),
            (
                "name = \"n\"\n[[peers]]\naddress = \"127.0.0.1:1\"\n[[peers]]\naddress = \"x\"\n",
                "node.toml:5:11: peers[1].address: invalid socket address",
            ),
            (
                "name = \"n\"\npeers = [{ address = \"127.0.0.1:1\", port = 3 }]\n",
                "peers[0].port: unknown field",
            ),
            ("name = \n", "node.toml:1:8: "),
            ("name = \"a\"\nname = \"b\"\n", "node.toml:2:1: "),
        ] {
            let actual = error(text);
            assert!(actual.contains(said), "{text}\nsaid: {actual}\nexpected: {said}");
        }
        assert!(error("").contains("missing field `name`"));
    }

    #[test]
    fn files_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("role.toml");
        let missing = load::<Role>(&path).unwrap_err();
        assert!(matches!(missing, ConfigError::Unreadable { .. }), "{missing}");
        std::fs::write(&path, b"name = \"n\"\nbad = \"\xff\"\n").unwrap();
        let binary = load::<Role>(&path).unwrap_err().to_string();
        assert!(binary.ends_with(":2:8: the file is not UTF-8 text here"), "{binary}");
        std::fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
        assert!(matches!(load::<Role>(&path), Err(ConfigError::TooLarge { .. })));
        std::fs::write(&path, "name = \"Nút mạng\"\n").unwrap();
        assert_eq!(load::<Role>(&path).unwrap().name, "Nút mạng");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z\\[\\]{}=\",.#\\n 0-9ạ]{0,120}") {
            let _ = parse::<Role>(&text, Path::new("node.toml"));
        }
    }
}
