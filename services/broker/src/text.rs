//! Texts that somebody else wrote, cut to a bound before they are shown or kept.

/// The beginning of `text`, at most `bytes_max` bytes, cut at a character border.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cut_text_is_the_longest_beginning_that_fits(text in "\\PC{0,40}", bytes_max in 0usize..50) {
            let shown = cut(&text, bytes_max);
            prop_assert!(text.starts_with(shown) && shown.len() <= bytes_max);
            let next = text[shown.len()..].chars().next();
            prop_assert!(next.is_none_or(|next| shown.len() + next.len_utf8() > bytes_max));
        }
    }
}
