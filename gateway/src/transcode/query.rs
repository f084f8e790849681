//! A message in a query string (Connect protocol, "Unary-Get-Request"): so that caches of a client's own may help. What
//! stands in an address stands in many a proxy's log; a number of a person does not belong there.

use base64::{
    Engine, alphabet, engine::DecodePaddingMode, engine::GeneralPurpose, engine::general_purpose::PAD,
};
use bytes::Bytes;
use percent_encoding::percent_decode;

use super::{codec::Codec, limits::QUERY_PAIRS_MAX, packing::Packing};

const URL_SAFE: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What a query string asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// How the message is written.
    pub codec: Codec,
    /// How it is packed.
    pub packing: Packing,
    /// The message.
    pub message: Bytes,
}

/// Why a query string asks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// `encoding` is missing or unknown.
    #[error("encoding must be json or proto")]
    Encoding,
    /// `message` is missing.
    #[error("message is missing")]
    Message,
    /// `message` is not what `base64=1` says.
    #[error("message is not base64 (URL-safe)")]
    Base64,
    /// `compression` is unknown.
    #[error("compression must be gzip or identity")]
    Compression,
    /// A name stands twice, or the list has no end.
    #[error("every name stands once, and there are no more than {QUERY_PAIRS_MAX}")]
    Twice,
}

/// Names and values of a query string, decoded; `+` is a space.
pub fn pairs(query: &str) -> Result<Vec<(String, Vec<u8>)>, QuestionError> {
    let decoded = |text: &str| percent_decode(text.replace('+', " ").as_bytes()).collect::<Vec<u8>>();
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == QUERY_PAIRS_MAX {
            return Err(QuestionError::Twice);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((String::from_utf8_lossy(&decoded(name)).into_owned(), decoded(value)));
    }
    Ok(pairs)
}

/// Reads Connect's query string. Other names are no concern of it.
pub fn question(query: &str) -> Result<Question, QuestionError> {
    let pairs = pairs(query)?;
    let one = |wanted: &str| -> Result<Option<&[u8]>, QuestionError> {
        let mut values = pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_slice());
        let value = values.next();
        if values.next().is_some() { Err(QuestionError::Twice) } else { Ok(value) }
    };
    let codec = one("encoding")?.and_then(|name| std::str::from_utf8(name).ok()).and_then(Codec::named);
    let message = one("message")?.ok_or(QuestionError::Message)?;
    let message = match one("base64")? {
        Some(b"1") => URL_SAFE.decode(message).map_err(|_| QuestionError::Base64)?,
        _ => message.to_vec(),
    };
    Ok(Question {
        codec: codec.ok_or(QuestionError::Encoding)?,
        packing: Packing::named(one("compression")?).ok_or(QuestionError::Compression)?,
        message: message.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_question_is_read() {
        let json = question("connect=v1&encoding=json&message=%7B%22a%22%3A+1%7D").unwrap();
        assert_eq!((json.codec, &json.message[..]), (Codec::Json, &b"{\"a\": 1}"[..]));
        for message in ["_-8", "_-8=", "%5F-8%3D"] {
            let binary = question(&format!("encoding=proto&base64=1&message={message}")).unwrap();
            assert_eq!((binary.codec, &binary.message[..]), (Codec::Proto, &[0xff, 0xef][..]));
        }
    }

    #[test]
    fn what_is_no_question_says_why() {
        for (query, error) in [
            ("", QuestionError::Message),
            ("message=x", QuestionError::Encoding),
            ("message=x&encoding=xml", QuestionError::Encoding),
            ("message=%&encoding=proto&base64=1", QuestionError::Base64),
            ("message=x&encoding=json&compression=br", QuestionError::Compression),
            ("message=x&message=y&encoding=json", QuestionError::Twice),
        ] {
            assert_eq!(question(query), Err(error), "{query}");
        }
        assert_eq!(question(&"a&".repeat(QUERY_PAIRS_MAX + 1)), Err(QuestionError::Twice));
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".{0,80}") {
            let _ = question(&query);
        }
    }
}
