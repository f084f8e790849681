//! What a decision costs: without a condition, from a hundred rights to a million; with one, beside the least that Cedar can
//! do.
//!
//! Questions walk through many consumers in no order, so that a large index is not measured from a warm cache alone. Who
//! asks was found before, as a node does when it identifies the call (`bench identity` measures that).

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use cedar_policy::{Authorizer, Context, Decision, Entities, PolicySet, Request, RestrictedExpression};
use lienthong_catalog::{Method, Place, Question, Resolution, RightsIndex, decide, purpose};
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::vn::dancu::v1::Citizen;
use prost::Message;
use time::OffsetDateTime;

use super::registry::{METHOD, PURPOSES, bundle, names};
use super::{ROUNDS, each_us, ratios, spread};
use crate::goal::Goal;

const RIGHTS_FEW: usize = 100;
const RIGHTS_MANY: usize = 1_000_000;
const RIGHTS_SMALL: usize = 1_000;
/// Different questions, asked in turn.
const QUESTIONS: u32 = 4096;
/// Questions of one turn.
const ASKED: u32 = 200_000;
/// The same, where each is also put to Cedar.
const ASKED_CEDAR: u32 = 20_000;

/// What a right reaches, and the same as a policy that stands alone.
const CONDITION: &str = "context.record.noi_thuong_tru == \"H26\"";
const PLACE: &str = "H26";

/// Measures it.
pub fn run(small: bool) -> anyhow::Result<Vec<Goal>> {
    let many = if small { RIGHTS_SMALL } else { RIGHTS_MANY };
    let (few, many) = (Asked::of(RIGHTS_FEW, "")?, Asked::of(many, "")?);
    let bound = Asked::of(RIGHTS_FEW, CONDITION)?;
    let bare = BareCedar::new()?;
    let record = Citizen { noi_thuong_tru: PLACE.to_owned(), ..Citizen::default() }.encode_to_vec();
    let (asked, asked_cedar) = if small { (QUESTIONS, QUESTIONS) } else { (ASKED, ASKED_CEDAR) };
    let [mut few_us, mut many_us, mut bound_us, mut bare_us] = [const { Vec::new() }; 4];
    // The first round warms up.
    for round in 0..=ROUNDS {
        let measured = [
            each_us(asked, |number| few.decide(number))?,
            each_us(asked, |number| many.decide(number))?,
            each_us(asked_cedar, |number| bound.decide_and_admit(number, &record))?,
            each_us(asked_cedar, |_| bare.ask())?,
        ];
        if round > 0 {
            for (all, one) in
                [&mut few_us, &mut many_us, &mut bound_us, &mut bare_us].into_iter().zip(measured)
            {
                all.push(one);
            }
        }
    }
    Ok(vec![
        Goal::at_most("decision: 1,000,000 rights, of 100", ratios(&many_us, &few_us)?, "ratio", 1.3),
        Goal::at_most("decision: 100 rights", spread(few_us)?, "µs", 0.5),
        Goal::at_most("decision: 1,000,000 rights", spread(many_us)?, "µs", 0.5),
        Goal::at_most("decision: with a condition, and one record judged", spread(bound_us)?, "µs", 6.0),
        Goal::told("decision: a bare Cedar call of one policy", spread(bare_us)?, "µs"),
    ])
}

/// An index, and what is asked of it.
struct Asked {
    index: RightsIndex,
    method: Arc<Method>,
    names: Vec<(String, String)>,
    places: Vec<Option<Place>>,
}

impl Asked {
    fn of(rights: usize, condition: &str) -> anyhow::Result<Self> {
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

    fn question(&self, number: u32) -> Question<'_> {
        let place = (number % QUESTIONS) as usize;
        let (consumer, system) = &self.names[place];
        Question {
            method: &self.method,
            consumer,
            system: Some(system),
            place: self.places[place],
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

    fn decide(&self, number: u32) -> anyhow::Result<()> {
        black_box(decide(&self.index, black_box(&self.question(number)))?);
        Ok(())
    }

    fn decide_and_admit(&self, number: u32, record: &[u8]) -> anyhow::Result<()> {
        let permitted = decide(&self.index, black_box(&self.question(number)))?;
        let scope = permitted.record_scope().context("nothing binds the rows")?;
        ensure!(scope.admits(black_box(record)), "the record is outside the condition");
        Ok(())
    }
}

/// One policy, and one request that it permits, made beforehand.
struct BareCedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    request: Request,
}

impl BareCedar {
    fn new() -> anyhow::Result<Self> {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let record = RestrictedExpression::new_record([("noi_thuong_tru".to_owned(), text(PLACE))])?;
        let context = Context::from_pairs([("record".to_owned(), record)])?;
        let (principal, action) = ("Agency::\"H26.1\"".parse()?, "Action::\"STATISTICS\"".parse()?);
        let resource = "Dataset::\"dancu.cong_dan\"".parse()?;
        Ok(Self {
            authorizer: Authorizer::new(),
            policies: format!("permit (principal, action, resource) when {{ {CONDITION} }};").parse()?,
            entities: Entities::empty(),
            request: Request::new(principal, action, resource, context, None)?,
        })
    }

    fn ask(&self) -> anyhow::Result<()> {
        let answer = self.authorizer.is_authorized(black_box(&self.request), &self.policies, &self.entities);
        ensure!(answer.decision() == Decision::Allow, "Cedar denies");
        Ok(())
    }
}
