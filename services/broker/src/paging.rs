//! Pages of an ordered list: how many items, and where the next page begins.
//!
//! A page token is the name after which the next page begins, in hexadecimal: opaque to callers, stateless for
//! the broker, and still right when items appear or vanish between two pages.

use tonic::Status;

use crate::limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};

/// What part of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    items_max: usize,
    after: Option<String>,
}

impl Page {
    /// Reads `page_size` and `page_token` of a list request (0: 50; over 1,000: 1,000).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a negative size, or a token that did not come from an answer before.
    pub fn read(page_size: i32, page_token: &str) -> Result<Page, Status> {
        let items_max = match usize::try_from(page_size) {
            Ok(0) => PAGE_ITEMS_DEFAULT,
            Ok(size) => size.min(PAGE_ITEMS_MAX),
            Err(_) => {
                return Err(Status::invalid_argument(
                    "page_size is negative; leave it out or ask for 1 to 1000",
                ));
            }
        };
        let after = match page_token {
            "" => None,
            token => Some(after(token).ok_or_else(|| {
                Status::invalid_argument(
                    "page_token is not one that this service gave; begin again without it",
                )
            })?),
        };
        Ok(Page { items_max, after })
    }

    /// The items of the page, of a list sorted by `name`, and the token of the next page (empty at the end).
    pub fn cut<'a, T>(&self, sorted: &'a [T], name: impl Fn(&T) -> &str) -> (&'a [T], String) {
        let start = match &self.after {
            Some(after) => sorted.partition_point(|item| name(item) <= after.as_str()),
            None => 0,
        };
        let end = sorted.len().min(start + self.items_max);
        let items = &sorted[start..end];
        let next = match items.last() {
            Some(last) if end < sorted.len() => hex::encode(name(last)),
            _ => String::new(),
        };
        (items, next)
    }
}

fn after(token: &str) -> Option<String> {
    String::from_utf8(hex::decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(names: &[String], page_size: i32) -> Vec<String> {
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let page = Page::read(page_size, &token).unwrap();
            let (items, next) = page.cut(names, |name| name);
            seen.extend_from_slice(items);
            if next.is_empty() {
                return seen;
            }
            token = next;
        }
    }

    proptest! {
        #[test]
        fn walking_the_pages_gives_each_item_once(
            names in proptest::collection::btree_set("[A-Z0-9.]{1,8}", 0..80), size in 0i32..30,
        ) {
            let names: Vec<String> = names.into_iter().collect();
            prop_assert_eq!(walk(&names, size), names);
        }

        #[test]
        fn any_token_is_answered_without_a_panic(token in "\\PC{0,40}", size in any::<i32>()) {
            if let Ok(page) = Page::read(size, &token) {
                page.cut(&["a".to_owned(), "b".to_owned()], |name| name);
            }
        }
    }

    #[test]
    fn sizes_are_bounded_as_the_contract_says() {
        assert_eq!(Page::read(0, "").unwrap().items_max, PAGE_ITEMS_DEFAULT);
        assert_eq!(Page::read(5_000, "").unwrap().items_max, PAGE_ITEMS_MAX);
        assert_eq!(Page::read(-1, "").unwrap_err().code(), tonic::Code::InvalidArgument);
        assert_eq!(Page::read(1, "xyz").unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
