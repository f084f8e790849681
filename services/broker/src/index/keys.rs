//! The secrets of the index, files for the broker's eyes only: the key to which nodes seal subjects, and the keys under which
//! tokens are made, one a quarter. Whoever destroys the key of a quarter destroys every link from people to that quarter's
//! records, and not one proof.
//!
//! ```text
//! <data_dir>/index/keys/index.key       X25519, private then public
//! <data_dir>/index/keys/2026Q4.key      32 random bytes
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::{hmac, rand};
use lienthong_audit::sealed::IndexSecret;
use lienthong_index::term::{Dimension, TOKEN_BYTES, Term};
use time::OffsetDateTime;

/// What stands in the index in place of a person: a keyed hash of the number.
pub type Token = [u8; TOKEN_BYTES];

/// Periods whose keys are read, at most: sixty years.
const PERIODS_MAX: usize = 240;

/// The keys.
#[derive(Debug)]
pub struct IndexKeys {
    dir: PathBuf,
    secret: IndexSecret,
    periods: RwLock<BTreeMap<String, PeriodKey>>,
}

/// Bytes of the key of a period.
const KEY_BYTES: usize = 32;

struct PeriodKey(hmac::Key);

impl std::fmt::Debug for PeriodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeriodKey(hidden)")
    }
}

impl IndexKeys {
    /// Reads the keys in `dir`; makes the sealing key where there is none.
    ///
    /// # Errors
    /// Of the disk, or where a key is not one.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join("index.key");
        let secret = match fs::read(&path) {
            Ok(bytes) => IndexSecret::from_bytes(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = IndexSecret::generate().map_err(io::Error::other)?;
                write(&path, &secret.to_bytes())?;
                secret
            }
            Err(error) => return Err(error),
        };
        let mut periods = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if is_period(&name) && path.extension().is_some_and(|extension| extension == "key") {
                periods.insert(name, PeriodKey::read(&path)?);
            }
        }
        if periods.len() > PERIODS_MAX {
            return Err(io::Error::other(format!("more than {PERIODS_MAX} period keys")));
        }
        Ok(Self { dir: dir.to_owned(), secret, periods: RwLock::new(periods) })
    }

    /// The pair to which nodes seal.
    pub fn secret(&self) -> &IndexSecret {
        &self.secret
    }

    /// The token under the key of the period of `now`, which is made where it is the first of its period.
    ///
    /// # Errors
    /// Of the disk, or of the system's random numbers.
    pub fn token(&self, id: &str, now: OffsetDateTime) -> io::Result<Token> {
        let period = period(now);
        if let Some(key) = self.periods.read().unwrap_or_else(PoisonError::into_inner).get(&period) {
            return Ok(key.token(id));
        }
        let mut periods = self.periods.write().unwrap_or_else(PoisonError::into_inner);
        if !periods.contains_key(&period) {
            let mut key = [0; KEY_BYTES];
            rand::fill(&mut key).map_err(|_| io::Error::other("the system's random numbers failed"))?;
            let path = self.dir.join(format!("{period}.key"));
            write(&path, &key)?;
            periods.insert(period.clone(), PeriodKey::read(&path)?);
        }
        periods.get(&period).map(|key| key.token(id)).ok_or_else(|| io::Error::other("a period key is gone"))
    }

    /// Destroys the keys of every quarter before the one of `time`, durably; says how many. What was made with them, in a
    /// backup too, leads to nobody any more.
    ///
    /// # Errors
    /// Of the disk. What is destroyed by then stays so; the rest goes the next time.
    pub fn destroy_before(&self, time: OffsetDateTime) -> io::Result<usize> {
        let first_kept = period(time);
        let mut periods = self.periods.write().unwrap_or_else(PoisonError::into_inner);
        let over: Vec<String> = periods.range(..first_kept).map(|(period, _)| period.clone()).collect();
        for period in &over {
            let path = self.dir.join(format!("{period}.key"));
            let file = OpenOptions::new().write(true).open(&path)?;
            file.write_all_at(&[0; KEY_BYTES], 0)?;
            file.sync_all()?;
            fs::remove_file(&path)?;
            periods.remove(period);
        }
        File::open(&self.dir)?.sync_all()?;
        Ok(over.len())
    }

    /// The tokens of a person: one for each period.
    pub fn tokens(&self, id: &str) -> Vec<Token> {
        let periods = self.periods.read().unwrap_or_else(PoisonError::into_inner);
        periods.values().map(|key| key.token(id)).collect()
    }

    /// The terms by which a person may stand in the index: one for each period.
    pub fn terms(&self, id: &str) -> Vec<Term> {
        self.tokens(id).iter().map(|token| Term::bytes(Dimension::Subject, token)).collect()
    }

    /// A keyed hash of an id that is the same in all periods: by it an end user is known who asks about himself.
    pub fn own(&self, id: &str) -> Token {
        let mut token = Token::default();
        token.copy_from_slice(&self.keyed(OWN_PREFIX, id.as_bytes())[..TOKEN_BYTES]);
        token
    }

    /// The keyed hash of a subject segment, for its manifest.
    pub fn manifest_hmac(&self, segment: &[u8]) -> [u8; 32] {
        self.keyed(MANIFEST_PREFIX, segment)
    }

    fn keyed(&self, prefix: &[u8], bytes: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret.to_bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(prefix);
        context.update(bytes);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }
}

impl PeriodKey {
    fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        if bytes.len() != KEY_BYTES {
            return Err(io::Error::other(format!("{} does not hold 32 bytes", path.display())));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    fn token(&self, id: &str) -> Token {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(TOKEN_PREFIX);
        context.update(id.as_bytes());
        let mut token = Token::default();
        token.copy_from_slice(&context.sign().as_ref()[..TOKEN_BYTES]);
        token
    }
}

const TOKEN_PREFIX: &[u8] = b"lienthong/subject-token/v1\n";
const OWN_PREFIX: &[u8] = b"lienthong/own-record/v1\n";
const MANIFEST_PREFIX: &[u8] = b"lienthong/subject-segment/v1\n";

fn period(now: OffsetDateTime) -> String {
    format!("{:04}Q{}", now.year(), (u8::from(now.month()) - 1) / 3 + 1)
}

fn is_period(name: &str) -> bool {
    name.split_once('Q').is_some_and(|(year, quarter)| {
        year.len() == 4
            && year.bytes().all(|byte| byte.is_ascii_digit())
            && matches!(quarter, "1" | "2" | "3" | "4")
    })
}

/// Writes a secret, durably, before anything depends on it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn tokens_last_and_differ_by_period_and_house() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (autumn, winter) = (datetime!(2026-11-21 0:00 UTC), datetime!(2027-01-01 0:00 UTC));
        let keys = IndexKeys::open(dir.path()).unwrap();
        let token = keys.token("999190000001", autumn).unwrap();
        assert_eq!(keys.token("999190000001", autumn).unwrap(), token);
        assert_ne!(keys.token("999190000001", winter).unwrap(), token);
        assert_ne!(keys.token("999190000002", autumn).unwrap(), token);
        let again = IndexKeys::open(dir.path()).unwrap();
        assert_eq!(again.token("999190000001", autumn).unwrap(), token);
        assert_eq!(again.secret().public(), keys.secret().public());
        assert_eq!(again.terms("999190000001").len(), 2);
        assert_ne!(IndexKeys::open(other.path()).unwrap().token("999190000001", autumn).unwrap(), token);
    }

    #[test]
    fn a_destroyed_period_cannot_be_asked_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let (summer, autumn) = (datetime!(2026-09-30 23:59 UTC), datetime!(2026-10-01 0:00 UTC));
        let keys = IndexKeys::open(dir.path()).unwrap();
        let (old, kept) =
            (keys.token("999190000001", summer).unwrap(), keys.token("999190000001", autumn).unwrap());
        assert_eq!(keys.destroy_before(summer).unwrap(), 0, "its own quarter stays");
        assert_eq!(keys.destroy_before(autumn).unwrap(), 1);
        for keys in [keys, IndexKeys::open(dir.path()).unwrap()] {
            assert_eq!(keys.tokens("999190000001"), [kept]);
            assert_eq!(keys.destroy_before(autumn).unwrap(), 0);
        }
        let keys = IndexKeys::open(dir.path()).unwrap();
        assert_ne!(keys.token("999190000001", summer).unwrap(), old);
        assert_eq!(keys.token("999190000001", autumn).unwrap(), kept);
    }
}
