//! A node's side of a watch, as the contract describes it.

use lienthong_broker::bundle::{BUNDLE_CONTEXT, HEARTBEAT_CONTEXT, sha256};
use lienthong_catalog::{delta, parts::Parts};
use lienthong_certs::mesh_key::verify;
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::control::v1::rights_service_client::RightsServiceClient;
use lienthong_proto::lienthong::control::v1::watch_rights_request::{Acknowledgement, Event as Say, Hello};
use lienthong_proto::lienthong::control::v1::watch_rights_response::Event;
use lienthong_proto::lienthong::control::v1::{
    BundleDelta, Heartbeat, RightsBundle, SignedBundle, WatchRightsRequest, WatchRightsResponse,
};
use lienthong_transport::Limits;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{BUNDLE_KEY_NAME, Line, Listening, MESH, Mesh, soon};

pub struct Watcher {
    pub say: mpsc::Sender<WatchRightsRequest>,
    heard: Streaming<WatchRightsResponse>,
    public_key: [u8; 32],
    /// The bundle last heard.
    base: Vec<u8>,
    /// Bundles that came as deltas.
    pub deltas: usize,
    /// Messages that carried a part of a bundle.
    pub parts: usize,
    gathered: Parts,
}

impl Watcher {
    /// Connects and says hello with what is held: an epoch and the hash of its bundle.
    pub async fn open(
        mesh: &Mesh,
        broker: &impl Listening,
        who: &Issued,
        held: (u64, Vec<u8>),
    ) -> Result<Watcher, Status> {
        Watcher::over(mesh, mesh.rights(broker, who), held).await
    }

    /// Connects with a receive window of so many bytes a stream, holding nothing.
    pub async fn narrow(mesh: &Mesh, broker: &impl Listening, who: &Issued, window_bytes: u32) -> Watcher {
        let limits = Limits { stream_window_bytes: window_bytes, ..Limits::default() };
        let client = RightsServiceClient::new(mesh.line_within(broker, who, limits));
        Watcher::over(mesh, client, (0, Vec::new())).await.unwrap()
    }

    async fn over(
        mesh: &Mesh,
        mut client: RightsServiceClient<Line>,
        held: (u64, Vec<u8>),
    ) -> Result<Watcher, Status> {
        let (say, said) = mpsc::channel(8);
        let hello = Hello {
            held_epoch: held.0,
            held_hash: held.1,
            software_version: "test".to_owned(),
            // What the mesh begins with: it is sent to whoever is behind.
            trust_version: 1,
        };
        say.send(WatchRightsRequest { event: Some(Say::Hello(hello)) }).await.unwrap();
        let heard = soon(client.watch_rights(ReceiverStream::new(said))).await?.into_inner();
        Ok(Watcher {
            say,
            heard,
            public_key: mesh.bundle_public_key(),
            base: Vec::new(),
            deltas: 0,
            parts: 0,
            gathered: Parts::default(),
        })
    }

    pub async fn new(mesh: &Mesh, broker: &impl Listening, who: &Issued) -> Watcher {
        Watcher::open(mesh, broker, who, (0, Vec::new())).await.unwrap()
    }

    /// Lets deltas start from a bundle that another watch has heard.
    pub fn knows(&mut self, signed: &SignedBundle) {
        self.base.clone_from(&signed.bundle);
    }

    /// The next message, its signature checked; deltas and parts are put together to the bundle that they stand for.
    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        let event = loop {
            let Some(response) = soon(self.heard.message()).await? else {
                return Ok(None);
            };
            match response.event.unwrap() {
                Event::Part(part) => {
                    self.parts += 1;
                    if let Some(signed) = self.gathered.take(part).unwrap() {
                        break Event::Snapshot(signed);
                    }
                }
                event => break event,
            }
        };
        let event = match event {
            Event::Delta(BundleDelta { base_hash, pieces, key_name, signature }) => {
                assert_eq!(base_hash, sha256(&self.base));
                self.deltas += 1;
                let bundle = delta::apply(&self.base, &pieces, 1 << 26).unwrap();
                Event::Snapshot(SignedBundle { bundle, key_name, signature })
            }
            event => event,
        };
        if let Event::Snapshot(signed) = &event {
            self.base.clone_from(&signed.bundle);
        }
        let (context, bytes, key_name, signature) = match &event {
            Event::Snapshot(signed) => {
                (BUNDLE_CONTEXT, sha256(&signed.bundle).to_vec(), &signed.key_name, &signed.signature)
            }
            Event::Heartbeat(signed) => {
                (HEARTBEAT_CONTEXT, signed.heartbeat.clone(), &signed.key_name, &signed.signature)
            }
            // The broker only hands it on: it carries the roots' signatures.
            Event::TrustFile(_) => return Ok(Some(event)),
            Event::Delta(_) | Event::Part(_) => unreachable!("put together above"),
        };
        assert_eq!(key_name, BUNDLE_KEY_NAME);
        verify(&self.public_key, &[context, &bytes].concat(), signature).unwrap();
        Ok(Some(event))
    }

    /// The next bundle; heartbeats before it are passed over.
    pub async fn snapshot(&mut self) -> (RightsBundle, SignedBundle) {
        loop {
            if let Event::Snapshot(signed) = self.next().await.unwrap().unwrap() {
                let bundle = RightsBundle::decode(signed.bundle.as_slice()).unwrap();
                assert_eq!(bundle.mesh, MESH);
                return (bundle, signed);
            }
        }
    }

    /// The next message, which must be a heartbeat.
    pub async fn heartbeat(&mut self) -> Heartbeat {
        match self.next().await.unwrap().unwrap() {
            Event::Heartbeat(signed) => Heartbeat::decode(signed.heartbeat.as_slice()).unwrap(),
            Event::TrustFile(_) => panic!("a trust file came where a heartbeat was due"),
            other => panic!("a heartbeat was due, not {other:?}"),
        }
    }

    /// Waits for the status with which the broker ends the watch.
    pub async fn refusal(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the watch ended without a word"),
                Err(status) => return status,
            }
        }
    }

    pub async fn acknowledge(&self, epoch: u64, error: &str) {
        let applied_time = Some(std::time::SystemTime::now().into());
        let acknowledgement =
            Acknowledgement { epoch, applied_time, error: error.to_owned(), ..Acknowledgement::default() };
        let event = Some(Say::Acknowledgement(acknowledgement));
        self.say.send(WatchRightsRequest { event }).await.unwrap();
    }
}

/// What a node that holds this bundle says in its hello.
pub fn held(signed: &SignedBundle) -> (u64, Vec<u8>) {
    let bundle = RightsBundle::decode(signed.bundle.as_slice()).unwrap();
    (bundle.epoch, sha256(&signed.bundle).to_vec())
}
