//! Planned outages and connection requests.

use lienthong_duty::{connection, outage};
use lienthong_proto::lienthong::registry::v1::{
    AnnounceOutageRequest, AnswerConnectionRequestRequest, ConnectionRequest, CreateConnectionRequestRequest,
    Outage,
};
use time::OffsetDateTime;

use super::actor::sees;
use super::book::{Changed, next_name, request_id, room, shown_request, stored, visible};
use super::{Actor, Arbiter, ArbiterError};

impl Arbiter {
    /// Announces an outage of the actor's agency.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn announce(
        &self,
        actor: &Actor,
        request: &AnnounceOutageRequest,
        now: OffsetDateTime,
    ) -> Result<Outage, ArbiterError> {
        let mut book = self.book.lock().await;
        let id = request_id(&request.request_id)?;
        if let Some(name) = book.made.get(&(actor.agency.clone(), id.clone())) {
            return book.outages.get(name).cloned().ok_or(ArbiterError::RequestId);
        }
        room(book.outages.len())?;
        for dataset in &request.datasets {
            self.check_dataset(&actor.agency, dataset).await?;
        }
        let name = next_name("outages", book.outages.keys().next_back());
        let rules = self.rules.borrow().clone();
        let announced = outage::announce(&name, &actor.agency, &actor.name, request, now, &rules)?;
        let short = if announced.short_notice { ", shorter than R-17 demands" } else { "" };
        let detail = format!("{} working days of notice{short}", announced.notice_working_days);
        let act = Self::act(&actor.name, "outage.announce", &Changed::Outage(&announced), &detail);
        self.enact(&book, &book, act, &[stored(&Changed::Outage(&announced), actor, &id)]).await?;
        book.outages.insert(name.clone(), announced.clone());
        if !id.is_empty() {
            book.made.insert((actor.agency.clone(), id), name);
        }
        Ok(announced)
    }

    /// Asks a provider for data.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn ask(
        &self,
        actor: &Actor,
        request: &CreateConnectionRequestRequest,
        now: OffsetDateTime,
    ) -> Result<ConnectionRequest, ArbiterError> {
        let mut book = self.book.lock().await;
        let id = request_id(&request.request_id)?;
        if let Some(name) = book.made.get(&(actor.agency.clone(), id.clone())) {
            return book.requests.get(name).cloned().map(shown_request).ok_or(ArbiterError::RequestId);
        }
        room(book.requests.len())?;
        let generation = self.steward.current();
        let own = generation
            .catalog()
            .systems()
            .iter()
            .any(|system| system.name == request.system && actor.is(&system.agency));
        if !own {
            return Err(ArbiterError::System(request.system.chars().take(128).collect()));
        }
        self.check_dataset(&request.provider, &request.dataset).await?;
        let name = next_name("connectionRequests", book.requests.keys().next_back());
        let rules = self.rules.borrow().clone();
        let asked = connection::create(&name, &actor.agency, request, now, &rules)?;
        let detail = format!("{} asks {} for {}", asked.requester, asked.provider, asked.dataset);
        let act = Self::act(&actor.name, "connection.request", &Changed::Request(&asked), &detail);
        self.enact(&book, &book, act, &[stored(&Changed::Request(&asked), actor, &id)]).await?;
        book.requests.insert(name.clone(), asked.clone());
        if !id.is_empty() {
            book.made.insert((actor.agency.clone(), id), name);
        }
        Ok(shown_request(asked))
    }

    /// Answers a connection request that was made to the actor's agency.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn reply(
        &self,
        actor: &Actor,
        answer: &AnswerConnectionRequestRequest,
        now: OffsetDateTime,
    ) -> Result<ConnectionRequest, ArbiterError> {
        let mut book = self.book.lock().await;
        let mut changed = visible(&book.requests, &answer.name, |one| actor.is(&one.provider))
            .ok_or(ArbiterError::NotFound("connection request"))?
            .clone();
        if shown_request(changed.clone()).etag != answer.etag {
            return Err(ArbiterError::Etag);
        }
        connection::answer(&mut changed, &actor.name, answer, now)?;
        let detail = if answer.accepted { "accepted" } else { "declined" };
        let act = Self::act(&actor.name, "connection.answer", &Changed::Request(&changed), detail);
        self.enact(&book, &book, act, &[stored(&Changed::Request(&changed), actor, "")]).await?;
        book.requests.insert(answer.name.clone(), changed.clone());
        Ok(shown_request(changed))
    }

    /// Outages, by name.
    pub async fn outages(&self) -> Vec<Outage> {
        self.book.lock().await.outages.values().cloned().collect()
    }

    /// Connection requests that the actor may see, by name.
    pub async fn requests(&self, actor: &Actor) -> Vec<ConnectionRequest> {
        let book = self.book.lock().await;
        let seen = book.requests.values().filter(|one| sees(actor, &one.provider, &one.requester));
        seen.cloned().map(shown_request).collect()
    }

    async fn check_dataset(&self, provider: &str, dataset: &str) -> Result<(), ArbiterError> {
        let material = self.steward.material().await;
        let listed =
            material.catalog.database_of(dataset).is_some_and(|database| database.owner_code == provider);
        let declared = material
            .contracts
            .get(provider)
            .is_some_and(|contract| contract.model.datasets().iter().any(|one| one.id() == dataset));
        let cut = |text: &str| text.chars().take(128).collect::<String>();
        if listed || declared {
            return Ok(());
        }
        Err(ArbiterError::Dataset { provider: cut(provider), dataset: cut(dataset) })
    }
}
