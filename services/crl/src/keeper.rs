//! The lists of one role: when each is fetched, whether what came is good, and where it is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderValue;
use lienthong_certs::judge::{CRL_BYTES_MAX, RevocationError};
use lienthong_certs::{RevocationLists, TrustAnchors, files};
use tokio::task::spawn_blocking;

use crate::address::{Address, AddressError};
use crate::fetch::{FetchError, Fetched, fetch};

/// Addresses of one role.
pub const ADDRESSES_MAX: usize = 64;
/// Time between two looks at an address, milliseconds.
pub const FETCH_INTERVAL_MS: u64 = 10 * 60 * 1_000;
/// First pause after a failure, milliseconds; it doubles up to [`FETCH_INTERVAL_MS`].
pub const RETRY_MIN_MS: u64 = 5_000;
/// Longest time for one fetch, milliseconds: 64 MiB at 20 Mbit/s.
pub const FETCH_TIMEOUT_MS: u64 = 30_000;

/// How often, and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// See [`FETCH_INTERVAL_MS`].
    pub interval: Duration,
    /// See [`RETRY_MIN_MS`].
    pub retry_min: Duration,
    /// See [`FETCH_TIMEOUT_MS`].
    pub timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(FETCH_INTERVAL_MS),
            retry_min: Duration::from_millis(RETRY_MIN_MS),
            timeout: Duration::from_millis(FETCH_TIMEOUT_MS),
        }
    }
}

/// What became of one fetch, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A newer list is in its place.
    Taken,
    /// It is the list that is held.
    Unchanged,
    /// Nothing came, or nothing that can be used: the list that is held stays.
    Refused,
}

impl Outcome {
    /// The word for it in numbers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// One address and its place on disk.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// Where the list is published.
    pub address: Address,
    /// Where it is kept.
    pub place: PathBuf,
}

/// The keepers of these addresses, each with a place of its own in `folder`.
///
/// # Errors
/// [`AddressError`] of the first that cannot be used.
pub fn keepers(addresses: &[String], folder: &Path) -> Result<Vec<Keeper>, AddressError> {
    if let Some(one_more) = addresses.get(ADDRESSES_MAX) {
        return Err(AddressError::too_many(one_more));
    }
    let keeper = |text: &String| {
        let name = hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        Ok(Keeper { address: text.parse()?, place: folder.join(name).with_extension("crl") })
    };
    addresses.iter().map(keeper).collect()
}

/// Why what came is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Nothing came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What came is no list that counts.
    #[error(transparent)]
    List(#[from] RevocationError),
    /// The place on disk.
    #[error(transparent)]
    File(#[from] files::FileError),
}

impl Keeper {
    /// Fetches for ever, on time. `anchors` says whom to believe now; `tell` hears what became of each fetch.
    pub async fn run(self, pace: Pace, anchors: impl Fn() -> TrustAnchors, tell: impl Fn(Outcome)) {
        let (mut known, mut pause) = (None, pace.retry_min);
        loop {
            match self.once(&mut known, pace.timeout, anchors()).await {
                Ok(outcome) => {
                    if outcome == Outcome::Taken {
                        tracing::info!(address = %self.address, "a newer revocation list was fetched");
                    }
                    tell(outcome);
                    pause = pace.retry_min;
                    tokio::time::sleep(pace.interval).await;
                }
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "the revocation list was not fetched; the one that is held stays");
                    tell(Outcome::Refused);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(pace.interval);
                }
            }
        }
    }

    /// Fetches once, and keeps what came if it is good and newer than what is there.
    ///
    /// # Errors
    /// [`KeepError`]; what is there stays.
    pub async fn once(
        &self,
        known: &mut Option<HeaderValue>,
        timeout: Duration,
        anchors: TrustAnchors,
    ) -> Result<Outcome, KeepError> {
        // The address may say that nothing changed only where what it sent is here.
        let held = known.as_ref().filter(|_| self.place.exists());
        let (bytes, changed) = match fetch(&self.address, held, timeout).await? {
            Fetched::Unchanged => return Ok(Outcome::Unchanged),
            Fetched::Body(bytes, changed) => (bytes, changed),
        };
        let place = self.place.clone();
        let keep = spawn_blocking(move || keep(&place, &bytes, &anchors));
        let outcome = keep.await.map_err(|error| FetchError::Broken(error.to_string()))??;
        *known = changed;
        Ok(outcome)
    }
}

/// Puts a list into its place, whole, if it is newer than the one that is there.
fn keep(place: &Path, bytes: &[u8], anchors: &TrustAnchors) -> Result<Outcome, KeepError> {
    let fresh = RevocationLists::read(bytes, anchors)?;
    // What lies there may be of an authority that is not trusted any more: then there is nothing to be older than.
    let held =
        files::read(place, CRL_BYTES_MAX).ok().and_then(|held| RevocationLists::read(&held, anchors).ok());
    if let Some(held) = held
        && held.newest(&fresh).same(&held)
    {
        return Ok(Outcome::Unchanged);
    }
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(|source| files::FileError::Io {
            action: "create",
            path: folder.to_owned(),
            source,
        })?;
    }
    files::replace(place, bytes)?;
    Ok(Outcome::Taken)
}
