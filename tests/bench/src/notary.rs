//! What contestant f adds to the naive proxies: a model with an RSA-2048 signature on every message and one `fsync` a
//! record. The side that a message comes from signs it, the other verifies; each side keeps one record of the exchange
//! (both messages, both signatures) and answers once it is durable.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, anyhow};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use bytes::Bytes;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::pki::Role;

/// Where a signature travels.
const SIGNATURE: &str = "x-signature-bin";

/// One side: its key, the other's public key, its file of records.
pub struct Notary {
    key: RsaKeyPair,
    signs_requests: bool,
    /// Where the other side leaves its public key when it starts.
    other: PathBuf,
    other_key: OnceLock<Vec<u8>>,
    records: Mutex<File>,
}

/// A message with its signature.
#[derive(Clone)]
struct Signed {
    message: Bytes,
    signature: Vec<u8>,
}

impl Notary {
    /// A new key, whose public half is left in `pki`; records go to a file in `folder`.
    pub fn new(pki: &Path, folder: &Path, role: Role) -> anyhow::Result<Arc<Self>> {
        let (own, other) = match role {
            Role::ConsumerNode => ("consumer", "provider"),
            _ => ("provider", "consumer"),
        };
        let file = |side: &str| pki.join(format!("{side}-rsa.pub"));
        let key = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let public: PublicKeyX509Der<'_> = key.public_key().as_der()?;
        std::fs::write(file(own), public.as_ref())?;
        let records = File::create(folder.join(format!("{own}-records")))?;
        Ok(Arc::new(Self {
            key,
            signs_requests: role == Role::ConsumerNode,
            other: file(other),
            other_key: OnceLock::new(),
            records: Mutex::new(records),
        }))
    }

    /// Passes one exchange on by `send`.
    pub async fn exchange(
        self: Arc<Self>,
        mut request: Request<Bytes>,
        send: impl AsyncFnOnce(Request<Bytes>) -> Result<Response<Bytes>, Status>,
    ) -> Result<Response<Bytes>, Status> {
        let asked = if self.signs_requests {
            let signed = self.sign(request.get_ref().clone()).await?;
            request.metadata_mut().insert_bin(SIGNATURE, MetadataValue::from_bytes(&signed.signature));
            signed
        } else {
            self.verified(request.get_ref().clone(), request.metadata().get_bin(SIGNATURE))?
        };
        let mut response = send(request).await?;
        let answered = if self.signs_requests {
            self.verified(response.get_ref().clone(), response.metadata().get_bin(SIGNATURE))?
        } else {
            let signed = self.sign(response.get_ref().clone()).await?;
            response.metadata_mut().insert_bin(SIGNATURE, MetadataValue::from_bytes(&signed.signature));
            signed
        };
        self.record([asked, answered]).await?;
        Ok(response)
    }

    async fn sign(self: &Arc<Self>, message: Bytes) -> Result<Signed, Status> {
        let own = Arc::clone(self);
        blocking(move || {
            let mut signature = vec![0; own.key.public_modulus_len()];
            let random = SystemRandom::new();
            own.key
                .sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)
                .map_err(|_| anyhow!("it did not sign"))?;
            Ok(Signed { message, signature })
        })
        .await
    }

    fn verified(
        &self,
        message: Bytes,
        signature: Option<&MetadataValue<tonic::metadata::Binary>>,
    ) -> Result<Signed, Status> {
        let verify = || {
            let signature = signature.context("no signature")?.to_bytes()?.to_vec();
            // A key that cannot be read verifies nothing.
            let key = self.other_key.get_or_init(|| std::fs::read(&self.other).unwrap_or_default());
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
            key.verify(&message, &signature).map_err(|_| anyhow!("it does not hold"))?;
            anyhow::Ok(signature)
        };
        match verify() {
            Ok(signature) => Ok(Signed { message, signature }),
            Err(error) => Err(Status::unauthenticated(format!("the signature of the other side: {error}"))),
        }
    }

    async fn record(self: &Arc<Self>, parts: [Signed; 2]) -> Result<(), Status> {
        let own = Arc::clone(self);
        blocking(move || {
            let mut record = Vec::new();
            for part in parts.iter().flat_map(|signed| [&signed.message[..], &signed.signature]) {
                record.extend(u32::try_from(part.len())?.to_be_bytes());
                record.extend(part);
            }
            let mut records = own.records.lock().unwrap_or_else(PoisonError::into_inner);
            records.write_all(&record)?;
            Ok(records.sync_data()?)
        })
        .await
    }
}

/// Work that blocks goes where it may, as anybody would write it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Status> {
    let done =
        tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| Status::internal(error.to_string()))
}
