//! The secret behind HASH masking: one key for each consumer and dataset, derived and never stored (design: conditions).
//!
//! Equal values give one consumer equal tokens, over all nodes of a provider and over restarts, and tell two consumers
//! nothing about each other. Keys go to the provider's nodes alone, in their bundles: with one a consumer could try all
//! twelve-digit numbers. The secret is a file of the broker's data folder. Who replaces it by another (with the broker
//! stopped) replaces every token of the mesh, so that nothing older can be linked to anything newer.

use std::path::Path;

use aws_lc_rs::{hmac, rand};
use lienthong_certs::files;
use lienthong_proto::lienthong::control::v1::Right;

use crate::error::BrokerError;

/// Bytes of the secret, and of each key.
pub const MASKING_KEY_BYTES: usize = 32;

/// Name of the file in the data folder.
const FILE: &str = "masking.key";

/// What the keys are for, so that no other use of the secret gives the same.
const CONTEXT: &[u8] = b"lienthong/hash-masking/v1\n";

/// The secret.
#[derive(Clone)]
pub struct MaskingSecret(hmac::Key);

impl MaskingSecret {
    /// Reads the secret of a broker, or makes it at the first start.
    ///
    /// # Errors
    /// [`BrokerError`] naming the file: it cannot be read or written, others may read it, or it is no such secret.
    pub fn open(data_dir: &Path) -> Result<Self, BrokerError> {
        let path = data_dir.join(FILE);
        if !path.exists() {
            let mut secret = [0; MASKING_KEY_BYTES];
            rand::fill(&mut secret).map_err(|_| BrokerError::Config {
                key: "data_dir",
                problem: "the system gives no random bytes".to_owned(),
            })?;
            files::create_private(&path, &secret)?;
        }
        let secret = files::read_private(&path, MASKING_KEY_BYTES as u64)?;
        if secret.len() != MASKING_KEY_BYTES {
            let problem = format!(
                "{} has {} bytes, not {MASKING_KEY_BYTES}; restore it, or remove it and have new tokens made",
                path.display(),
                secret.len()
            );
            return Err(BrokerError::Config { key: "data_dir", problem });
        }
        Ok(Self::new(&secret))
    }

    /// A secret of these bytes.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The key of a right: the same for every right of one consumer to one dataset.
    pub fn key(&self, right: &Right) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(CONTEXT);
        for part in [&right.provider, &right.dataset, &right.consumer] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().to_vec()
    }
}

impl std::fmt::Debug for MaskingSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskingSecret")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn right(provider: &str, dataset: &str, consumer: &str) -> Right {
        Right {
            provider: provider.to_owned(),
            dataset: dataset.to_owned(),
            consumer: consumer.to_owned(),
            ..Right::default()
        }
    }

    #[test]
    fn a_key_belongs_to_one_consumer_and_dataset() {
        let secret = MaskingSecret::new(&[7; 32]);
        let key = secret.key(&right("G01", "dancu.cong_dan", "H26"));
        assert_eq!(key.len(), MASKING_KEY_BYTES);
        let other_purpose = Right { id: "x".to_owned(), purpose: 3, ..right("G01", "dancu.cong_dan", "H26") };
        assert_eq!(secret.key(&other_purpose), key);
        for other in [
            right("G01", "dancu.cong_dan", "H29"),
            right("G01", "dancu.cong_danH", "26"),
            right("G0", "1dancu.cong_dan", "H26"),
            right("G01", "dancu.khac", "H26"),
        ] {
            assert_ne!(secret.key(&other), key, "{other:?}");
        }
        assert_ne!(MaskingSecret::new(&[8; 32]).key(&right("G01", "dancu.cong_dan", "H26")), key);
    }

    #[test]
    fn the_secret_stays_over_restarts_and_a_damaged_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let one = right("G01", "dancu.cong_dan", "H26");
        let key = MaskingSecret::open(folder.path()).unwrap().key(&one);
        assert_eq!(MaskingSecret::open(folder.path()).unwrap().key(&one), key);
        let path = folder.path().join(FILE);
        fs::remove_file(&path).unwrap();
        files::create_private(&path, b"short").unwrap();
        assert!(MaskingSecret::open(folder.path()).unwrap_err().to_string().contains("masking.key"));
    }
}
