//! Where records and subjects sit in a message.

use prost_reflect::{FieldDescriptor, MessageDescriptor};

/// What a dataset's contract says about the fields of its messages, as far as the filter cares.
///
/// The catalog builds this from the options in `lienthong/options/v1/options.proto`. The filter asks each
/// field once, when a plan is compiled.
pub trait Annotations {
    /// Whether this field of a response holds the record, or the list of records: option
    /// `(lienthong.options.v1.record)`. It must be a message, and not a map.
    fn is_record(&self, field: &FieldDescriptor) -> bool;

    /// Whether this message is a record itself, so that a response of this type has no envelope around it: option
    /// `(lienthong.options.v1.dataset)`. Asked of the response alone; elsewhere a record stands in a field.
    fn is_record_message(&self, _message: &MessageDescriptor) -> bool {
        false
    }

    /// Whether this field names the person or organisation that the data is about: `subject: true` in
    /// option `(lienthong.options.v1.field)`. It must be a string.
    fn is_subject(&self, field: &FieldDescriptor) -> bool;
}
