//! Where a private key lives: in a file, or in a token that never gives it away (PKCS #11).
//!
//! In a configuration it is one value: `key = "/etc/lienthong/node.key"`, or
//! `key = { pkcs11 = { module = "…", token = "…", key = "…", pin_file = "…" } }`.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Where a private key lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum KeySource {
    /// A PEM file of mode 0600 or stricter.
    File(PathBuf),
    /// A token.
    Token(TokenSection),
}

/// The table behind `key = { pkcs11 = … }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSection {
    /// Where the key is.
    pub pkcs11: TokenKey,
}

/// A private key in a PKCS #11 token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKey {
    /// The vendor's PKCS #11 library, such as `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Label of the private key in it (`CKA_LABEL`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Id of the private key in it (`CKA_ID`), hexadecimal: instead of its label, or where several keys share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A file with the user's PIN on its first line, mode 0600.
    pub pin_file: PathBuf,
}

impl KeySource {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Token(_) => None,
        }
    }
}

impl From<PathBuf> for KeySource {
    fn from(path: PathBuf) -> KeySource {
        KeySource::File(path)
    }
}

impl From<&Path> for KeySource {
    fn from(path: &Path) -> KeySource {
        KeySource::File(path.to_owned())
    }
}

impl From<&str> for KeySource {
    fn from(path: &str) -> KeySource {
        KeySource::File(path.into())
    }
}

impl From<TokenKey> for KeySource {
    fn from(pkcs11: TokenKey) -> KeySource {
        KeySource::Token(TokenSection { pkcs11 })
    }
}

/// As errors and pages name it: the file, or token and key. Never the PIN.
impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Token(TokenSection { pkcs11 }) => pkcs11.fmt(f),
        }
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token \"{}\"", self.token)?;
        if let Some(key) = &self.key {
            write!(f, ", key \"{key}\"")?;
        }
        if let Some(id) = &self.id {
            write!(f, ", id {id}")?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for KeySource {
    /// By hand, so that a mistyped key of the table is named: `untagged` would only say that nothing fits.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<KeySource, D::Error> {
        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = KeySource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a PEM file, or { pkcs11 = { module, token, key, pin_file } }")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<KeySource, E> {
                Ok(KeySource::File(path.into()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<KeySource, A::Error> {
                TokenSection::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(KeySource::Token)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for KeySource {
    fn schema_name() -> Cow<'static, str> {
        "KeySource".into()
    }

    /// A text: what a sample shows. The table is explained where the key is.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<String>()
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Section {
        key: KeySource,
    }

    fn read(text: &str) -> Result<KeySource, String> {
        toml::from_str::<Section>(text).map(|section| section.key).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_a_file_or_a_token() {
        let file = read("key = \"/etc/lienthong/node.key\"").unwrap();
        assert_eq!(file, KeySource::from("/etc/lienthong/node.key"));
        let token = read(
            "key = { pkcs11 = { module = \"/m.so\", token = \"H26\", key = \"node\", pin_file = \"/pin\" } }",
        )
        .unwrap();
        assert_eq!(token.to_string(), "token \"H26\", key \"node\"");
        for key in [file, token] {
            let text = toml::to_string(&Section { key: key.clone() }).unwrap();
            assert_eq!(read(&text).unwrap(), key, "{text}");
        }
    }

    #[test]
    fn what_is_mistyped_is_named() {
        let error = read("key = { pkcs11 = { modul = \"/m.so\", token = \"H26\", pin_file = \"/pin\" } }")
            .unwrap_err();
        assert!(error.contains("modul"), "{error}");
        let error = read("key = { pkcs12 = {} }").unwrap_err();
        assert!(error.contains("pkcs12") && error.contains("pkcs11"), "{error}");
        let error = read("key = 7").unwrap_err();
        assert!(error.contains("PEM file"), "{error}");
    }
}
