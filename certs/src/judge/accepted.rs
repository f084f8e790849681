//! The chains that a judge has accepted, so that a peer who comes again is not proved again.
//!
//! A judge never changes, so what it said of these very bytes for this use it would say again, as long as every
//! certificate of the path is within its validity: the one thing that time alone can change. New trust, new revocation
//! lists or a new profile are a new judge, which remembers nothing. Only what was accepted is kept, so no stranger can
//! fill the memory.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;

use crate::certificate::{PeerCertificate, Usage};
use crate::credentials::CHAIN_CERTIFICATES_MAX;

/// Chains in one of the two generations: at most twice as many are held.
const GENERATION_CHAINS_MAX: usize = 1_024;

/// SHA-256 of a use and a chain.
type Key = [u8; digest::SHA256_OUTPUT_LEN];

/// Two generations of accepted chains: when the young one is full it becomes the old one, whose chains are forgotten.
#[derive(Debug, Default)]
pub(super) struct Accepted(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Held>,
    old: HashMap<Key, Held>,
}

/// One accepted chain.
#[derive(Debug, Clone)]
struct Held {
    peer: Arc<PeerCertificate>,
    validity: Validity,
}

/// The time in which every certificate of a path is valid, ends included, seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    from: i64,
    until: i64,
}

impl Validity {
    pub(super) fn of(path: &[X509Certificate<'_>]) -> Validity {
        let each = path.iter().map(|certificate| certificate.validity());
        let (from, until) = each
            .map(|validity| (validity.not_before.timestamp(), validity.not_after.timestamp()))
            .fold((i64::MIN, i64::MAX), |(from, until), (start, end)| (from.max(start), until.min(end)));
        Validity { from, until }
    }

    fn holds(self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs()).is_ok_and(|now| (self.from..=self.until).contains(&now))
    }
}

impl Accepted {
    /// What was said of this chain, if it was accepted and time has not changed it.
    pub(super) fn find(&self, key: &Key, now: UnixTime) -> Option<Arc<PeerCertificate>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = held.old.remove(key) {
            held.insert(*key, found);
        }
        let found = held.young.get(key)?.clone();
        found.validity.holds(now).then_some(found.peer)
    }

    pub(super) fn keep(&self, key: Key, peer: Arc<PeerCertificate>, validity: Validity) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Held { peer, validity });
    }
}

impl Generations {
    fn insert(&mut self, key: Key, held: Held) {
        if self.young.len() >= GENERATION_CHAINS_MAX {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, held);
    }
}

/// The key of a chain that asks to be used so; none of one that is longer than any honest one, which is not even hashed.
/// Every part is preceded by its length, so that no two chains share one.
pub(super) fn key(chain: &[CertificateDer<'_>], usage: Usage) -> Option<Key> {
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        return None;
    }
    let mut sha256 = digest::Context::new(&digest::SHA256);
    sha256.update(&[usage as u8]);
    for certificate in chain {
        sha256.update(&(certificate.len() as u64).to_be_bytes());
        sha256.update(certificate);
    }
    let mut key = Key::default();
    key.copy_from_slice(sha256.finish().as_ref());
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn der(bytes: &[u8]) -> CertificateDer<'static> {
        CertificateDer::from(bytes.to_vec())
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn no_two_chains_share_a_key() {
        let one = key(&[der(b"ab"), der(b"c")], Usage::Client);
        assert_eq!(one, key(&[der(b"ab"), der(b"c")], Usage::Client));
        for other in [
            key(&[der(b"ab"), der(b"c")], Usage::Server),
            key(&[der(b"a"), der(b"bc")], Usage::Client),
            key(&[der(b"abc")], Usage::Client),
            key(&[der(b"c"), der(b"ab")], Usage::Client),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_chain_that_is_too_long_is_not_hashed() {
        let chain = vec![der(b"a"); CHAIN_CERTIFICATES_MAX + 1];
        assert!(key(&chain[1..], Usage::Client).is_some());
        assert_eq!(key(&chain, Usage::Client), None);
    }

    #[test]
    fn a_path_is_valid_while_each_of_it_is() {
        use x509_parser::prelude::FromDer as _;
        let certificate = |from: i32, until: i32| {
            let mut params = rcgen::CertificateParams::default();
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
        };
        let (leaf, above) = (certificate(2025, 2030), certificate(2026, 2028));
        let parsed = [&leaf, &above].map(|der| X509Certificate::from_der(der).unwrap().1);
        let validity = Validity::of(&parsed);
        let of_2026_to_2028 = (1_767_225_600, 1_830_297_600);
        assert_eq!((validity.from, validity.until), of_2026_to_2028);
    }

    #[test]
    fn it_holds_within_the_validity_and_within_its_bound() {
        let certificate = rcgen::generate_simple_self_signed(["g01.test".to_owned()]).unwrap().cert;
        let peer = Arc::new(PeerCertificate::read(&[certificate.der().clone()]).unwrap());
        let accepted = Accepted::default();
        let validity = Validity { from: 10, until: 20 };
        let key_of = |number: usize| key(&[der(&number.to_be_bytes())], Usage::Client).unwrap();
        accepted.keep(key_of(0), Arc::clone(&peer), validity);
        let found = |number, seconds| accepted.find(&key_of(number), at(seconds)).is_some();
        assert!(found(0, 10) && found(0, 20));
        assert!(!found(0, 9) && !found(0, 21) && !found(1, 15));
        // One that is asked for stays, however many others come; one that is not is forgotten.
        for number in 1..=3 * GENERATION_CHAINS_MAX {
            accepted.keep(key_of(number), Arc::clone(&peer), validity);
            assert!(found(0, 15), "after {number}");
        }
        assert!(!found(1, 15));
        let held = accepted.0.lock().unwrap();
        assert!(held.young.len() + held.old.len() <= 2 * GENERATION_CHAINS_MAX);
    }
}
