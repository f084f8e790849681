//! Knocks: how often a certificate that nobody is bound to may ask in a minute, so that a stranger with an official
//! certificate cannot keep the registrar busy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lienthong_certs::CertificateBinding;

use crate::bundle::Sha256;
use crate::limits::{KNOCKERS_MAX, KNOCKS_PER_MINUTE_MAX};

/// The count of one minute. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Knocks(Arc<Mutex<Minute>>);

#[derive(Debug, Default)]
struct Minute {
    begin: Option<Instant>,
    /// By key: a certificate issued again for the same key is the same stranger.
    counts: HashMap<Sha256, u32>,
}

impl Knocks {
    /// Whether this stranger may be heard once more now.
    pub fn allows(&self, stranger: &CertificateBinding) -> bool {
        self.count(stranger.spki_sha256, Instant::now())
    }

    /// The pure part.
    fn count(&self, key: Sha256, now: Instant) -> bool {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.begin.is_none_or(|begin| now.duration_since(begin) >= Duration::from_secs(60)) {
            *minute = Minute { begin: Some(now), counts: HashMap::new() };
        }
        if !minute.counts.contains_key(&key) && minute.counts.len() >= KNOCKERS_MAX {
            return false;
        }
        let count = minute.counts.entry(key).or_default();
        *count = count.saturating_add(1);
        *count <= KNOCKS_PER_MINUTE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stranger_has_a_share_and_all_have_a_bound() {
        let knocks = Knocks::default();
        let now = Instant::now();
        let heard = (0..1_000).filter(|_| knocks.count([1; 32], now)).count();
        assert_eq!(u32::try_from(heard), Ok(KNOCKS_PER_MINUTE_MAX));
        let strangers = (0..5_000_u32).filter(|number| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            knocks.count(key, now)
        });
        assert_eq!(strangers.count(), KNOCKERS_MAX - 1);
        assert!(knocks.count([1; 32], now + Duration::from_secs(60)));
    }
}
