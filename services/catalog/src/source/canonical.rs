//! A value of a file as canonical JSON: keys in order of their bytes, nothing between the tokens, keys with nothing left
//! out. Two files that say the same, in whatever order and notation, give the same bytes; so it can be signed.

use super::tree::{Located, Value};

/// The canonical JSON of a value.
pub(super) fn json(node: &Located) -> String {
    let mut text = String::new();
    write(node, &mut text);
    text
}

fn write(node: &Located, out: &mut String) {
    match &node.value {
        Value::Null | Value::Number => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::Text(text) => write_text(text, out),
        Value::List(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            let mut said: Vec<_> =
                entries.iter().filter(|(_, value)| !matches!(value.value, Value::Null)).collect();
            said.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
            out.push('{');
            for (place, (key, value)) in said.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_text(&key.name, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{SourceFile, tree};
    use super::*;

    fn canonical(text: &str) -> String {
        json(&tree::parse(&SourceFile { name: "a.yaml".to_owned(), text: text.to_owned() }).unwrap())
    }

    #[test]
    fn notation_and_order_do_not_count() {
        let one = "b: [1, true]\na: 'x'\nc:\n";
        let other = "{\"a\": \"x\", # a remark\n \"b\": [1, true]}";
        assert_eq!(canonical(one), r#"{"a":"x","b":[1,true]}"#);
        assert_eq!(canonical(one), canonical(other));
        assert_ne!(canonical("a: [1, 2]"), canonical("a: [2, 1]"), "the order of a list does");
    }

    proptest! {
        /// Whatever a text holds, the JSON is JSON, and reading it again gives the same bytes.
        #[test]
        fn reading_it_again_changes_nothing(text in "\\PC{0,40}") {
            let written = format!("{{\"key\":{}}}", serde_json::Value::from(text.as_str()));
            let once = canonical(&written);
            prop_assert_eq!(&once, &written);
            prop_assert_eq!(canonical(&once), once);
        }
    }
}
