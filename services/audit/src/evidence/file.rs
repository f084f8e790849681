//! The evidence file: JSON, every byte string in base64, so that any language reads it. Format `lienthong-evidence/v1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lienthong_proto::lienthong::audit::v1::{
    BatchEvidence, BundleEvidence, CertificateEvidence, Evidence, FoundRecord,
};
use prost_types::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::ExchangeKey;

const FORMAT: &str = "lienthong-evidence/v1";

/// The evidence of an exchange, and the key that only its nodes hold, where it was disclosed.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceFile {
    /// What the broker holds.
    pub evidence: Evidence,
    /// Key of the exchange's digests.
    pub key: Option<ExchangeKey>,
}

impl EvidenceFile {
    /// The file.
    pub fn to_json(&self) -> String {
        let Evidence { exchange_id, checkpoint, records, batches, certificates, bundles, notes } =
            self.evidence.clone();
        let file = Json {
            format: FORMAT.to_owned(),
            exchange_id: Base64(exchange_id),
            checkpoint,
            records: records.into_iter().map(Found::from).collect(),
            batches: batches.into_iter().map(Batch::from).collect(),
            certificates: certificates.into_iter().map(Chain::from).collect(),
            bundles: bundles.into_iter().map(Bundle::from).collect(),
            notes,
            exchange_key: self.key.as_ref().map(|key| Base64(key.as_bytes().to_vec())),
        };
        // INVARIANT: strings, numbers and lists always have a JSON form.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }

    /// Reads a file of any origin.
    ///
    /// # Errors
    /// What is not as the format says.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let file: Json = serde_json::from_str(text)?;
        if file.format != FORMAT {
            return Err(serde_json::Error::custom(format!("its format is not {FORMAT}")));
        }
        let key = match file.exchange_key {
            None => None,
            Some(Base64(key)) => Some(
                ExchangeKey::from_slice(&key)
                    .ok_or_else(|| serde_json::Error::custom("exchange_key is not 32 bytes"))?,
            ),
        };
        let evidence = Evidence {
            exchange_id: file.exchange_id.0,
            checkpoint: file.checkpoint,
            records: file.records.into_iter().map(FoundRecord::from).collect(),
            batches: file.batches.into_iter().map(BatchEvidence::from).collect(),
            certificates: file.certificates.into_iter().map(CertificateEvidence::from).collect(),
            bundles: file.bundles.into_iter().map(BundleEvidence::from).collect(),
            notes: file.notes,
        };
        Ok(Self { evidence, key })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: String,
    exchange_id: Base64,
    checkpoint: String,
    records: Vec<Found>,
    batches: Vec<Batch>,
    certificates: Vec<Chain>,
    bundles: Vec<Bundle>,
    notes: Vec<String>,
    exchange_key: Option<Base64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    index: u64,
    entry: Base64,
    path: Vec<Base64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    seal: Option<Found>,
    leaf_hashes: Vec<Base64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    certificate: Base64,
    issuers: Vec<Base64>,
    /// When the broker first judged it good, seconds since 1970.
    first_time: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    published: Option<Found>,
    bundle: Base64,
}

impl From<FoundRecord> for Found {
    fn from(found: FoundRecord) -> Self {
        let path = found.path.into_iter().map(Base64).collect();
        Self { index: found.index, entry: Base64(found.entry), path }
    }
}

impl From<Found> for FoundRecord {
    fn from(found: Found) -> Self {
        let path = found.path.into_iter().map(|hash| hash.0).collect();
        Self { index: found.index, entry: found.entry.0, path }
    }
}

impl From<BatchEvidence> for Batch {
    fn from(batch: BatchEvidence) -> Self {
        let leaf_hashes = batch.leaf_hashes.into_iter().map(Base64).collect();
        Self { seal: batch.seal.map(Found::from), leaf_hashes }
    }
}

impl From<Batch> for BatchEvidence {
    fn from(batch: Batch) -> Self {
        let leaf_hashes = batch.leaf_hashes.into_iter().map(|hash| hash.0).collect();
        Self { seal: batch.seal.map(FoundRecord::from), leaf_hashes }
    }
}

impl From<CertificateEvidence> for Chain {
    fn from(of: CertificateEvidence) -> Self {
        Self {
            certificate: Base64(of.certificate),
            issuers: of.issuers.into_iter().map(Base64).collect(),
            first_time: of.first_time.map(|time| time.seconds),
        }
    }
}

impl From<Chain> for CertificateEvidence {
    fn from(of: Chain) -> Self {
        Self {
            certificate: of.certificate.0,
            issuers: of.issuers.into_iter().map(|issuer| issuer.0).collect(),
            first_time: of.first_time.map(|seconds| Timestamp { seconds, nanos: 0 }),
        }
    }
}

impl From<BundleEvidence> for Bundle {
    fn from(bundle: BundleEvidence) -> Self {
        Self { published: bundle.published.map(Found::from), bundle: Base64(bundle.bundle) }
    }
}

impl From<Bundle> for BundleEvidence {
    fn from(bundle: Bundle) -> Self {
        Self { published: bundle.published.map(FoundRecord::from), bundle: bundle.bundle.0 }
    }
}

/// Bytes, in base64 (RFC 4648 §4).
struct Base64(Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Base64).map_err(|_| D::Error::custom("not base64"))
    }
}
