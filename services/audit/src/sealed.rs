//! Subject ids on their way to the broker's index: sealed, so that nobody in between learns who a record is about, and
//! bound to the batch that they came with.
//!
//! HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM; one context a batch. The additional
//! data are the batch's header bytes, which the node signs. An id is taken only where the record commits to it
//! ([`crate::digest::commit`]): a node can leave a person out, which the peer's record shows, but cannot bring one in.

use lienthong_proto::lienthong::audit::v1::{
    Closing, Continuation, IndexKey, Record, SealedSubjects, SubjectIds, SubjectIdsOfRecord, record::Body,
};
use prost::Message as _;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::digest::{self, SALT_BYTES};
use crate::hash::sha256;

/// Bytes of the ids of one batch.
pub const SUBJECT_IDS_BYTES_MAX: usize = 768 * 1024;

/// Bytes of an X25519 key, public or private.
pub const KEY_BYTES: usize = 32;

/// Why subjects are not sealed, or not opened. The records themselves are not touched by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// The key is none.
    #[error("the index key is not an X25519 key of 32 bytes")]
    Key,
    /// Sealed to another key than the one that the broker holds.
    #[error(
        "the subjects are sealed to another index key ({found}) than the broker's ({own}); the node takes the new key when it connects again"
    )]
    OtherKey {
        /// Id of the key that they are sealed to, hexadecimal.
        found: String,
        /// Id of the broker's.
        own: String,
    },
    /// The seal does not open: altered on the way, or of another batch.
    #[error("the sealed subjects of a batch do not open: they were altered, or belong to another batch")]
    Broken,
    /// What was sealed is not the message that it should be.
    #[error("the sealed subjects of a batch are not a SubjectIds message: {0}")]
    Undecodable(String),
    /// More than a batch may hold.
    #[error("{0} bytes of subject ids; the bound is {SUBJECT_IDS_BYTES_MAX}")]
    TooLarge(usize),
    /// The cryptographic library failed.
    #[error("the cryptographic library could not seal the subjects")]
    Sealing,
}

/// The key pair of the broker's index.
pub struct IndexSecret {
    public: [u8; KEY_BYTES],
    private: HpkePrivateKey,
}

impl IndexSecret {
    /// A new random pair.
    pub fn generate() -> Result<Self, SealedError> {
        let (HpkePublicKey(public), private) = SUITE.generate_key_pair().map_err(|_| SealedError::Sealing)?;
        Ok(Self { public: public.try_into().map_err(|_| SealedError::Key)?, private })
    }

    /// The pair from what [`IndexSecret::to_bytes`] gave: private, then public key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealedError> {
        let (private, public) = bytes.split_at_checked(KEY_BYTES).ok_or(SealedError::Key)?;
        let public = public.try_into().map_err(|_| SealedError::Key)?;
        Ok(Self { public, private: private.to_vec().into() })
    }

    /// The pair, to be kept in a file for its owner's eyes only.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.private.secret_bytes(), &self.public].concat())
    }

    /// The public key, as nodes are told it.
    pub fn public(&self) -> IndexKey {
        IndexKey { id: key_id(&self.public), public_key: self.public.to_vec() }
    }

    /// Opens what came beside the batch with this header.
    pub fn open(
        &self,
        sealed: &SealedSubjects,
        header: &[u8],
    ) -> Result<Vec<SubjectIdsOfRecord>, SealedError> {
        let own = key_id(&self.public);
        if sealed.key_id != own {
            let (found, own) = (hex::encode(&sealed.key_id), hex::encode(own));
            return Err(SealedError::OtherKey { found: found.chars().take(32).collect(), own });
        }
        if sealed.ciphertext.len() > SUBJECT_IDS_BYTES_MAX + TAG_BYTES {
            return Err(SealedError::TooLarge(sealed.ciphertext.len()));
        }
        let secret = EncapsulatedSecret(sealed.encapsulated_key.clone());
        let mut plain = SUITE
            .open(&secret, INFO, header, &sealed.ciphertext, &self.private)
            .map_err(|_| SealedError::Broken)?;
        let ids = SubjectIds::decode(&plain[..]).map_err(|error| SealedError::Undecodable(error.to_string()));
        plain.zeroize();
        Ok(ids?.records)
    }
}

impl std::fmt::Debug for IndexSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IndexSecret({})", hex::encode(key_id(&self.public)))
    }
}

/// Seals ids to the index of one broker.
#[derive(Debug, Clone)]
pub struct SubjectSealer {
    key: IndexKey,
}

impl SubjectSealer {
    /// A sealer to this key.
    pub fn new(key: &IndexKey) -> Result<Self, SealedError> {
        if key.public_key.len() != KEY_BYTES || key.id != key_id(&key.public_key) {
            return Err(SealedError::Key);
        }
        Ok(Self { key: key.clone() })
    }

    /// Seals the subjects of a batch with this header.
    pub fn seal(
        &self,
        records: Vec<SubjectIdsOfRecord>,
        header: &[u8],
    ) -> Result<SealedSubjects, SealedError> {
        let ids = SubjectIds { records };
        if ids.encoded_len() > SUBJECT_IDS_BYTES_MAX {
            return Err(SealedError::TooLarge(ids.encoded_len()));
        }
        let plain = Zeroizing::new(ids.encode_to_vec());
        let public = HpkePublicKey(self.key.public_key.clone());
        let (EncapsulatedSecret(encapsulated_key), ciphertext) =
            SUITE.seal(INFO, header, &plain, &public).map_err(|_| SealedError::Sealing)?;
        Ok(SealedSubjects { key_id: self.key.id.clone(), encapsulated_key, ciphertext })
    }
}

/// The subject commitments of a record, in order; empty for a record that names none.
pub fn commitments(record: &Record) -> &[Vec<u8>] {
    match &record.body {
        Some(Body::Closing(Closing { subjects, .. }) | Body::Continuation(Continuation { subjects, .. })) => {
            subjects
        }
        _ => &[],
    }
}

/// The ids that `record` commits to, of those that were sent for it: in its order, nothing else.
pub fn committed<'a>(record: &'a Record, sent: &'a SubjectIdsOfRecord) -> impl Iterator<Item = &'a str> {
    let salt: Option<[u8; SALT_BYTES]> = sent.salt.as_slice().try_into().ok();
    let pairs = commitments(record).iter().zip(&sent.ids);
    pairs.filter_map(move |(commitment, id)| {
        (digest::commit(&salt?, id)[..] == **commitment).then_some(id.as_str())
    })
}

const INFO: &[u8] = b"lienthong/subjects/v1";

/// Bytes of the tag of AES-128-GCM.
const TAG_BYTES: usize = 16;

fn key_id(public: &[u8]) -> Vec<u8> {
    sha256(public).0[..8].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<SubjectIdsOfRecord> {
        let ids = vec!["001099012345".to_owned(), "0100109106".to_owned()];
        vec![SubjectIdsOfRecord { seq: 7, salt: vec![3; SALT_BYTES], ids }]
    }

    #[test]
    fn what_is_sealed_opens_for_the_index_and_its_batch_only() {
        let secret = IndexSecret::from_bytes(&IndexSecret::generate().unwrap().to_bytes()).unwrap();
        let sealed = SubjectSealer::new(&secret.public()).unwrap().seal(records(), b"header").unwrap();
        assert_eq!(secret.open(&sealed, b"header").unwrap(), records());
        assert_eq!(secret.open(&sealed, b"other header"), Err(SealedError::Broken));
        let other = IndexSecret::generate().unwrap();
        assert!(matches!(other.open(&sealed, b"header"), Err(SealedError::OtherKey { .. })));
        let disguised = SealedSubjects { key_id: other.public().id, ..sealed.clone() };
        assert_eq!(other.open(&disguised, b"header"), Err(SealedError::Broken));
        let mut flipped = sealed.clone();
        flipped.ciphertext[0] ^= 1;
        assert_eq!(secret.open(&flipped, b"header"), Err(SealedError::Broken));
        assert!(!sealed.ciphertext.windows(12).any(|window| window == b"001099012345"));
    }

    #[test]
    fn rubbish_is_refused_without_a_panic() {
        let secret = IndexSecret::generate().unwrap();
        for encapsulated_key in [vec![], vec![0; 32], vec![9; 31], vec![255; 200]] {
            let sealed =
                SealedSubjects { key_id: secret.public().id, encapsulated_key, ciphertext: vec![1; 40] };
            assert_eq!(secret.open(&sealed, b""), Err(SealedError::Broken));
        }
        let key = IndexKey { public_key: vec![1; 5], ..secret.public() };
        assert_eq!(SubjectSealer::new(&key).err(), Some(SealedError::Key));
    }

    #[test]
    fn only_what_the_record_commits_to_is_taken() {
        let sent = records().remove(0);
        let salt = [3; SALT_BYTES];
        let subjects =
            vec![digest::commit(&salt, "001099012345").to_vec(), digest::commit(&salt, "another").to_vec()];
        let record = Record {
            body: Some(Body::Closing(Closing { subjects, ..Closing::default() })),
            ..Record::default()
        };
        assert_eq!(committed(&record, &sent).collect::<Vec<_>>(), ["001099012345"]);
        let foreign = SubjectIdsOfRecord { salt: vec![4; SALT_BYTES], ..sent.clone() };
        assert_eq!(committed(&record, &foreign).count(), 0);
        assert_eq!(committed(&Record::default(), &sent).count(), 0);
    }
}
