//! What a decision costs: without a condition, from a hundred rights to a million; with one, beside the least that Cedar can
//! do.
//!
//! Questions walk through many consumers in no order, so that a large index is not measured from a warm cache alone. Who
//! asks was found before, as a node does when it identifies the call (`bench identity` measures that).

use std::hint::black_box;

use anyhow::ensure;
use cedar_policy::{Authorizer, Context, Decision, Entities, PolicySet, Request, RestrictedExpression};
use lienthong_hotpaths::asked::{Asked, CONDITION, PLACE, QUESTIONS, admitted};

use super::{ROUNDS, each_us, ratios, spread};
use crate::goal::Goal;

const RIGHTS_FEW: usize = 100;
const RIGHTS_MANY: usize = 1_000_000;
const RIGHTS_SMALL: usize = 1_000;
/// Questions of one turn.
const ASKED: u32 = 200_000;
/// The same, where each is also put to Cedar.
const ASKED_CEDAR: u32 = 20_000;

/// Measures it.
pub fn run(small: bool) -> anyhow::Result<Vec<Goal>> {
    let many = if small { RIGHTS_SMALL } else { RIGHTS_MANY };
    let (few, many) = (Asked::of(RIGHTS_FEW, "")?, Asked::of(many, "")?);
    let bound = Asked::of(RIGHTS_FEW, CONDITION)?;
    let bare = BareCedar::new()?;
    let record = admitted();
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
