//! Refusals and their disputes: declared, withdrawn, answered, decided.

use lienthong_duty::{dispute, purpose_word, refusal};
use lienthong_proto::lienthong::control::v1::{Right, RightOrigin};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::lienthong::registry::v1::{
    DecideDisputeRequest, DeclareRefusalRequest, Dispute, DisputeOutcome, Refusal, RefusalState,
};
use time::OffsetDateTime;

use super::actor::sees;
use super::book::{Changed, next_name, request_id, room, shown, shown_dispute, stored, visible};
use super::{Actor, Arbiter, ArbiterError, Book};

impl Arbiter {
    /// Declares a refusal of the actor's agency; opens its dispute.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn declare(
        &self,
        actor: &Actor,
        request: &DeclareRefusalRequest,
        now: OffsetDateTime,
    ) -> Result<(Refusal, Dispute), ArbiterError> {
        let mut book = self.book.lock().await;
        let id = request_id(&request.request_id)?;
        if let Some(name) = book.made.get(&(actor.agency.clone(), id.clone())) {
            let made = book.refusals.get(name).filter(|made| {
                (made.consumer.as_str(), made.dataset.as_str()) == (&request.consumer, &request.dataset)
            });
            let made = made.ok_or(ArbiterError::RequestId)?;
            let dispute = book.disputes.get(&made.dispute).cloned().unwrap_or_default();
            return Ok((shown(made.clone()), shown_dispute(dispute)));
        }
        let rights = self.rights_of(actor, request)?;
        let standing = book.refusals.values().find(|one| {
            refusal::is_standing(one)
                && one.state() == RefusalState::Suspending
                && (one.provider.as_str(), one.consumer.as_str(), one.dataset.as_str())
                    == (actor.agency.as_str(), request.consumer.as_str(), request.dataset.as_str())
                && [Purpose::Unspecified, request.purpose()].contains(&one.purpose())
        });
        if let Some(standing) = standing {
            return Err(ArbiterError::Refused(standing.name.clone()));
        }
        room(book.refusals.len())?;
        room(book.disputes.len())?;
        let rules = self.rules.borrow().clone();
        let name = next_name("refusals", book.refusals.keys().next_back());
        let mut declared = refusal::declare(&name, &actor.agency, &actor.name, request, now, &rules)?;
        if declared.state() == RefusalState::Suspending {
            declared.rights = rights;
        }
        declared.dispute = next_name("disputes", book.disputes.keys().next_back());
        let about = dispute::About {
            cause: refusal::cause(&declared),
            refusal: &name,
            provider: &declared.provider,
            consumer: &declared.consumer,
            dataset: &declared.dataset,
        };
        let text = if declared.judgement.is_empty() {
            format!("{}: {}", declared.reason, declared.legal_basis)
        } else {
            declared.judgement.clone()
        };
        let opened = dispute::open(&declared.dispute, &about, &actor.name, &text, now, &rules);
        let detail = format!(
            "{} refuses {} {} for {}: {}",
            declared.provider,
            declared.consumer,
            declared.dataset,
            purpose_word(declared.purpose()),
            if declared.judgement.is_empty() { declared.reason.as_str() } else { "UNJUSTIFIED" }
        );
        let mut next = book.clone();
        next.refusals.insert(name.clone(), declared.clone());
        next.disputes.insert(opened.name.clone(), opened.clone());
        let acts =
            [stored(&Changed::Refusal(&declared), actor, &id), stored(&Changed::Dispute(&opened), actor, "")];
        let act = Self::act(&actor.name, "refusal.declare", &Changed::Refusal(&declared), &detail);
        declared.epoch = self.enact(&book, &next, act, &acts).await?;
        next.refusals.insert(name.clone(), declared.clone());
        if !id.is_empty() {
            next.made.insert((actor.agency.clone(), id), name);
        }
        *book = next;
        self.metrics.duty(if declared.judgement.is_empty() { "refusal" } else { "refusal_unjustified" });
        tracing::warn!(refusal = declared.name, %detail, "a refusal was declared");
        Ok((shown(declared), shown_dispute(opened)))
    }

    /// Takes a refusal back.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn withdraw(
        &self,
        actor: &Actor,
        name: &str,
        reason: &str,
        now: OffsetDateTime,
    ) -> Result<Refusal, ArbiterError> {
        lienthong_duty::check_text("reason", reason, lienthong_duty::SHORT_CHARS_MAX, true)?;
        let mut book = self.book.lock().await;
        let found = book.refusals.get(name).filter(|one| actor.sees_all || actor.is(&one.provider));
        let mut ended = found.ok_or(ArbiterError::NotFound("refusal"))?.clone();
        refusal::end(&mut ended, RefusalState::Withdrawn, &actor.name, now)?;
        self.end(&mut book, ended, &actor.name, "refusal.withdraw", reason, now).await
    }

    /// Puts on file what a party says about a dispute.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn answer(
        &self,
        actor: &Actor,
        name: &str,
        text: &str,
        now: OffsetDateTime,
    ) -> Result<Dispute, ArbiterError> {
        let mut book = self.book.lock().await;
        let mut changed = visible(&book.disputes, name, |one| sees(actor, &one.provider, &one.consumer))
            .ok_or(ArbiterError::NotFound("dispute"))?
            .clone();
        dispute::answer(&mut changed, &actor.name, text, now)?;
        let act = Self::act(&actor.name, "dispute.answer", &Changed::Dispute(&changed), "");
        self.enact(&book, &book, act, &[stored(&Changed::Dispute(&changed), actor, "")]).await?;
        book.disputes.insert(name.to_owned(), changed.clone());
        Ok(shown_dispute(changed))
    }

    /// Ends a dispute; where it is overturned, the right is restored.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn decide(
        &self,
        actor: &Actor,
        request: &DecideDisputeRequest,
        now: OffsetDateTime,
    ) -> Result<Dispute, ArbiterError> {
        let mut book = self.book.lock().await;
        let mut decided = book.disputes.get(&request.name).ok_or(ArbiterError::NotFound("dispute"))?.clone();
        if shown_dispute(decided.clone()).etag != request.etag {
            return Err(ArbiterError::Etag);
        }
        dispute::decide(&mut decided, request.outcome(), &actor.name, &request.text, now)?;
        let mut next = book.clone();
        next.disputes.insert(decided.name.clone(), decided.clone());
        let mut acts = vec![stored(&Changed::Dispute(&decided), actor, "")];
        let overturned =
            matches!(request.outcome(), DisputeOutcome::Overturned | DisputeOutcome::Unjustified);
        if let Some(refused) = next.refusals.get_mut(&decided.refusal).filter(|one| refusal::is_standing(one))
            && overturned
        {
            refusal::end(refused, RefusalState::Overturned, &actor.name, now)?;
            acts.push(stored(&Changed::Refusal(refused), actor, ""));
        }
        let detail = format!("{}: {}", request.outcome().as_str_name(), request.text);
        let act = Self::act(&actor.name, "dispute.decide", &Changed::Dispute(&decided), &detail);
        self.enact(&book, &next, act, &acts).await?;
        *book = next;
        self.metrics.duty("dispute_decided");
        Ok(shown_dispute(decided))
    }

    /// Refusals that the actor may see, by name.
    pub async fn refusals(&self, actor: &Actor) -> Vec<Refusal> {
        let book = self.book.lock().await;
        let seen = book.refusals.values().filter(|one| sees(actor, &one.provider, &one.consumer));
        seen.cloned().map(shown).collect()
    }

    /// Disputes that the actor may see, by name.
    pub async fn disputes(&self, actor: &Actor) -> Vec<Dispute> {
        let book = self.book.lock().await;
        let seen = book.disputes.values().filter(|one| sees(actor, &one.provider, &one.consumer));
        seen.cloned().map(shown_dispute).collect()
    }

    /// Ends a refusal, settles its dispute, and restores the right.
    pub(super) async fn end(
        &self,
        book: &mut Book,
        ended: Refusal,
        actor: &str,
        action: &'static str,
        text: &str,
        now: OffsetDateTime,
    ) -> Result<Refusal, ArbiterError> {
        let mut next = book.clone();
        let by = Actor { name: actor.to_owned(), agency: String::new(), sees_all: true };
        let mut acts = vec![stored(&Changed::Refusal(&ended), &by, "")];
        if let Some(dispute) = next.disputes.get_mut(&ended.dispute)
            && ended.state() != RefusalState::Unjustified
        {
            dispute::settle(dispute, actor, text, now);
            acts.push(stored(&Changed::Dispute(dispute), &by, ""));
        }
        next.refusals.insert(ended.name.clone(), ended.clone());
        let act = Self::act(actor, action, &Changed::Refusal(&ended), text);
        let epoch = self.enact(book, &next, act, &acts).await?;
        let ended = Refusal { epoch, ..ended };
        next.refusals.insert(ended.name.clone(), ended.clone());
        *book = next;
        self.metrics.duty("refusal_ended");
        Ok(shown(ended))
    }

    /// Ids of the rights that a refusal is about: those of the catalog, not what an agency created itself, nor open data.
    fn rights_of(&self, actor: &Actor, request: &DeclareRefusalRequest) -> Result<Vec<String>, ArbiterError> {
        let generation = self.steward.current();
        let meant = |right: &&Right| {
            right.origin() != RightOrigin::Open
                && right.provider == actor.agency
                && right.consumer == request.consumer
                && right.dataset == request.dataset
                && [Purpose::Unspecified, right.purpose()].contains(&request.purpose())
        };
        let ids: Vec<String> =
            generation.rights().rights().iter().filter(meant).map(|right| right.id.clone()).collect();
        if ids.is_empty() {
            let cut = |text: &str| text.chars().take(128).collect::<String>();
            return Err(ArbiterError::NoRight {
                consumer: cut(&request.consumer),
                dataset: cut(&request.dataset),
                purpose: match request.purpose() {
                    Purpose::Unspecified => String::new(),
                    purpose => format!(" for {}", purpose_word(purpose)),
                },
            });
        }
        Ok(ids)
    }
}
