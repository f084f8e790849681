//! Shipping the journal: signed batches out, receipts in. On a thread of its own, because reading back and
//! signing may block; traffic never waits for it under the JOURNAL gate.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::rand;
use lienthong_audit::journal::Shipper;
use lienthong_certs::Signer;
use lienthong_proto::lienthong::audit::v1::{
    Receipt, ShipHello, ShipJournalRequest, audit_service_client::AuditServiceClient,
    ship_journal_request::Event as Said, ship_journal_response::Event as Heard,
};
use lienthong_transport::Connections;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    config::BrokerEndpointConfig,
    control::broker::{Broker, Patience},
    limits::{
        BATCHES_IN_FLIGHT_MAX, BROKER_SILENCE_MS_MAX, SHIP_FINISH_MS, SHIP_HEARTBEAT_MS, SHIP_LINGER_MS,
    },
    node::Node,
    trust::{Signing, Trust},
};

/// What shipping needs.
pub struct Shipping {
    /// Whose journal.
    pub node: Arc<Node>,
    /// The official-use key that signs batches, and the certificate that every connection shows.
    pub trust: Arc<Trust>,
    /// Where the broker is.
    pub broker: BrokerEndpointConfig,
    /// Where its connections are registered.
    pub connections: Connections,
}

impl Shipping {
    /// Ships on a thread of its own until told to stop; a broken stream is begun again.
    pub fn spawn(self, stop: CancellationToken) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("shipping".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(self.run(stop)),
                Err(error) => tracing::error!(%error, "the journal cannot be shipped: no runtime"),
            }
        })
    }

    async fn run(self, stop: CancellationToken) {
        let mut shipper = None;
        let mut patience = Patience::default();
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.follow(&mut shipper, &mut patience) => ended,
            };
            self.node.gates.shipping(Err(&format!("the journal does not reach the broker: {ended}")));
            tracing::warn!(reason = %ended, backlog = self.node.journal.backlog().records, "the journal is not shipped");
            tokio::select! {
                () = stop.cancelled() => return,
                () = patience.wait() => {}
            }
        }
    }

    /// One stream, until it ends; says why.
    async fn follow(&self, shipper: &mut Option<Shipper>, patience: &mut Patience) -> String {
        match self.try_follow(shipper, patience).await {
            Ok(()) => "the broker ended the stream".to_owned(),
            Err(reason) => reason,
        }
    }

    async fn try_follow(&self, kept: &mut Option<Shipper>, patience: &mut Patience) -> Result<(), String> {
        // Batches are signed with the key of the certificate that the connection shows, so that both change together.
        let mut renewals = self.trust.renewals();
        let Signing { signer, edition } = self.trust.signing();
        let broker = Broker::new(&self.broker, &self.trust, &self.connections);
        let (say, said) = mpsc::channel(BATCHES_IN_FLIGHT_MAX + 1);
        let newest_checkpoint = self.node.promises.newest().unwrap_or_default();
        let hello = Said::Hello(ShipHello { journal_epoch: self.node.journal.epoch(), newest_checkpoint });
        send(&say, hello).await?;
        let mut client = AuditServiceClient::new(broker.channel.clone());
        let response = client.ship_journal(ReceiverStream::new(said)).await.map_err(text)?;
        let mut heard = response.into_inner();

        let silence = Duration::from_millis(BROKER_SILENCE_MS_MAX);
        let first = tokio::time::timeout(silence, heard.message()).await.map_err(text)?;
        let first = first.map_err(text)?.and_then(|message| message.event);
        if self.trust.material.edition() != edition {
            return Err("trust changed while the stream began".to_owned());
        }
        let Some(Heard::Position(position)) = first else {
            return Err("the broker did not begin with a position".to_owned());
        };
        if let Some(known) = kept.as_mut() {
            known.resume(&position).map_err(text)?;
        } else {
            *kept = Some(self.node.journal.shipper(&position).map_err(text)?);
        }
        let Some(shipper) = kept.as_mut() else {
            return Err("there is no shipper".to_owned());
        };
        patience.reset();
        tracing::info!(last_seq = position.last_seq, "the journal ships");
        // Nobody has signed where the journal stands: what no receipt has named passes no gate.
        self.node.gates.unproven(position.last_seq);
        self.node.gates.shipping(Ok(()));

        let mut not_before = tokio::time::Instant::now();
        let mut heartbeat = not_before;
        loop {
            let backlog = self.node.journal.backlog().records;
            self.node.metrics.backlog.set(i64::try_from(backlog).unwrap_or(i64::MAX));
            tokio::select! {
                _ = renewals.changed() => return Err("the node's certificate was renewed".to_owned()),
                message = heard.message() => match message.map_err(text)? {
                    None => return Ok(()),
                    Some(message) => if let Some(Heard::Receipt(receipt)) = message.event {
                        self.check(&receipt, shipper)?;
                        shipper.acknowledge(receipt.last_seq).map_err(text)?;
                        self.node.gates.receipted(receipt.last_seq);
                    },
                },
                ready = self.next_is_due(shipper, not_before), if shipper.in_flight() < BATCHES_IN_FLIGHT_MAX => {
                    ready?;
                    self.send_batches(shipper, &*signer, &say).await?;
                    // Under the JOURNAL gate nobody waits for a receipt: gathering saves signatures.
                    not_before = tokio::time::Instant::now() + Duration::from_millis(SHIP_LINGER_MS);
                    heartbeat = not_before + Duration::from_millis(SHIP_HEARTBEAT_MS);
                }
                () = tokio::time::sleep_until(heartbeat), if shipper.in_flight() < BATCHES_IN_FLIGHT_MAX => {
                    // It says that nothing is behind it, so that nothing may be.
                    if backlog == 0 {
                        let batch = shipper.heartbeat(SystemTime::now(), |message| signer.sign(message));
                        send(&say, Said::Batch(batch.map_err(text)?)).await?;
                    }
                    heartbeat = tokio::time::Instant::now() + Duration::from_millis(SHIP_HEARTBEAT_MS);
                }
            }
        }
    }

    async fn send_batches(
        &self,
        shipper: &mut Shipper,
        signer: &dyn Signer,
        say: &mpsc::Sender<ShipJournalRequest>,
    ) -> Result<(), String> {
        while shipper.in_flight() < BATCHES_IN_FLIGHT_MAX {
            let batch =
                shipper.next_batch(SystemTime::now(), |message| signer.sign(message)).map_err(text)?;
            match batch {
                Some(batch) => send(say, Said::Batch(batch)).await?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits for the next round: a moment in which records gather, which ends at once where somebody waits for a receipt.
    async fn next_is_due(&self, shipper: &Shipper, not_before: tokio::time::Instant) -> Result<(), String> {
        tokio::select! {
            () = tokio::time::sleep_until(not_before) => {}
            () = self.node.gates.hurried() => {}
        }
        shipper.ready(SystemTime::now()).await.map_err(text)
    }

    /// A receipt must be for what was sent, all of it, and a promise that the node can hold the log to. The entry by which it
    /// will be proven is chosen at random: the broker cannot know which one it may leave out.
    fn check(&self, receipt: &Receipt, shipper: &Shipper) -> Result<(), String> {
        let mut pick = [0; 8];
        rand::fill(&mut pick).map_err(|_| "the system's random numbers failed".to_owned())?;
        let probe = shipper.judge(receipt, u64::from_be_bytes(pick)).map_err(text)?;
        let mesh = self.trust.mesh();
        self.node.promises.light().believe(mesh.trust().witness_policy());
        self.node
            .promises
            .receive(receipt, probe)
            .map_err(|error| format!("a receipt is not the log's of the mesh trust file: {error}"))
    }
}

/// Waits until all that was journalled is receipted, but no longer than [`SHIP_FINISH_MS`].
pub async fn finish(node: &Node) {
    let until = Instant::now() + Duration::from_millis(SHIP_FINISH_MS);
    while node.journal.backlog().records > 0 && node.journal.failure().is_none() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let backlog = node.journal.backlog().records;
    if backlog > 0 {
        tracing::warn!(
            backlog,
            "the node stops with records that the broker has not; they ship at the next start"
        );
    }
}

async fn send(say: &mpsc::Sender<ShipJournalRequest>, event: Said) -> Result<(), String> {
    let message = ShipJournalRequest { event: Some(event) };
    say.send(message).await.map_err(|_| "the stream to the broker is closed".to_owned())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
