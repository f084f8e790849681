//! Where a page of a search goes on: the entry before which to look, and up to where the first page was complete. Bound to
//! the question and to who asks.

use std::fmt::Debug;

use tonic::Status;

use crate::bundle::sha256;

/// A place in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// Entries before this.
    pub below: u64,
    /// What the first page said; `None` on the first page.
    pub complete_up_to: Option<u64>,
    question: [u8; QUESTION_BYTES],
}

const QUESTION_BYTES: usize = 8;

impl PageToken {
    /// Reads the token of a request that asks `question`; an empty one begins.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a token of another question, another asker, or of nobody.
    pub fn read(token: &str, question: &impl Debug) -> Result<PageToken, Status> {
        let hash = sha256(format!("{question:?}").as_bytes());
        let question = *hash.first_chunk().unwrap_or(&[0; QUESTION_BYTES]);
        if token.is_empty() {
            return Ok(PageToken { below: u64::MAX, complete_up_to: None, question });
        }
        let refused = || Status::invalid_argument("page_token is not of this search; begin again without it");
        let bytes: [u8; 16 + QUESTION_BYTES] =
            hex::decode(token).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(refused)?;
        let number =
            |at: usize| bytes[at..at + 8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        if bytes[16..] != question {
            return Err(refused());
        }
        Ok(PageToken { below: number(0), complete_up_to: Some(number(8)), question })
    }

    /// The token of the page that goes on before entry `below`.
    pub fn next(&self, below: u64, complete_up_to: u64) -> String {
        let bytes = [&below.to_be_bytes()[..], &complete_up_to.to_be_bytes(), &self.question].concat();
        hex::encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_on_with_its_own_question_only() {
        let begin = PageToken::read("", &"who").unwrap();
        assert_eq!((begin.below, begin.complete_up_to), (u64::MAX, None));
        let token = begin.next(77, 1_000);
        let next = PageToken::read(&token, &"who").unwrap();
        assert_eq!((next.below, next.complete_up_to), (77, Some(1_000)));
        for (token, question) in
            [(token.as_str(), "whom"), ("zz", "who"), ("00", "who"), (&token[2..], "who")]
        {
            assert!(PageToken::read(token, &question).is_err(), "{token}");
        }
    }
}
