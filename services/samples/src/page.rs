//! Pages of an ordered list: sizes and opaque tokens, as AIP-158 asks.
//!
//! A token holds the key after which the next page starts, never a row number: rows that come or go between two
//! pages neither shift nor repeat the others. It also holds the question it belongs to, so that a token given with
//! another filter is an error and not a silent gap.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Rows of a page when the question names no size.
pub const PAGE_ROWS_DEFAULT: usize = 50;

/// Rows of a page at most; a larger size is served as this one.
pub const PAGE_ROWS_MAX: usize = 1_000;

/// Longest token that is looked at, in bytes; ours are far shorter.
pub const PAGE_TOKEN_BYTES_MAX: usize = 512;

/// The question that a page belongs to: the list and its filter, one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question(String);

/// Between the parts of a token; no key and no filter contains a control character.
const SEPARATOR: char = '\n';

/// First part of every token; changes when the format does.
const VERSION: &str = "1";

impl Question {
    /// The list `name` filtered by `filter` (empty: unfiltered), in which a line break counts as a space.
    pub fn new(name: &str, filter: &str) -> Self {
        Self(format!("{name}?{}", filter.replace(SEPARATOR, " ")))
    }

    /// The token of the page that starts after the row with `key`.
    pub fn token_after(&self, key: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{VERSION}{SEPARATOR}{}{SEPARATOR}{key}", self.0))
    }

    /// The key that `token` starts after; `None` for the first page (empty token).
    pub fn key_of(&self, token: &str) -> Result<Option<String>, PageError> {
        if token.is_empty() {
            return Ok(None);
        }
        if token.len() > PAGE_TOKEN_BYTES_MAX {
            return Err(PageError::TokenMalformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| PageError::TokenMalformed)?;
        let text = String::from_utf8(bytes).map_err(|_| PageError::TokenMalformed)?;
        let parts: Vec<&str> = text.split(SEPARATOR).collect();
        match parts[..] {
            [VERSION, question, key] if question == self.0 => Ok(Some(key.to_owned())),
            [VERSION, _, _] => Err(PageError::TokenOfAnotherQuestion),
            _ => Err(PageError::TokenMalformed),
        }
    }
}

/// The rows that one page holds for the asked size: 0 means [`PAGE_ROWS_DEFAULT`], more than [`PAGE_ROWS_MAX`] means
/// that.
pub fn rows_per_page(asked: i32) -> Result<usize, PageError> {
    match usize::try_from(asked) {
        Err(_) => Err(PageError::SizeNegative(asked)),
        Ok(0) => Ok(PAGE_ROWS_DEFAULT),
        Ok(asked) => Ok(asked.min(PAGE_ROWS_MAX)),
    }
}

/// One page and the way to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<R> {
    /// The rows.
    pub rows: Vec<R>,
    /// Token of the next page; empty at the end.
    pub next_page_token: String,
}

/// Cuts one page out of `rows`, which are in the order of `key`, each key once.
pub fn cut<'a, R: Clone + 'a>(
    rows: impl Iterator<Item = &'a R>,
    key: impl Fn(&R) -> &str,
    question: &Question,
    page_size: i32,
    page_token: &str,
) -> Result<Page<R>, PageError> {
    let size = rows_per_page(page_size)?;
    let after = question.key_of(page_token)?;
    let mut rest = rows.filter(|row| after.as_deref().is_none_or(|after| key(row) > after)).peekable();
    let page: Vec<R> = rest.by_ref().take(size).cloned().collect();
    let next_page_token = match (page.last(), rest.peek()) {
        (Some(last), Some(_)) => question.token_after(key(last)),
        _ => String::new(),
    };
    Ok(Page { rows: page, next_page_token })
}

/// Why there is no such page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// A negative size.
    #[error("page_size is {0}; it must be 0 or more (AIP-158)")]
    SizeNegative(i32),
    /// Not a token that this server gave.
    #[error("page_token is not one that this service gave; start again without a token (AIP-158)")]
    TokenMalformed,
    /// A token that was given for another list or another filter.
    #[error(
        "page_token belongs to another question; keep every other field as it was, or start again (AIP-158)"
    )]
    TokenOfAnotherQuestion,
}

impl From<PageError> for tonic::Status {
    fn from(error: PageError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(rows: &[String], page_size: i32) -> Vec<Vec<String>> {
        let question = Question::new("rows", "");
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let page = cut(rows.iter(), |row| row, &question, page_size, &token).unwrap();
            pages.push(page.rows);
            token = page.next_page_token;
            if token.is_empty() {
                return pages;
            }
        }
    }

    proptest! {
        #[test]
        fn a_walk_gives_every_row_once_in_order(rows in prop::collection::btree_set("[a-z0-9]{1,6}", 0..200), size in 1..70_i32) {
            let rows: Vec<String> = rows.into_iter().collect();
            let pages = walk(&rows, size);
            prop_assert!(pages.iter().all(|page| page.len() <= usize::try_from(size).unwrap()));
            prop_assert_eq!(pages.len(), rows.len().div_ceil(usize::try_from(size).unwrap()).max(1));
            prop_assert_eq!(pages.concat(), rows);
        }

        #[test]
        fn no_token_panics_or_is_believed(token in ".{1,600}") {
            prop_assert!(Question::new("rows", "01").key_of(&token).is_err());
        }
    }

    #[test]
    fn a_row_that_goes_away_between_pages_takes_no_other_with_it() {
        let question = Question::new("rows", "");
        let all: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
        let first = cut(all.iter(), |row| row, &question, 2, "").unwrap();
        let fewer: Vec<String> = ["a", "c", "d"].map(String::from).to_vec();
        let second = cut(fewer.iter(), |row| row, &question, 2, &first.next_page_token).unwrap();
        assert_eq!(second.rows, ["c", "d"]);
        assert_eq!(second.next_page_token, "");
    }

    #[test]
    fn sizes_follow_the_contract() {
        assert_eq!(rows_per_page(0), Ok(50));
        assert_eq!(rows_per_page(7), Ok(7));
        assert_eq!(rows_per_page(1_000), Ok(1_000));
        assert_eq!(rows_per_page(i32::MAX), Ok(1_000));
        assert_eq!(rows_per_page(-1), Err(PageError::SizeNegative(-1)));
    }

    #[test]
    fn a_token_of_another_filter_is_refused() {
        let token = Question::new("rows", "01").token_after("00004");
        assert_eq!(Question::new("rows", "01").key_of(&token), Ok(Some("00004".to_owned())));
        assert_eq!(Question::new("rows", "79").key_of(&token), Err(PageError::TokenOfAnotherQuestion));
        assert_eq!(Question::new("rows", "").key_of(&token), Err(PageError::TokenOfAnotherQuestion));
    }
}
