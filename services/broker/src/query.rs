//! What a list is asked for: filters and field masks (AIP-160, AIP-157), in the small part of them that is needed.
//!
//! A filter is a list of terms split by ` AND `, each `field = "value"`. An unknown field, and anything else, is refused:
//! a filter that is not understood must not look like one that finds nothing.

use lienthong_proto::descriptors;
use prost::Message;
use prost_reflect::DynamicMessage;
use prost_types::FieldMask;
use tonic::Status;

/// Longest filter, bytes.
pub const FILTER_BYTES_MAX: usize = 1_024;
/// Paths of a field mask.
pub const MASK_PATHS_MAX: usize = 32;

/// A filter that was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Vec<(String, String)>);

impl Filter {
    /// Reads a filter on these fields.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the fields that there are.
    pub fn read(text: &str, fields: &[&str]) -> Result<Filter, Status> {
        if text.trim().is_empty() {
            return Ok(Filter::default());
        }
        let wrong = || {
            Status::invalid_argument(format!(
                "a filter is terms split by \" AND \", each like {} = \"value\"; fields: {}",
                fields.first().copied().unwrap_or("name"),
                fields.join(", ")
            ))
        };
        if text.len() > FILTER_BYTES_MAX {
            return Err(wrong());
        }
        let term = |term: &str| {
            let (field, value) = term.split_once('=').ok_or_else(wrong)?;
            let (field, value) = (field.trim(), value.trim());
            let value =
                value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).ok_or_else(wrong)?;
            if !fields.contains(&field) || value.contains('"') {
                return Err(wrong());
            }
            Ok((field.to_owned(), value.to_owned()))
        };
        text.split(" AND ").map(term).collect::<Result<_, _>>().map(Filter)
    }

    /// Whether an object matches: each term's value is among those that `values` gives for its field.
    pub fn matches<'v, I: IntoIterator<Item = &'v str>>(&self, values: impl Fn(&str) -> I) -> bool {
        self.0.iter().all(|(field, wanted)| values(field).into_iter().any(|value| value == wanted))
    }
}

/// The message with the fields of the mask only; the whole one without a mask. `name` is its full name.
///
/// # Errors
/// `INVALID_ARGUMENT` naming a path that the message has not.
pub fn masked<M: Message + Default>(message: M, mask: Option<&FieldMask>, name: &str) -> Result<M, Status> {
    let Some(mask) = mask.filter(|mask| !mask.paths.is_empty() && mask.paths != ["*"]) else {
        return Ok(message);
    };
    let internal = || Status::internal("the mesh's own message cannot be read");
    let descriptor = descriptors::mesh().get_message_by_name(name).ok_or_else(internal)?;
    let unknown = mask.paths.iter().find(|path| descriptor.get_field_by_name(path).is_none());
    if mask.paths.len() > MASK_PATHS_MAX || unknown.is_some() {
        let known: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
        return Err(Status::invalid_argument(format!(
            "read_mask: top-level fields only: {}",
            known.join(", ")
        )));
    }
    let mut dynamic = DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice())
        .map_err(|_| internal())?;
    for field in descriptor.fields().filter(|field| !mask.paths.iter().any(|path| path == field.name())) {
        dynamic.clear_field(&field);
    }
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(|_| internal())
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::registry::v1::Agency;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terms_are_joined_and_what_is_not_understood_is_refused() {
        let filter = Filter::read(r#"bloc = "LOCAL" AND role="CONSUMER""#, &["bloc", "role"]).unwrap();
        let object = |bloc: &'static str| {
            move |field: &str| if field == "bloc" { vec![bloc] } else { vec!["PROVIDER", "CONSUMER"] }
        };
        assert!(filter.matches(object("LOCAL")));
        assert!(!filter.matches(object("PARTY")));
        assert!(Filter::read("", &["bloc"]).unwrap().matches(object("PARTY")));
        for wrong in
            ["bloc", "bloc = LOCAL", "name = \"x\"", "bloc = \"x\" OR role = \"y\"", "bloc = \"x\" AND "]
        {
            let refused = Filter::read(wrong, &["bloc", "role"]).unwrap_err();
            assert!(refused.message().contains("bloc, role"), "{wrong}");
        }
    }

    #[test]
    fn a_mask_leaves_what_it_names() {
        let agency = Agency { code: "G01".to_owned(), name_vi: "Bộ".to_owned(), ..Agency::default() };
        let mask = |paths: &[&str]| FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() };
        let name = "lienthong.registry.v1.Agency";
        let cut = masked(agency.clone(), Some(&mask(&["code"])), name).unwrap();
        assert_eq!((cut.code.as_str(), cut.name_vi.as_str()), ("G01", ""));
        assert_eq!(masked(agency.clone(), None, name).unwrap(), agency);
        assert!(masked(agency, Some(&mask(&["contact.email"])), name).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC{0,80}") {
            let _ = Filter::read(&text, &["bloc"]);
        }
    }
}
