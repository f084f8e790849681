//! The token: a secret that names its enrollment, so that finding it needs no search by secret.
//!
//! `lte1_<enrollment, 16 hexadecimal digits>_<secret, 64 hexadecimal digits>`. The prefix lets scanners of leaked secrets
//! see what it is.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;

use crate::bundle::{Sha256, sha256};

const PREFIX: &str = "lte1";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A token. Its text is shown once, to the operator who made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    text: String,
}

/// A text that is no token, or no randomness to make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not the shape of a token.
    #[error("this is no enrollment token; it begins with lte1_ and has 86 characters: copy all of it")]
    Malformed,
    /// The system's random numbers failed.
    #[error("the system's random numbers failed: no token can be made")]
    Randomness,
}

impl Token {
    /// A fresh one.
    ///
    /// # Errors
    /// [`TokenError::Randomness`].
    pub fn generate() -> Result<Token, TokenError> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        rand::fill(&mut id).and_then(|()| rand::fill(&mut secret)).map_err(|_| TokenError::Randomness)?;
        let id = hex::encode(id);
        Ok(Token { text: format!("{PREFIX}_{id}_{}", hex::encode(secret)), id })
    }

    /// Reads a token's text.
    ///
    /// # Errors
    /// [`TokenError::Malformed`].
    pub fn read(text: &str) -> Result<Token, TokenError> {
        let mut parts = text.split('_');
        let (Some(PREFIX), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let is_hex = |part: &str, bytes: usize| {
            part.len() == 2 * bytes && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !is_hex(id, ID_BYTES) || !is_hex(secret, SECRET_BYTES) {
            return Err(TokenError::Malformed);
        }
        Ok(Token { id: id.to_owned(), text: text.to_owned() })
    }

    /// Resource name of its enrollment.
    pub fn enrollment(&self) -> String {
        format!("enrollments/{}", self.id)
    }

    /// The token itself: a secret.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is kept of it.
    pub fn hash(&self) -> Sha256 {
        sha256(self.text.as_bytes())
    }

    /// Whether its hash is this one, in constant time.
    pub fn has_hash(&self, hash: &Sha256) -> bool {
        verify_slices_are_equal(&self.hash(), hash).is_ok()
    }
}

impl fmt::Debug for Token {
    /// Never shows the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_made() {
        let token = Token::generate().unwrap();
        assert_eq!(token.text().len(), 86);
        let read = Token::read(token.text()).unwrap();
        assert_eq!((read.enrollment(), read.hash()), (token.enrollment(), token.hash()));
        assert!(!Token::generate().unwrap().has_hash(&token.hash()));
        assert!(!format!("{token:?}").contains(&token.text()[30..]));
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_token(text in "\\PC{0,100}") {
            prop_assert_eq!(Token::read(&text), Err(TokenError::Malformed));
        }
    }
}
