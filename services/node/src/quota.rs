//! Calls per minute of one system under one right: the generic cell rate algorithm, a whole minute's
//! quota at once, then evenly. The provider's node counts.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use lienthong_proto::{reason::Reason, status::MeshError};

use crate::limits::QUOTA_KEYS_MAX;

const MINUTE_US: u64 = 60_000_000;

/// What has been used, by system and right.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<HashMap<(String, String), u64>>);

impl Quotas {
    /// Takes one call, or says when the next is free. `calls_per_minute_max` 0: no quota.
    pub fn take(
        &self,
        system: &str,
        right: &str,
        calls_per_minute_max: u32,
        now_us: u64,
    ) -> Result<(), MeshError> {
        if calls_per_minute_max == 0 {
            return Ok(());
        }
        let interval = MINUTE_US / u64::from(calls_per_minute_max);
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= QUOTA_KEYS_MAX {
            // What lies in the past constrains nobody.
            used.retain(|_, theoretical| *theoretical > now_us);
        }
        let theoretical = used.entry((system.to_owned(), right.to_owned())).or_insert(now_us);
        let next = (*theoretical).max(now_us) + interval;
        if next > now_us + MINUTE_US {
            let wait_us = next - now_us - MINUTE_US;
            let detail = format!("{calls_per_minute_max} calls a minute");
            return Err(MeshError {
                retry_after_ms: Some(wait_us.div_ceil(1000)),
                ..MeshError::new(Reason::DenyQuota, detail).with_rule(right)
            });
        }
        *theoretical = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_holds_its_quota_and_retry_info_is_honest() {
        let quotas = Quotas::default();
        let start = 1_000_000_000;
        for _ in 0..60 {
            quotas.take("s", "r", 60, start).unwrap();
        }
        let refused = quotas.take("s", "r", 60, start).unwrap_err();
        assert_eq!(refused.reason, Reason::DenyQuota);
        let wait_us = refused.retry_after_ms.unwrap() * 1000;
        quotas.take("s", "r", 60, start + wait_us).unwrap();
        quotas.take("other", "r", 60, start).unwrap();
        quotas.take("s", "other", 60, start).unwrap();
    }

    proptest::proptest! {
        /// In any minute that begins after a pause, no more than the quota passes twice over.
        #[test]
        fn never_more_than_the_quota(quota in 1u32..50, steps in proptest::collection::vec(0u64..5_000_000, 1..200)) {
            let quotas = Quotas::default();
            let (mut now, mut passed) = (1_000_000_000u64, Vec::new());
            for step in steps {
                now += step;
                if quotas.take("s", "r", quota, now).is_ok() { passed.push(now); }
            }
            for (n, first) in passed.iter().enumerate() {
                let within = passed[n..].iter().take_while(|at| **at - first < MINUTE_US).count();
                proptest::prop_assert!(within <= 2 * quota as usize);
            }
        }
    }
}
