//! Keyed digests of what was exchanged, and salted commitments of whom it was about.
//!
//! A plain hash of a question that holds twelve digits is an oracle: who holds it can try every citizen number.
//! So digests are keyed by a random key of the exchange, and commitments by the record's salt (design §6,
//! Digests and Subjects). Key and salt live in the erasable side file ([`crate::keys`]), never in a record.

use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use lienthong_proto::lienthong::audit::v1::Digest;
use zeroize::Zeroizing;

/// Bytes of an exchange key.
pub const EXCHANGE_KEY_BYTES: usize = 32;

/// Bytes of a record's salt.
pub const SALT_BYTES: usize = 16;

/// The operating system gave no random bytes: no key can be made, so no exchange may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no random bytes from the cryptographic library; refuse the exchange and check the host's entropy source"
)]
pub struct NoRandomness;

/// Random salt for one record.
pub fn salt() -> Result<[u8; SALT_BYTES], NoRandomness> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| NoRandomness)?;
    Ok(salt)
}

/// The secret under which one exchange is digested. Made by the consumer's node, sent to the provider's node,
/// kept by both until it is erased, disclosed only in an evidence file. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ExchangeKey(Zeroizing<[u8; EXCHANGE_KEY_BYTES]>);

impl ExchangeKey {
    /// A new random key.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new([0; EXCHANGE_KEY_BYTES]);
        rand::fill(key.as_mut()).map_err(|_| NoRandomness)?;
        Ok(Self(key))
    }

    /// The key that the peer sent, or that a side file kept.
    pub fn from_bytes(bytes: [u8; EXCHANGE_KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key from exactly 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }

    /// The bytes, to be sent to the peer or kept in the side file.
    pub fn as_bytes(&self) -> &[u8; EXCHANGE_KEY_BYTES] {
        &self.0
    }
}

impl std::fmt::Debug for ExchangeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExchangeKey(hidden)")
    }
}

/// An exchange key made ready: both directions of an exchange are digested under it. Clones share it.
#[derive(Clone)]
pub struct Digester(Arc<hmac::Key>);

impl Digester {
    /// Makes a key ready.
    pub fn new(key: &ExchangeKey) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))
    }

    /// The digest of one direction, before any message.
    pub fn begin(&self) -> MessageDigest {
        let context = Some(Box::new(hmac::Context::with_key(&self.0)));
        MessageDigest { context, messages: 0, bytes: 0 }
    }
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digester(hidden)")
    }
}

/// The running digest of one direction of an exchange: HMAC-SHA-256 under the exchange key over, for each
/// message, its length (u32 big-endian) and its uncompressed bytes.
///
/// A message is either given whole ([`MessageDigest::message`]) or announced by its length and given in pieces
/// ([`MessageDigest::begin`], [`MessageDigest::bytes`]); both give the same digest.
#[derive(Clone)]
pub struct MessageDigest {
    /// `None` once ended. In a box: it is over a kilobyte, and what holds it is moved.
    context: Option<Box<hmac::Context>>,
    messages: u64,
    bytes: u64,
}

impl MessageDigest {
    /// The digest before any message; of several under one key, [`Digester`] makes them cheaper.
    pub fn new(key: &ExchangeKey) -> Self {
        Digester::new(key).begin()
    }

    /// Takes in one whole message. gRPC bounds its length to `u32` (the length prefix of its framing); a longer
    /// slice is counted by its true length but announced as `u32::MAX`, which no peer can reproduce.
    pub fn message(&mut self, message: &[u8]) {
        self.begin(u32::try_from(message.len()).unwrap_or(u32::MAX));
        self.bytes(message);
    }

    /// Announces a message of `length` bytes, to be given in pieces.
    pub fn begin(&mut self, length: u32) {
        self.update(&length.to_be_bytes());
        self.messages += 1;
    }

    /// Takes in a piece of the message announced last.
    pub fn bytes(&mut self, piece: &[u8]) {
        self.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// Takes in metadata of the applications that passes before the first message or after the last one. Keys come in
    /// the order of their bytes, the values of one key as they were sent; without any, nothing is taken in.
    pub fn metadata(&mut self, entries: &[(&[u8], &[u8])]) {
        if entries.is_empty() {
            return;
        }
        self.update(&METADATA_MARK.to_be_bytes());
        self.update(&length(entries.len()));
        for (key, value) in entries {
            for part in [key, value] {
                self.update(&length(part.len()));
                self.update(part);
            }
        }
    }

    /// Messages so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes of messages so far.
    pub fn byte_count(&self) -> u64 {
        self.bytes
    }

    /// The digest as a progress record states it; more messages may follow.
    pub fn so_far(&self) -> Digest {
        self.clone().finish()
    }

    /// The digest as the closing record states it.
    pub fn finish(mut self) -> Digest {
        self.end()
    }

    /// The same, where the digest stays in its place: it is of nothing afterwards, and takes nothing in.
    pub fn end(&mut self) -> Digest {
        let tag = self.context.take().map(|context| context.sign());
        let hmac = tag.as_ref().map(|tag| tag.as_ref().to_vec()).unwrap_or_default();
        Digest { hmac, messages: self.messages, bytes: self.bytes }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(context) = &mut self.context {
            context.update(bytes);
        }
    }
}

/// Stands where a message has its length: no message is so long.
const METADATA_MARK: u32 = u32::MAX;

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).unwrap_or(u32::MAX).to_be_bytes()
}

/// The commitment of a subject: HMAC-SHA-256 under the record's salt over a domain prefix and the subject id.
/// Erasing the salt makes it meaningless, while the record stays provable.
pub fn commit(salt: &[u8; SALT_BYTES], subject: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    let mut context = hmac::Context::with_key(&key);
    context.update(SUBJECT_PREFIX);
    context.update(subject.as_bytes());
    let mut commitment = [0; 32];
    commitment.copy_from_slice(context.sign().as_ref());
    commitment
}

/// Keeps a subject commitment apart from any other use of the salt.
const SUBJECT_PREFIX: &[u8] = b"lienthong/subject/v1\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> ExchangeKey {
        ExchangeKey::from_bytes([7; 32])
    }

    #[test]
    fn is_hmac_over_length_prefixed_messages() {
        let mut digest = MessageDigest::new(&key());
        digest.message(b"abc");
        digest.message(b"");
        let expected =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), b"\x00\x00\x00\x03abc\x00\x00\x00\x00");
        let digest = digest.finish();
        assert_eq!(digest.hmac, expected.as_ref());
        assert_eq!((digest.messages, digest.bytes), (2, 3));
    }

    #[test]
    fn an_ended_digest_takes_nothing_in() {
        let digester = Digester::new(&key());
        let mut digest = digester.begin();
        digest.message(b"abc");
        let ended = digest.end();
        assert_eq!(ended, digester.clone().begin_with(b"abc"));
        digest.bytes(b"more");
        assert_eq!(digest.end().hmac, Vec::<u8>::new());
    }

    impl Digester {
        fn begin_with(&self, message: &[u8]) -> Digest {
            let mut digest = self.begin();
            digest.message(message);
            digest.finish()
        }
    }

    #[test]
    fn metadata_stands_apart_from_messages() {
        let mut digest = MessageDigest::new(&key());
        digest.metadata(&[(b"a", b"1"), (b"a", b"")]);
        digest.message(b"x");
        digest.metadata(&[]);
        let spelled = b"\xff\xff\xff\xff\x00\x00\x00\x02\
            \x00\x00\x00\x01a\x00\x00\x00\x011\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x01x";
        let digest = digest.finish();
        assert_eq!(digest.hmac, hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), spelled).as_ref());
        assert_eq!((digest.messages, digest.bytes), (1, 1));
    }

    #[test]
    fn a_random_key_is_not_printed_and_not_repeated() {
        let (one, two) = (ExchangeKey::random().unwrap(), ExchangeKey::random().unwrap());
        assert_ne!(one, two);
        assert_eq!(format!("{one:?}"), "ExchangeKey(hidden)");
        assert_eq!(ExchangeKey::from_slice(one.as_bytes()), Some(one));
        assert_eq!(ExchangeKey::from_slice(&[0; 31]), None);
    }

    #[test]
    fn commitments_depend_on_salt_and_subject() {
        let one = commit(&[1; 16], "001099000123");
        assert_eq!(one, commit(&[1; 16], "001099000123"));
        assert_ne!(one, commit(&[2; 16], "001099000123"));
        assert_ne!(one, commit(&[1; 16], "001099000124"));
    }

    proptest! {
        #[test]
        fn pieces_give_the_digest_of_the_whole(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
            cut in 1..64_usize,
        ) {
            let (mut whole, mut pieces) = (MessageDigest::new(&key()), MessageDigest::new(&key()));
            for message in &messages {
                whole.message(message);
                pieces.begin(u32::try_from(message.len()).unwrap());
                message.chunks(cut).for_each(|piece| pieces.bytes(piece));
            }
            prop_assert_eq!(whole.so_far(), pieces.finish());
        }

        #[test]
        fn another_split_into_messages_is_another_digest(message in prop::collection::vec(any::<u8>(), 1..100)) {
            let (mut one, mut two) = (MessageDigest::new(&key()), MessageDigest::new(&key()));
            one.message(&message);
            let (left, right) = message.split_at(message.len() / 2);
            two.message(left);
            two.message(right);
            prop_assert_ne!(one.finish().hmac, two.finish().hmac);
        }
    }
}
