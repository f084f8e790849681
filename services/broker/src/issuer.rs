//! The issuer: gives a draft its epoch, puts it on record, and only then lets it out.
//!
//! The order of the writes makes a crash harmless at each point:
//!
//! 1. the epoch is stored as *not on record*;
//! 2. the hash of every bundle, and the act that led to them, enter the log;
//! 3. the epoch is stored as *on record*, together with what led to it;
//! 4. the generation is shown to the watchers (the steward does that).
//!
//! After a crash between 1 and 3 the same content takes up the same epoch with the same issue time, so that its bundles
//! have the same hashes; other content takes the next one. An epoch never stands for two contents.

use lienthong_proto::lienthong::audit::v1::record::Body;
use prost_types::Timestamp;

use crate::bundle::Sha256;
use crate::clock;
use crate::error::BrokerError;
use crate::generation::{Draft, Generation, Stamp};
use crate::ledger::Ledger;
use crate::limits::BUNDLE_RECORDS_AT_ONCE;
use crate::records::{Act, administration, bundle_published};
use crate::shelf::{Shelf, Shelving};
use crate::stored::StoredEpoch;

/// The issuer.
#[derive(Debug)]
pub struct Issuer {
    ledger: Ledger,
    shelf: Shelf,
}

/// Why a generation is issued.
#[derive(Clone, Debug)]
pub struct Occasion<'a> {
    /// What was done; the epoch is filled in.
    pub acts: Vec<Act<'a>>,
    /// What is stored with it: then its acts go on record, and it is stored, even where it changes no right.
    pub shelving: Vec<Shelving<'a>>,
}

impl<'a> Occasion<'a> {
    /// One act, and what is stored with it.
    pub fn of(act: Act<'a>, shelving: Option<Shelving<'a>>) -> Occasion<'a> {
        Occasion { acts: vec![act], shelving: shelving.into_iter().collect() }
    }
}

impl Issuer {
    /// An issuer that records and stores with these.
    pub fn new(ledger: Ledger, shelf: Shelf) -> Issuer {
        Issuer { ledger, shelf }
    }

    /// The newest epoch: what the store says, or no less than what the log says was published, where the store was lost
    /// or is older than the log.
    ///
    /// # Errors
    /// [`BrokerError`] if the store cannot be read.
    pub async fn newest(&self) -> Result<StoredEpoch, BrokerError> {
        let stored = self.shelf.epoch().await?.unwrap_or_default();
        let published = self.ledger.positions().epoch();
        if published > stored.epoch {
            tracing::warn!(
                stored = stored.epoch,
                published,
                "the store is behind the log; the epoch goes on from the log"
            );
            return Ok(StoredEpoch { epoch: published, on_record: true, ..StoredEpoch::default() });
        }
        Ok(stored)
    }

    /// Issues `draft` as a generation. `newest` moves with it.
    ///
    /// # Errors
    /// [`BrokerError`]; nothing was shown then, and what was put on record is taken up by the next issue.
    pub async fn issue(
        &self,
        newest: &mut StoredEpoch,
        draft: Draft,
        occasion: Occasion<'_>,
    ) -> Result<Generation, BrokerError> {
        let next = Next::of(newest, draft.content_hash, clock::now());
        let stamp = next.stamp();
        let content_hash = draft.content_hash;
        let generation = draft.seal(stamp)?;
        let stored = |on_record| StoredEpoch {
            epoch: stamp.epoch,
            content_hash: content_hash.to_vec(),
            issue_time: Some(stamp.issue_time),
            on_record,
        };
        let is_news = !matches!(next, Next::Unchanged(_));
        if is_news {
            *newest = stored(false);
            self.shelf.put_epoch(newest, &[]).await?;
        }
        if is_news || !occasion.shelving.is_empty() {
            let acts = occasion.acts.iter().map(|act| administration(Act { epoch: stamp.epoch, ..*act }));
            let bundles = is_news.then(|| generation.bundles().map(bundle_published)).into_iter().flatten();
            self.record(acts.chain(bundles).collect()).await?;
            *newest = stored(true);
            self.shelf.put_epoch(newest, &occasion.shelving).await?;
        }
        Ok(generation)
    }

    async fn record(&self, mut bodies: Vec<Body>) -> Result<(), BrokerError> {
        while !bodies.is_empty() {
            let rest = bodies.split_off(bodies.len().min(BUNDLE_RECORDS_AT_ONCE));
            self.ledger.record(bodies).await?;
            bodies = rest;
        }
        Ok(())
    }
}

/// What a draft becomes, given the newest epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    /// The very same: nothing is to be put on record.
    Unchanged(Stamp),
    /// The same content, whose epoch a crash kept from being put on record.
    TakenUp(Stamp),
    /// A new epoch.
    New(Stamp),
}

impl Next {
    fn of(newest: &StoredEpoch, content_hash: Sha256, now: Timestamp) -> Next {
        match newest.issue_time {
            Some(issue_time) if newest.content_hash == content_hash => {
                let stamp = Stamp { epoch: newest.epoch, issue_time };
                if newest.on_record { Next::Unchanged(stamp) } else { Next::TakenUp(stamp) }
            }
            _ => Next::New(Stamp { epoch: newest.epoch + 1, issue_time: now }),
        }
    }

    const fn stamp(self) -> Stamp {
        match self {
            Next::Unchanged(stamp) | Next::TakenUp(stamp) | Next::New(stamp) => stamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn the_first_epoch_is_one() {
        let next = Next::of(&StoredEpoch::default(), [7; 32], time(5));
        assert_eq!(next, Next::New(Stamp { epoch: 1, issue_time: time(5) }));
    }

    #[test]
    fn an_epoch_that_did_not_reach_the_record_is_taken_up_as_it_was() {
        let crashed =
            StoredEpoch { epoch: 4, content_hash: vec![7; 32], issue_time: Some(time(5)), on_record: false };
        let stamp = Stamp { epoch: 4, issue_time: time(5) };
        assert_eq!(Next::of(&crashed, [7; 32], time(9)), Next::TakenUp(stamp));
        assert_eq!(Next::of(&crashed, [8; 32], time(9)), Next::New(Stamp { epoch: 5, issue_time: time(9) }));
    }

    proptest! {
        /// Whatever is issued in whatever order, with crashes between: epochs rise exactly when content changes, and
        /// one epoch never stands for two contents.
        #[test]
        fn an_epoch_stands_for_one_content(steps in proptest::collection::vec((0u8..3, any::<bool>()), 1..60)) {
            let mut newest = StoredEpoch::default();
            let mut contents = std::collections::BTreeMap::new();
            for (second, (content, crashes)) in (0..).zip(steps) {
                let before = newest.clone();
                let next = Next::of(&newest, [content; 32], time(second));
                let stamp = next.stamp();
                let same = before.content_hash == [content; 32];
                prop_assert_eq!(stamp.epoch, before.epoch + u64::from(!same));
                let issued = (content, stamp.issue_time);
                prop_assert_eq!(contents.entry(stamp.epoch).or_insert(issued), &issued);
                newest = StoredEpoch {
                    epoch: stamp.epoch,
                    content_hash: vec![content; 32],
                    issue_time: Some(stamp.issue_time),
                    on_record: matches!(next, Next::Unchanged(_)) || !crashes,
                };
            }
        }
    }
}
