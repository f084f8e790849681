//! Hearing the broker: bundles as they change, a sign of life every second.

use std::{convert::Infallible, sync::Arc, time::Duration};

use lienthong_catalog::parts::Parts;
use lienthong_proto::lienthong::control::v1::{
    Heartbeat, SignedHeartbeat, WatchRightsRequest,
    rights_service_client::RightsServiceClient,
    watch_rights_request::{Acknowledgement, Event as Said, Hello, TrustAcknowledgement},
    watch_rights_response::Event as Heard,
};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    control::{
        broker::{Broker, Patience},
        bundle::{BadBundle, BundleKeeper},
        receipt::{Applied, message},
        trust_file,
    },
    limits::{ACKNOWLEDGEMENTS_WAITING_MAX, BROKER_SILENCE_MS_MAX},
    node::Node,
};

/// Domain of the heartbeat's signature.
pub const HEARTBEAT_DOMAIN: &str = "lienthong/heartbeat/v1";

/// Watches until told to stop; a broken stream is begun again. `first` turns true once a bundle is in effect.
pub async fn run(
    mut keeper: BundleKeeper,
    node: Arc<Node>,
    broker: Broker,
    first: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut patience = Patience::default();
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = follow(&mut keeper, &node, &broker, &first, &mut patience) => ended,
        };
        let Err(ended) = ended;
        tracing::warn!(reason = %ended, "the broker is not heard; the node goes on with the rights it holds");
        tokio::select! {
            () = stop.cancelled() => return,
            () = patience.wait() => {}
        }
    }
}

/// One stream, until it ends; says why.
async fn follow(
    keeper: &mut BundleKeeper,
    node: &Node,
    broker: &Broker,
    first: &watch::Sender<bool>,
    patience: &mut Patience,
) -> Result<Infallible, String> {
    let (say, said) = mpsc::channel(ACKNOWLEDGEMENTS_WAITING_MAX);
    let hello = Hello {
        held_epoch: keeper.held().0,
        held_hash: keeper.told_hash().to_vec(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        trust_version: keeper.trust().mesh().trust().version(),
    };
    if say.send(WatchRightsRequest { event: Some(Said::Hello(hello)) }).await.is_err() {
        return Err("the stream closed before it began".to_owned());
    }
    for receipt in keeper.receipts().again() {
        say.try_send(receipt).map_err(|_| "the stream closed before it began".to_owned())?;
    }
    let mut client =
        RightsServiceClient::new(broker.channel.clone()).max_decoding_message_size(WATCH_MESSAGE_BYTES_MAX);
    let mut heard = match client.watch_rights(ReceiverStream::new(said)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Err(status.to_string()),
    };
    let mut refused = false;
    let mut parts = Parts::default();
    loop {
        let silence = Duration::from_millis(BROKER_SILENCE_MS_MAX);
        let event = match tokio::time::timeout(silence, heard.message()).await {
            Ok(Ok(Some(message))) => message.event,
            Ok(Ok(None)) => return Err("the broker ended the stream".to_owned()),
            Ok(Err(status)) => return Err(status.to_string()),
            Err(_) => return Err(format!("the broker said nothing for {} s", silence.as_secs())),
        };
        patience.reset();
        match whole(&mut parts, event)? {
            Some(Heard::Snapshot(signed)) => {
                let taken = keeper.take(&signed);
                refused = taken.is_err();
                acknowledge(taken, keeper, node, first, &say)?;
            }
            Some(Heard::Delta(delta)) => {
                let taken = keeper.put_together(&delta).and_then(|signed| keeper.take(&signed));
                if let Err(error) = taken {
                    keeper.asks_for_whole();
                    return Err(format!("a rights bundle came as a delta: {error}; it is asked for whole"));
                }
                acknowledge(taken, keeper, node, first, &say)?;
            }
            Some(Heard::Heartbeat(signed)) => {
                if let Err(reason) = heartbeat(keeper, node, broker, &signed) {
                    tracing::warn!(reason, "a heartbeat does not count");
                }
            }
            Some(Heard::TrustFile(file)) => {
                let (taken, acknowledgement) = trust_file(keeper, node, &file.note);
                let message = Said::TrustAcknowledgement(acknowledgement);
                if say.try_send(WatchRightsRequest { event: Some(message) }).is_err() {
                    return Err("the broker does not take acknowledgements".to_owned());
                }
                if taken && refused {
                    return Err(
                        "a bundle that was refused may count under the new trust; the watch begins anew"
                            .to_owned(),
                    );
                }
            }
            Some(Heard::Part(_)) | None => {}
        }
    }
}

/// What was heard, once it is whole; nothing for the parts of a bundle before the last.
fn whole(parts: &mut Parts, event: Option<Heard>) -> Result<Option<Heard>, String> {
    let Some(Heard::Part(part)) = event else { return Ok(event) };
    let signed = parts.take(part).map_err(|error| error.to_string())?;
    Ok(signed.map(Heard::Snapshot))
}

/// Tells the broker what became of a bundle.
fn acknowledge(
    taken: Result<Applied, BadBundle>,
    keeper: &BundleKeeper,
    node: &Node,
    first: &watch::Sender<bool>,
    say: &mpsc::Sender<WatchRightsRequest>,
) -> Result<(), String> {
    let acknowledgement = match taken {
        Ok(applied) => {
            tracing::info!(epoch = applied.epoch, cut = applied.cut.len(), "rights bundle in effect");
            first.send_replace(true);
            let acknowledgement = applied.acknowledgement();
            if !applied.cut.is_empty() {
                let (connections, receipts) = (keeper.connections().clone(), keeper.receipts().clone());
                tokio::spawn(applied.tell_when_cut(connections, receipts, say.clone()));
            }
            acknowledgement
        }
        Err(error) => {
            tracing::error!(%error, "a rights bundle was refused; the one before stays");
            node.metrics.bundles_refused.inc();
            Acknowledgement { error: error.to_string(), ..Acknowledgement::default() }
        }
    };
    say.try_send(message(acknowledgement)).map_err(|_| "the broker does not take acknowledgements".to_owned())
}

/// Largest message of the watch stream, bytes. What is larger comes in parts.
const WATCH_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Takes a trust file that the broker hands on; answers whether it is in effect now, and what to say.
fn trust_file(keeper: &BundleKeeper, node: &Node, file: &[u8]) -> (bool, TrustAcknowledgement) {
    let trust = keeper.trust();
    let taken = trust.take(file);
    trust_file::show(node, trust);
    let version = trust.mesh().trust().version();
    let error = match &taken {
        Ok(_) => String::new(),
        Err(error) => {
            tracing::error!(%error, "the broker hands on a mesh trust file that is not taken; what is held goes on");
            error.to_string()
        }
    };
    (matches!(taken, Ok(Some(_))), TrustAcknowledgement { version, error })
}

/// A heartbeat counts if the broker signed it, for this mesh, about the bundle that is held and revocation lists no newer
/// than those held, and later than every one before it: an old one that is played back makes nothing younger.
fn heartbeat(
    keeper: &BundleKeeper,
    node: &Node,
    broker: &Broker,
    signed: &SignedHeartbeat,
) -> Result<(), String> {
    broker
        .verify(HEARTBEAT_DOMAIN, &signed.heartbeat, &signed.key_name, &signed.signature)
        .map_err(|error| error.to_string())?;
    let beat = Heartbeat::decode(signed.heartbeat.as_slice()).map_err(|error| error.to_string())?;
    let (held_epoch, held_hash) = keeper.held();
    if beat.mesh != node.mesh {
        return Err(format!("it is of mesh {}", beat.mesh));
    }
    if beat.epoch != held_epoch || beat.bundle_hash != held_hash {
        return Err(format!("it is about epoch {}, this node holds {held_epoch}", beat.epoch));
    }
    keeper.trust().announce(beat.trust_version);
    if let Some(behind) = keeper.behind(&beat.revocation) {
        return Err(behind);
    }
    let time = beat.time.unwrap_or_default();
    let milliseconds = time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000);
    let milliseconds = u64::try_from(milliseconds).map_err(|_| "its time is before 1970".to_owned())?;
    if !node.freshness.heartbeat(milliseconds, held_epoch, held_hash) {
        return Err("its time is not later than that of the one before".to_owned());
    }
    Ok(())
}
