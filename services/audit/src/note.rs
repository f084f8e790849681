//! Signed notes and their keys (C2SP signed-note v1.0.0; cosignatures of C2SP tlog-cosignature v1.0).
//!
//! A note is a text that ends in a newline, an empty line, and one signature line for each key. Pure: the time of a
//! cosignature comes from the caller. Two signature types are known, both Ed25519 (RFC 8032): plain ([`KeyKind::Ed25519`],
//! 0x01) for logs and timestamped ([`KeyKind::CosignatureV1`], 0x04) for witnesses.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::hash::sha256;

/// The longest note that is read, in bytes: room for 16 post-quantum signatures (5 kB each) and a long text.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;

/// The most signatures that a note may carry (the specification asks for at least 16).
pub const NOTE_SIGNATURES_MAX: usize = 128;

/// The longest key name, in bytes: what the one-byte length of newer cosignature formats can hold.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// A signed note as it was read: nothing in it is trusted until [`Note::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note without signatures yet. The text must end in a newline and hold no other control character.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        check_characters(&text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::Malformed("the text does not end in a newline"));
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in the order of their lines, known or not, valid or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line.
    pub fn add(&mut self, signature: NoteSignature) {
        self.signatures.push(signature);
    }

    /// Verifies every signature made by one of the `known` keys and ignores all others. At least one must verify;
    /// a single known key whose signature fails refuses the whole note (signed-note, "Signatures").
    pub fn verify<'k>(
        &self,
        known: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<VerifiedSignature<'k>>, NoteError> {
        let known = known.into_iter().collect::<Vec<_>>();
        let mut verified = Vec::new();
        for signature in &self.signatures {
            let mut keys =
                known.iter().filter(|key| key.name == signature.name && key.id == signature.key_id);
            let Some(key) = keys.next() else { continue };
            if keys.any(|other| other != key) {
                return Err(NoteError::AmbiguousKey(key.label()));
            }
            verified.push(VerifiedSignature { key, time_s: key.verify(&self.text, &signature.bytes)? });
        }
        if verified.is_empty() {
            return Err(NoteError::NoKnownSignature(labels(&self.signatures)));
        }
        Ok(verified)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl FromStr for Note {
    type Err = NoteError;

    /// Reads a note by every rule of the format; verifies nothing.
    fn from_str(note: &str) -> Result<Self, NoteError> {
        check_characters(note)?;
        let blank = note.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, lines) = (&note[..=blank], &note[blank + 2..]);
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("the last line does not end in a newline"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(line.parse()?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

/// One signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key, as the signer gave it.
    pub name: String,
    /// The key id: with the name it picks the key.
    pub key_id: u32,
    /// The signature, in the encoding of its type, without the key id.
    pub bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    /// The line without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [&self.key_id.to_be_bytes()[..], &self.bytes].concat();
        write!(f, "\u{2014} {} {}", self.name, STANDARD.encode(blob))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    /// Reads one signature line without its newline.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("a signature line is not \"\u{2014} <key name> <base64>\"");
        let (name, blob) = match line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')) {
            Some((name, blob)) if is_key_name(name) => (name, blob),
            _ => return Err(malformed),
        };
        let blob = STANDARD.decode(blob).map_err(|_| malformed)?;
        match blob.split_first_chunk::<4>() {
            Some((key_id, bytes)) if !bytes.is_empty() => {
                Ok(Self { name: name.to_owned(), key_id: u32::from_be_bytes(*key_id), bytes: bytes.to_vec() })
            }
            _ => Err(NoteError::Malformed("a signature is shorter than its key id and one byte")),
        }
    }
}

/// A signature that [`Note::verify`] found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedSignature<'k> {
    /// The key that made it.
    pub key: &'k VerifierKey,
    /// When, in seconds since 1970-01-01 UTC, for a timestamped cosignature.
    pub time_s: Option<u64>,
}

/// What a key signs: the signature type byte of signed-note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// 0x01: Ed25519 over the note's text.
    Ed25519,
    /// 0x04: Ed25519 over a time and the note's text: a witness's cosignature/v1.
    CosignatureV1,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, NoteError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::CosignatureV1),
            other => Err(NoteError::UnsupportedKind(other)),
        }
    }
}

/// A public key with its name: a *vkey*, `<name>+<hex key id>+<base64 of type and key>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    public: [u8; PUBLIC_KEY_BYTES],
    id: u32,
}

impl VerifierKey {
    /// Names a public key. The name must be 1..=255 bytes without spaces, plus signs or control characters.
    pub fn new(name: &str, kind: KeyKind, public: [u8; PUBLIC_KEY_BYTES]) -> Result<Self, NoteError> {
        if !is_key_name(name) || name.len() > KEY_NAME_BYTES_MAX {
            return Err(NoteError::KeyName(name.chars().take(TEXT_SHOWN_CHARS).collect()));
        }
        let hash = sha256(&[name.as_bytes(), b"\n", &[kind.byte()], &public].concat());
        let id = u32::from_be_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]);
        Ok(Self { name: name.to_owned(), kind, public, id })
    }

    /// The key's name; for a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's signature type.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key id: the first four bytes of a hash over name, type and key.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The public key itself (RFC 8032).
    pub const fn public(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public
    }

    /// Name and key id, for messages.
    pub fn label(&self) -> String {
        format!("{}+{:08x}", self.name, self.id)
    }

    /// Verifies one signature of this key; returns its time if it carries one.
    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, NoteError> {
        let bad = || NoteError::BadSignature(self.label());
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        match self.kind {
            KeyKind::Ed25519 => {
                key.verify(text.as_bytes(), signature).map_err(|_| bad())?;
                Ok(None)
            }
            KeyKind::CosignatureV1 => {
                let (time, signature) = signature.split_first_chunk::<8>().ok_or_else(bad)?;
                let time_s = u64::from_be_bytes(*time);
                if i64::try_from(time_s).is_err() {
                    return Err(bad());
                }
                key.verify(cosigned_message(text, time_s).as_bytes(), signature).map_err(|_| bad())?;
                Ok(Some(time_s))
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()][..], &self.public].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(vkey: &str) -> Result<Self, NoteError> {
        let (name, id, kind, public) = split_key(vkey)?;
        let key = Self::new(name, kind, public)?;
        check_key_id(&key, id)?;
        Ok(key)
    }
}

/// A private key with its name. Never printed: [`SigningKey::to_skey`] is the one way out.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SigningKey {
    /// Makes a new key from the system's random source.
    pub fn generate(name: &str, kind: KeyKind) -> Result<Self, NoteError> {
        Self::from_pair(name, kind, Ed25519KeyPair::generate().map_err(|_| NoteError::Crypto)?)
    }

    /// The key of a 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(name: &str, kind: KeyKind, seed: &[u8; SEED_BYTES]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Crypto)?;
        Self::from_pair(name, kind, pair)
    }

    /// Reads [`SigningKey::to_skey`].
    pub fn from_skey(skey: &str) -> Result<Self, NoteError> {
        let rest = skey
            .strip_prefix(SKEY_PREFIX)
            .ok_or(NoteError::KeyText("a signing key begins with PRIVATE+KEY+"))?;
        let (name, id, kind, seed) = split_key(rest)?;
        let key = Self::from_seed(name, kind, &Zeroizing::new(seed))?;
        check_key_id(&key.verifier, id)?;
        Ok(key)
    }

    /// The text form `PRIVATE+KEY+<name>+<hex key id>+<base64 of type and seed>`, as Go's `sumdb/note` and the C2SP
    /// tools keep signing keys. Secret.
    pub fn to_skey(&self) -> Result<Zeroizing<String>, NoteError> {
        let seed = self.pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| NoteError::Crypto)?;
        let key = Zeroizing::new([&[self.verifier.kind.byte()][..], seed.as_ref()].concat());
        let encoded = Zeroizing::new(STANDARD.encode(&*key));
        Ok(Zeroizing::new(format!("{SKEY_PREFIX}{}+{:08x}+{}", self.name(), self.verifier.id, *encoded)))
    }

    /// The public half.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// Signs a text with an [`KeyKind::Ed25519`] key.
    pub fn sign(&self, text: &str) -> Result<NoteSignature, NoteError> {
        match self.verifier.kind {
            KeyKind::Ed25519 => Ok(self.signature(self.raw(text)?)),
            KeyKind::CosignatureV1 => Err(NoteError::WrongKind(self.verifier.label())),
        }
    }

    /// Cosigns a checkpoint's text at `time_s` (seconds since 1970-01-01 UTC) with a [`KeyKind::CosignatureV1`] key.
    /// It says: at that time this was the largest consistent tree I had seen of this log.
    pub fn cosign(&self, text: &str, time_s: u64) -> Result<NoteSignature, NoteError> {
        match self.verifier.kind {
            KeyKind::CosignatureV1 if i64::try_from(time_s).is_ok() => {
                let signature = self.raw(&cosigned_message(text, time_s))?;
                Ok(self.signature([&time_s.to_be_bytes()[..], &signature].concat()))
            }
            _ => Err(NoteError::WrongKind(self.verifier.label())),
        }
    }

    fn from_pair(name: &str, kind: KeyKind, pair: Ed25519KeyPair) -> Result<Self, NoteError> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Crypto)?;
        Ok(Self { verifier: VerifierKey::new(name, kind, public)?, pair })
    }

    fn raw(&self, message: &str) -> Result<Vec<u8>, NoteError> {
        let signature = self.pair.try_sign(message.as_bytes()).map_err(|_| NoteError::Crypto)?;
        Ok(signature.as_ref().to_vec())
    }

    fn signature(&self, bytes: Vec<u8>) -> NoteSignature {
        NoteSignature { name: self.verifier.name.clone(), key_id: self.verifier.id, bytes }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier.label())
    }
}

/// Why a note or a key is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("a note of {0} bytes; at most {NOTE_BYTES_MAX} are read")]
    TooLong(usize),
    /// More signatures than [`NOTE_SIGNATURES_MAX`].
    #[error("a note with more than {NOTE_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// Against the format.
    #[error("not a signed note: {0} (C2SP signed-note)")]
    Malformed(&'static str),
    /// A signature by a trusted key does not fit the text: the text or the signature was changed.
    #[error("the signature of {0} does not fit the text: the note was changed (C2SP signed-note)")]
    BadSignature(String),
    /// No signature is by a trusted key.
    #[error("no signature is by a trusted key; the note is signed by {0}; check which keys the policy names")]
    NoKnownSignature(String),
    /// Two different trusted keys share name and key id.
    #[error("two trusted keys are both called {0}; remove one from the policy")]
    AmbiguousKey(String),
    /// Not the name of a key.
    #[error(
        "{0:?} is not a key name: 1 to {KEY_NAME_BYTES_MAX} bytes, no space, no plus sign, no control character"
    )]
    KeyName(String),
    /// Not the text of a key.
    #[error("not the text of a key: {0} (C2SP signed-note, \"Verifier keys\")")]
    KeyText(&'static str),
    /// A signature type that this program does not judge.
    #[error("signature type 0x{0:02x} is not supported; use Ed25519 (0x01) or cosignature/v1 (0x04)")]
    UnsupportedKind(u8),
    /// A plain key asked to cosign, a witness's key asked to sign, or a time beyond 2^63 - 1.
    #[error(
        "{0} cannot make this kind of signature; logs sign with type 0x01, witnesses cosign with type 0x04"
    )]
    WrongKind(String),
    /// The cryptographic library refused.
    #[error("the cryptographic library refused the operation")]
    Crypto,
}

/// Bytes of an Ed25519 public key (RFC 8032).
pub const PUBLIC_KEY_BYTES: usize = 32;

/// Bytes of an Ed25519 seed (RFC 8032).
pub const SEED_BYTES: usize = 32;

const SKEY_PREFIX: &str = "PRIVATE+KEY+";

/// How much of a hostile text an error message shows.
const TEXT_SHOWN_CHARS: usize = 80;

/// How many signers an error message names.
const SIGNERS_SHOWN_MAX: usize = 8;

fn cosigned_message(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

fn check_characters(note: &str) -> Result<(), NoteError> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLong(note.len()));
    }
    if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Malformed("it holds a control character other than newline"));
    }
    Ok(())
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

/// Splits `<name>+<hex id>+<base64 of type and 32 bytes>`.
fn split_key(text: &str) -> Result<(&str, u32, KeyKind, [u8; PUBLIC_KEY_BYTES]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::KeyText("it is not <name>+<key id>+<key>"));
    };
    let number = u32::from_str_radix(id, 16).ok().filter(|number| format!("{number:08x}") == id);
    let id = number.ok_or(NoteError::KeyText("the key id is not 8 lower-case hex digits"))?;
    let key = STANDARD.decode(key).map(Zeroizing::new);
    let key = key.map_err(|_| NoteError::KeyText("the key is not standard base64"))?;
    let (kind, bytes) = key.split_first().ok_or(NoteError::KeyText("the key is empty"))?;
    let kind = KeyKind::from_byte(*kind)?;
    let bytes = bytes.try_into().map_err(|_| NoteError::KeyText("an Ed25519 key has 32 bytes"))?;
    Ok((name, id, kind, bytes))
}

fn check_key_id(key: &VerifierKey, id: u32) -> Result<(), NoteError> {
    if key.id == id {
        return Ok(());
    }
    Err(NoteError::KeyText("the key id does not fit name and key: one of them was mistyped"))
}

fn labels(signatures: &[NoteSignature]) -> String {
    let shown = signatures.iter().take(SIGNERS_SHOWN_MAX).map(|signature| {
        let name = signature.name.chars().take(TEXT_SHOWN_CHARS).collect::<String>();
        format!("{name}+{:08x}", signature.key_id)
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    if shown.is_empty() { "nobody".to_owned() } else { shown }
}

#[cfg(test)]
mod tests;
