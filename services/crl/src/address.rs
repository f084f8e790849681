//! Where a list is published: an `http` address out of the operator's configuration.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// Longest address, bytes.
pub const ADDRESS_BYTES_MAX: usize = 2_048;

/// An address of the form `http://HOST[:PORT]/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    /// Host and port, to connect to.
    pub(crate) authority: String,
    /// As the `Host` header says it.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) target: String,
}

/// An address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a revocation list: {1}")]
pub struct AddressError(String, &'static str);

impl AddressError {
    pub(crate) fn too_many(text: &str) -> AddressError {
        AddressError(text.chars().take(256).collect(), "there are 64 before it, the most that are fetched")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why| AddressError(text.chars().take(256).collect(), why);
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(wrong("it is longer than 2048 bytes"));
        }
        let uri: Uri = text.parse().map_err(|_| wrong("give http://HOST/PATH"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("give http://HOST/PATH"));
        };
        if scheme != "http" {
            return Err(wrong("lists are signed by their authority and fetched over plain http"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("it must not name a user"));
        }
        let connect = match authority.port_u16() {
            Some(0) => return Err(wrong("there is no port 0")),
            Some(_) => authority.as_str().to_owned(),
            None => format!("{}:80", authority.host()),
        };
        let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { text: text.to_owned(), authority: connect, host: authority.as_str().to_owned(), target })
    }
}

/// As it was configured.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, authority, target) in [
            ("http://crl.example.vn/g2.crl", "crl.example.vn:80", "/g2.crl"),
            ("http://crl.example.vn:8080/a?b=c", "crl.example.vn:8080", "/a?b=c"),
            ("http://[::1]:9/x", "[::1]:9", "/x"),
            ("http://192.0.2.7", "192.0.2.7:80", "/"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.authority.as_str(), address.target.as_str()), (authority, target));
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "crl.example.vn",
            "https://a/b",
            "http://",
            "http://u:p@a/b",
            "http://a:0/",
            "ldap://a/b",
            "/etc",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,64}") {
            let _ = text.parse::<Address>();
        }
    }
}
