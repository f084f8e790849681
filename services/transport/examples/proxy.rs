//! What this crate costs on the hot path: a forwarding proxy built from [`serve`] and [`Channel::send`]
//! against the same proxy built from bare hyper and tokio-rustls, interleaved in one run.
//!
//! `cargo run --release -p lienthong-transport --example proxy [ROUNDS] [SECONDS]`
//!
//! Every role runs on two current-thread runtimes. The number to look at is the proxy's CPU time a request:
//! it is steady even where other work disturbs the throughput. Compare only numbers of one run.
// A measurement prints, and may stop at the first surprise.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lienthong_certs::{DevPki, Judge, Profile};
use lienthong_transport::{
    Channel, ChannelOptions, Connections, Drain, Endpoint, Limits, Peer, Server, SharedMaterial, TlsMaterial,
    bind,
};
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: usize = 2;
const CONNECTIONS: usize = 16;
const CONCURRENCY: usize = 64;
const BODY_BYTES: usize = 256;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().unwrap());
    let rounds = arguments.next().unwrap_or(5);
    let seconds = arguments.next().unwrap_or(3);

    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let origin = bench.origin();
    let contestants = [
        ("direct", origin, "origin"),
        ("bare hyper proxy", bench.bare_proxy(origin), "bare"),
        ("our proxy", bench.our_proxy(origin, "ours", Limits::default()), "ours"),
        ("our proxy, with PINGs", bench.our_proxy(origin, "pings", Limits::control()), "pings"),
    ];
    println!("{:<26} {:>10} {:>14}", "contestant", "req/s", "CPU µs a hop");
    for _ in 0..rounds {
        for (name, address, threads) in &contestants {
            let before = cpu_of(threads);
            let (requests, elapsed) = bench.load(*address, Duration::from_secs(seconds));
            let cpu = cpu_of(threads).saturating_sub(before);
            let count = u32::try_from(requests).unwrap();
            println!(
                "{name:<26} {:>10.0} {:>14.1}",
                f64::from(count) / elapsed.as_secs_f64(),
                cpu.as_secs_f64() * 1e6 / f64::from(count)
            );
        }
    }
}

/// Certificates for everybody.
struct Bench {
    server: SharedMaterial,
    client: SharedMaterial,
    bare_server: Arc<rustls::ServerConfig>,
    bare_client: Arc<rustls::ClientConfig>,
}

impl Bench {
    fn new(folder: &std::path::Path) -> Self {
        let pki = DevPki::create(&folder.join("pki"), "do-toc-do").unwrap();
        let issue = |agency: &str| {
            pki.issue_node(agency, "DEMO – Đo tốc độ", "nut-1", &["localhost"])
                .unwrap()
                .credentials()
                .unwrap()
        };
        let (own, other) = (issue("G01"), issue("H26"));
        let judge = Arc::new(
            Judge::new(pki.anchors().unwrap(), pki.lists().unwrap(), Profile::development()).unwrap(),
        );
        let material =
            |credentials| SharedMaterial::new(TlsMaterial::new(credentials, Arc::clone(&judge)).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut bare_server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(own.chain().to_vec(), own.key_der().unwrap())
            .unwrap();
        bare_server.alpn_protocols = vec![b"h2".to_vec()];
        let mut roots = rustls::RootCertStore::empty();
        for (_, file) in pki.trust_files() {
            roots.add_parsable_certificates(lienthong_certs::files::certificates(&file).unwrap());
        }
        let mut bare_client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(other.chain().to_vec(), other.key_der().unwrap())
            .unwrap();
        bare_client.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            server: material(&own),
            client: material(&other),
            bare_server: Arc::new(bare_server),
            bare_client: Arc::new(bare_client),
        }
    }

    /// The server behind every proxy: bare, the same for all.
    fn origin(&self) -> SocketAddr {
        let config = Arc::clone(&self.bare_server);
        on_threads("origin", move |address| {
            let config = Arc::clone(&config);
            async move {
                let listener = bind(address, true).unwrap();
                let local = listener.local_addr().unwrap();
                tokio::spawn(bare_server(listener, config, || service_fn(answer)));
                local
            }
        })
    }

    fn bare_proxy(&self, origin: SocketAddr) -> SocketAddr {
        let (server, client) = (Arc::clone(&self.bare_server), Arc::clone(&self.bare_client));
        on_threads("bare", move |address| {
            let (server, client) = (Arc::clone(&server), Arc::clone(&client));
            async move {
                let listener = bind(address, true).unwrap();
                let local = listener.local_addr().unwrap();
                let upstream = bare_connection::<Incoming>(origin, client).await;
                tokio::spawn(bare_server(listener, server, move || {
                    let upstream = upstream.clone();
                    service_fn(move |request: Request<Incoming>| {
                        let mut upstream = upstream.clone();
                        async move { upstream.send_request(request).await }
                    })
                }));
                local
            }
        })
    }

    fn our_proxy(&self, origin: SocketAddr, name: &'static str, limits: Limits) -> SocketAddr {
        let (server, client) = (self.server.clone(), self.client.clone());
        on_threads(name, move |address| {
            let (server, client, limits) = (server.clone(), client.clone(), limits.clone());
            async move {
                let listener = bind(address, true).unwrap();
                let local = listener.local_addr().unwrap();
                let endpoint = Endpoint::Mesh {
                    address: origin.to_string(),
                    server_name: Some("localhost".to_owned()),
                    material: client,
                };
                let connections = Connections::new();
                let mut options = ChannelOptions::new(connections.clone());
                options.limits = limits.clone();
                let channel: Channel<Incoming> = Channel::new(endpoint, options);
                let make = move |_: &Peer| {
                    let channel = channel.clone();
                    service_fn(move |request: Request<Incoming>| {
                        let channel = channel.clone();
                        async move { channel.send(request).await }
                    })
                };
                let server = Server::mesh(listener, server, limits, connections, Drain::new());
                tokio::spawn(server.serve(make));
                local
            }
        })
    }

    /// Closed loop, the same light client for all.
    fn load(&self, address: SocketAddr, duration: Duration) -> (u64, Duration) {
        let answered = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let answered = Arc::clone(&answered);
                let client = Arc::clone(&self.bare_client);
                scope.spawn(move || runtime().block_on(load_thread(address, client, duration, answered)));
            }
        });
        (answered.load(Ordering::Relaxed), begun.elapsed())
    }
}

async fn load_thread(
    address: SocketAddr,
    client: Arc<rustls::ClientConfig>,
    duration: Duration,
    answered: Arc<AtomicU64>,
) {
    let end = Instant::now() + duration;
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let mut workers = Vec::new();
    for _ in 0..CONNECTIONS / THREADS {
        let connection = bare_connection::<Full<Bytes>>(address, Arc::clone(&client)).await;
        for _ in 0..CONCURRENCY / CONNECTIONS {
            let (mut connection, answered, body) = (connection.clone(), Arc::clone(&answered), body.clone());
            workers.push(tokio::spawn(async move {
                let uri = Uri::from_static("https://localhost/vn.thu.v1.DichVu/Goi");
                while Instant::now() < end {
                    let request = Request::post(uri.clone()).body(Full::new(body.clone())).unwrap();
                    let answer = connection.send_request(request).await.unwrap();
                    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), BODY_BYTES);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}

async fn bare_server<M, S, B>(listener: tokio::net::TcpListener, config: Arc<rustls::ServerConfig>, make: M)
where
    M: Fn() -> S,
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = hyper::Error>
        + Send
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (acceptor, service) = (acceptor.clone(), make());
        tokio::spawn(async move {
            let tls = acceptor.accept(socket).await.unwrap();
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(tls), service).await;
        });
    }
}

async fn bare_connection<B>(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> hyper::client::conn::http2::SendRequest<B>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Runs `start` on [`THREADS`] runtimes, each given the address that the first one bound.
fn on_threads<M, F>(name: &'static str, start: M) -> SocketAddr
where
    M: Fn(SocketAddr) -> F + Send + Clone + 'static,
    F: Future<Output = SocketAddr>,
{
    let mut address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for number in 0..THREADS {
        let (start, wanted) = (start.clone(), address);
        let (sender, receiver) = std::sync::mpsc::channel();
        let body = move || {
            runtime().block_on(async move {
                sender.send(start(wanted).await).unwrap();
                std::future::pending::<Infallible>().await
            })
        };
        std::thread::Builder::new().name(format!("{name}-{number}")).spawn(body).unwrap();
        address = receiver.recv().unwrap();
    }
    address
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// CPU time of all threads whose name begins with `name`, in nanosecond resolution.
fn cpu_of(name: &str) -> Duration {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let comm = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if comm.trim_end().rsplit_once('-').is_some_and(|(role, _)| role == name) {
            // The first number is the time on the CPU in nanoseconds.
            let statistics = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            let nanoseconds = statistics.split(' ').next().and_then(|number| number.parse().ok());
            total += Duration::from_nanos(nanoseconds.unwrap_or(0));
        }
    }
    total
}
