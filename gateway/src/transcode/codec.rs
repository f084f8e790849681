//! One message: JSON as proto3 maps it, or protobuf's wire format.

use std::io::{self, Write};

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, SerializeOptions};

use super::{
    limits::{JSON_MESSAGE_BYTES_MAX, JSON_TEXT_BYTES_MAX},
    strict,
};

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// proto3's JSON mapping.
    Json,
    /// protobuf.
    Proto,
}

/// Why a message cannot be turned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The caller's JSON is not what the contract says. Its values are not repeated.
    #[error("the JSON is not a {message}: {problem}")]
    Json {
        /// The message that it should be.
        message: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// Larger than may be turned.
    #[error(
        "the message is larger than {max} bytes in JSON; ask for less, or speak binary (application/proto)"
    )]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The provider's bytes are not what its contract says.
    #[error("the answer is not a {message} on the wire")]
    Wire {
        /// The message that it should be.
        message: String,
    },
}

impl Codec {
    /// The codec of a name in a content type or a query string.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "proto" => Some(Self::Proto),
            _ => None,
        }
    }

    /// Content type of a unary message.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Proto => "application/proto",
        }
    }

    /// Content type of a stream.
    pub fn stream_content_type(self) -> &'static str {
        match self {
            Self::Json => "application/connect+json",
            Self::Proto => "application/connect+proto",
        }
    }

    /// What a caller wrote, on the wire. Binary messages pass as they are: the node looks into them.
    pub fn to_wire(self, message: &MessageDescriptor, written: Bytes) -> Result<Bytes, CodecError> {
        match self {
            Self::Proto => Ok(written),
            Self::Json => Ok(read(message, &written)?.encode_to_vec().into()),
        }
    }

    /// What came on the wire, as the caller reads it.
    pub fn from_wire(self, message: &MessageDescriptor, wire: Bytes) -> Result<Bytes, CodecError> {
        match self {
            Self::Proto => Ok(wire),
            Self::Json => write(&decode(message, wire)?),
        }
    }
}

/// Reads a message from JSON: no unknown field, nothing twice, nothing after it.
pub fn read(message: &MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, CodecError> {
    if json.len() > JSON_MESSAGE_BYTES_MAX {
        return Err(CodecError::TooLarge { max: JSON_MESSAGE_BYTES_MAX });
    }
    let wrong = |error: serde_json::Error| CodecError::Json {
        message: message.full_name().to_owned(),
        problem: without_values(&error.to_string()),
    };
    strict::check(message, json).map_err(wrong)?;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = DynamicMessage::deserialize(message.clone(), &mut reader).map_err(wrong)?;
    reader.end().map_err(wrong)?;
    Ok(read)
}

/// Reads a message from the wire.
pub fn decode(message: &MessageDescriptor, wire: Bytes) -> Result<DynamicMessage, CodecError> {
    if wire.len() > JSON_MESSAGE_BYTES_MAX {
        return Err(CodecError::TooLarge { max: JSON_MESSAGE_BYTES_MAX });
    }
    DynamicMessage::decode(message.clone(), wire)
        .map_err(|_| CodecError::Wire { message: message.full_name().to_owned() })
}

/// Writes a message as JSON.
pub fn write(message: &DynamicMessage) -> Result<Bytes, CodecError> {
    let mut text = Bounded(Vec::new());
    let written =
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &SerializeOptions::new());
    match written {
        Ok(()) => Ok(text.0.into()),
        Err(error) if error.is_io() => Err(CodecError::TooLarge { max: JSON_TEXT_BYTES_MAX }),
        Err(_) => Err(CodecError::Wire { message: message.descriptor().full_name().to_owned() }),
    }
}

/// A text that grows to [`JSON_TEXT_BYTES_MAX`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > JSON_TEXT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What serde says, without the value that it says it of: an error is logged and recorded, and the value may be a person's
/// number.
fn without_values(said: &str) -> String {
    let Some((head @ ("invalid type" | "invalid value" | "invalid length"), rest)) = said.split_once(": ")
    else {
        return said.to_owned();
    };
    let kind: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == ' ').collect();
    // What was expected stands behind the last comma that says so: a value may hold the word too.
    let expected = rest.rfind(", expected ").map_or("", |at| &rest[at..]);
    format!("{head}: {}{expected}", kind.trim_end())
}

#[cfg(test)]
mod tests {
    use lienthong_proto::descriptors;
    use proptest::prelude::*;

    use super::*;

    fn request() -> MessageDescriptor {
        let pool = descriptors::pool(descriptors::DANCU).unwrap();
        pool.get_message_by_name("vn.dancu.v1.GetCitizenRequest").unwrap()
    }

    fn problem(json: &str) -> String {
        Codec::Json.to_wire(&request(), Bytes::copy_from_slice(json.as_bytes())).unwrap_err().to_string()
    }

    #[test]
    fn json_becomes_the_wire_and_comes_back() {
        let json = Bytes::from_static(br#"{"soDinhDanh":"999190000001"}"#);
        let wire = Codec::Json.to_wire(&request(), json.clone()).unwrap();
        assert_eq!(wire[wire.len() - 12..], b"999190000001"[..]);
        assert_eq!(Codec::Json.from_wire(&request(), wire).unwrap(), json);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_without_its_value() {
        for (json, said) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("[]", "expected a map"),
            ("nothing", "expected ident"),
            (r#"{"soDinhDanh":"1"} {}"#, "trailing characters"),
            (r#"{"ten":"Nguyễn Văn A"}"#, "unrecognized field name 'ten'"),
            (r#"{"soDinhDanh":"1","soDinhDanh":"2"}"#, "\"soDinhDanh\" is said twice"),
            (r#"{"soDinhDanh":"1","so_dinh_danh":"2"}"#, "\"so_dinh_danh\" is said twice"),
            (r#"{"soDinhDanh":999190000001}"#, "invalid type: integer, expected a string"),
            (r#"{"soDinhDanh":["999190000001, expected x"]}"#, "invalid type: sequence"),
        ] {
            let problem = problem(json);
            assert!(problem.contains(said), "{json}: {problem}");
            assert!(!problem.contains("999190000001") && !problem.contains("Nguyễn"), "{problem}");
        }
        assert!(problem("{\"soDinhDanh\":\"\u{0}\"}").contains("control character"));
    }

    #[test]
    fn deep_and_huge_json_ends_early() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        assert!(problem(&deep).contains("nested deeper than 100"), "{}", problem(&deep));
        let huge = format!("{{\"soDinhDanh\":\"{}\"}}", "1".repeat(JSON_MESSAGE_BYTES_MAX));
        assert!(problem(&huge).contains("larger than 4194304 bytes"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = Codec::Json.to_wire(&request(), text.into_bytes().into());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Codec::Json.from_wire(&request(), bytes.into());
        }

        #[test]
        fn what_was_written_is_read_again(text in "\\PC{0,40}") {
            let mut message = DynamicMessage::new(request());
            message.set_field_by_name("so_dinh_danh", prost_reflect::Value::String(text));
            let json = write(&message).unwrap();
            // A field with its default value is not written.
            prop_assert_eq!(read(&request(), &json).unwrap().encode_to_vec(), message.encode_to_vec());
        }
    }
}
