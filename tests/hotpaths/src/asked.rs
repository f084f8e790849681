//! An index of rights, and questions put to it: consumers in no order, so that a large index is not measured from a warm cache
//! alone. Who asks was found before, as a node does when it identifies the call.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use lienthong_catalog::{Method, Place, Question, Resolution, RightsIndex, decide, purpose};
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::vn::dancu::v1::Citizen;
use prost::Message as _;
use time::OffsetDateTime;

use crate::registry::{METHOD, PURPOSES, bundle, names};

/// Different questions, asked in turn; a power of two.
pub const QUESTIONS: u32 = 4096;
/// What a right reaches.
pub const CONDITION: &str = "context.record.noi_thuong_tru == \"H26\"";
/// The place that [`CONDITION`] admits.
pub const PLACE: &str = "H26";

/// An index, and what is asked of it.
#[derive(Debug)]
pub struct Asked {
    /// The index.
    pub index: RightsIndex,
    method: Arc<Method>,
    names: Vec<(String, String)>,
    places: Vec<Option<Place>>,
}

impl Asked {
    /// An index of about so many rights, which reach the rows that meet `condition`.
    pub fn of(rights: usize, condition: &str) -> anyhow::Result<Self> {
        let consumers = rights / PURPOSES;
        let index = RightsIndex::from_bundle(&bundle(consumers, condition))?;
        ensure!(index.problems().is_empty(), "{:?}", index.problems());
        let Resolution::One(method) = index.method(METHOD, None) else { bail!("{METHOD} is not served") };
        // Fibonacci hashing: consumers in no order, each about as often as any other.
        let one = |number: u32| names(number.wrapping_mul(0x9e37_79b1) as usize % consumers);
        let names: Vec<_> = (0..QUESTIONS).map(one).collect();
        let places = names.iter().map(|(code, system)| index.place(code, Some(system))).collect();
        Ok(Self { index, method, names, places })
    }

    /// Code and system of who asks a question.
    pub fn who(&self, number: u32) -> (&str, &str) {
        let (consumer, system) = &self.names[(number % QUESTIONS) as usize];
        (consumer, system)
    }

    /// A question; they begin anew after [`QUESTIONS`].
    pub fn question(&self, number: u32) -> Question<'_> {
        let (consumer, system) = self.who(number);
        Question {
            method: &self.method,
            consumer,
            system: Some(system),
            place: self.places[(number % QUESTIONS) as usize],
            purpose: Some(purpose::WORDS[number as usize % PURPOSES].1),
            purpose_source: PurposeSource::Caller,
            requested_fields: None,
            dossier: Some("H26.90-261121-0001"),
            user: Some("can-bo-0042"),
            min_epoch: 0,
            now: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_795_226_400),
            rights_age: Duration::from_millis(300),
            clock_behind: false,
        }
    }

    /// Asks; refused is an error.
    pub fn decide(&self, number: u32) -> anyhow::Result<()> {
        std::hint::black_box(decide(&self.index, std::hint::black_box(&self.question(number)))?);
        Ok(())
    }

    /// Asks, and judges one record by the condition of the right.
    pub fn decide_and_admit(&self, number: u32, record: &[u8]) -> anyhow::Result<()> {
        let permitted = decide(&self.index, std::hint::black_box(&self.question(number)))?;
        let scope = permitted.record_scope().context("nothing binds the rows")?;
        ensure!(scope.admits(std::hint::black_box(record)), "the record is outside the condition");
        Ok(())
    }
}

/// A record that [`CONDITION`] admits.
pub fn admitted() -> Vec<u8> {
    Citizen { noi_thuong_tru: PLACE.to_owned(), ..Citizen::default() }.encode_to_vec()
}
