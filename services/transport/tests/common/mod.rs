//! A small mesh for tests: real certificates of a development PKI, real sockets, a service with a few habits.

#![allow(dead_code)] // each test file uses its own part
#![allow(clippy::unwrap_used)] // a panic is how a test fails

pub mod condemned;
pub mod raw;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use lienthong_certs::pki::Issued;
use lienthong_certs::{Credentials, DevPki, Judge, Profile};
use lienthong_transport::{
    Channel, ChannelOptions, Connections, Drain, DrainOutcome, Endpoint, Limits, Peer, SharedMaterial,
    TlsMaterial, bind,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub type Body = Full<Bytes>;

/// One development PKI with its judge.
pub struct Mesh {
    pub folder: TempDir,
    pub pki: DevPki,
}

impl Mesh {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = DevPki::create(&folder.path().join("pki"), "thu-nghiem").unwrap();
        Self { folder, pki }
    }

    /// A node's certificate for `localhost`.
    pub fn node(&self, agency: &str, node: &str) -> Issued {
        self.pki.issue_node(agency, "DEMO – Cơ quan thử nghiệm", node, &["localhost"]).unwrap()
    }

    /// The judge over what the PKI has published until now.
    pub fn judge(&self) -> Judge {
        Judge::new(self.pki.anchors().unwrap(), self.pki.lists().unwrap(), Profile::development()).unwrap()
    }

    pub fn material(&self, issued: &Issued) -> TlsMaterial {
        self.material_of(&issued.credentials().unwrap())
    }

    pub fn material_of(&self, credentials: &Credentials) -> TlsMaterial {
        TlsMaterial::new(credentials, self.judge()).unwrap()
    }

    pub fn shared(&self, issued: &Issued) -> SharedMaterial {
        SharedMaterial::new(self.material(issued))
    }

    /// A server with a fresh certificate.
    pub fn server(&self, limits: Limits) -> Server {
        let node = self.node("G01", &format!("may-chu-{}", unique()));
        Server::start("127.0.0.1:0".parse().unwrap(), self.shared(&node), limits)
    }

    /// A client's material with a fresh certificate.
    pub fn client(&self) -> SharedMaterial {
        self.shared(&self.node("H26.90", &format!("may-khach-{}", unique())))
    }
}

fn unique() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A listener that serves [`habits`].
pub struct Server {
    pub address: SocketAddr,
    pub material: SharedMaterial,
    pub connections: Connections,
    pub drain: Drain,
    pub cancelled: Arc<AtomicUsize>,
    task: JoinHandle<DrainOutcome>,
}

impl Server {
    pub fn start(address: SocketAddr, material: SharedMaterial, limits: Limits) -> Self {
        let listener = bind(address, true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::new();
        let drain = Drain::new();
        let cancelled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&cancelled);
        let make = move |peer: &Peer| {
            let (peer, count) = (peer.clone(), Arc::clone(&count));
            service_fn(move |request| habits(peer.clone(), Arc::clone(&count), request))
        };
        let server = lienthong_transport::Server::mesh(
            listener,
            material.clone(),
            limits,
            connections.clone(),
            drain.clone(),
        );
        let serving = server.serve(make);
        Self { address, material, connections, drain, cancelled, task: tokio::spawn(serving) }
    }

    pub fn endpoint(&self, client: &SharedMaterial) -> Endpoint {
        Endpoint::Mesh {
            address: self.address.to_string(),
            server_name: Some("localhost".to_owned()),
            material: client.clone(),
        }
    }

    pub fn channel(&self, client: &SharedMaterial) -> Channel<Body> {
        Channel::new(self.endpoint(client), ChannelOptions::new(Connections::new()))
    }

    /// Drains and says how it ended.
    pub async fn stop(self, patience: Duration) -> DrainOutcome {
        self.drain.start(patience);
        self.task.await.unwrap()
    }
}

/// `/echo` gives the body back, `/peer` says who asks, `/slow/MS` answers later, `/hang` never, `/stream`
/// sends a frame every 10 ms for ever; `/leashed/MS` and `/place/MS` as they say.
async fn habits(
    peer: Peer,
    cancelled: Arc<AtomicUsize>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = match path.split('/').nth(1).unwrap_or_default() {
        "echo" => full(request.into_body().collect().await?.to_bytes()),
        "peer" => full(peer.to_string().into()),
        "slow" => {
            let pause = path.rsplit('/').next().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            full(path.into())
        }
        "hang" => {
            let _count = OnDrop(cancelled);
            std::future::pending().await
        }
        // More than any window takes, on a leash of so many milliseconds.
        "leashed" => {
            let pause = Duration::from_millis(path.rsplit('/').next().unwrap().parse().unwrap());
            let count = OnDrop(cancelled);
            lienthong_transport::leash::end_with(tokio::time::sleep(pause));
            let frames = futures_util::stream::unfold(count, |count| async move {
                Some((Ok(Frame::data(Bytes::from_static(&[7; 16 * 1024]))), count))
            });
            BodyExt::boxed(StreamBody::new(frames))
        }
        // Holds one of two places for so many milliseconds, or says that there is none.
        "place" => {
            let pause = path.rsplit('/').next().unwrap().parse().unwrap();
            match peer.take_place(2) {
                Some(_place) => {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    full("served".into())
                }
                None => full("full".into()),
            }
        }
        "stream" => {
            let frames = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
            });
            BodyExt::boxed(StreamBody::new(frames))
        }
        _ => {
            let mut response = Response::new(full(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
    };
    Ok(Response::new(body))
}

fn full(bytes: Bytes) -> BoxBody<Bytes, Infallible> {
    Full::new(bytes).boxed()
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request without an authority: the channel adds its own.
pub fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Full::default()).unwrap()
}

pub fn post(path: &str, body: &[u8]) -> Request<Body> {
    Request::builder().method("POST").uri(path).body(Full::new(Bytes::copy_from_slice(body))).unwrap()
}

pub async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Waits for a condition that must come true soon.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "did not come true within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
