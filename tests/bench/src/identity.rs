//! What proving identity costs, against the least that anybody could do: full mutual handshakes through our acceptor and
//! through a bare tokio-rustls one, a revocation list of 100,000 entries against none, and what a request pays to know
//! who calls. All in this process and in turns, so that only ratios of one run are compared.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::Context;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use lienthong_catalog::RightsIndex;
use lienthong_certs::pki::DevPki;
use lienthong_certs::{Judge, Profile, RevocationLists, Usage};
use lienthong_node::call::identify::{binding_of, peer_node};
use lienthong_proto::lienthong::control::v1::{CertificateBinding, Node, Party, RightsBundle, System};
use lienthong_transport::{
    Connections, Drain, Endpoint, Limits, Peer, Server, SharedMaterial, TlsMaterial, VerifyPeer, connect,
};
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams,
    SerialNumber,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{ServerName, UnixTime};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::goal::Goal;
use crate::out;
use crate::pki::{Pki, Role, SERVER_NAME};
use crate::quantile::Spread;
use crate::threads::runtime;

/// Rounds; in each, everybody has his turn.
const ROUNDS: usize = 7;
/// How long a turn counts.
const TURN: Duration = Duration::from_millis(700);
/// Handshakes under way at once.
const CONCURRENCY: usize = 8;
/// Entries of the long revocation list.
const REVOKED: u64 = 100_000;
/// Judges that are asked about one chain.
const JUDGES: u32 = 500;
/// Questions of one measurement of something small.
const QUESTIONS: u32 = 20_000;
/// Pause between two reloads.
const RELOAD_PAUSE: Duration = Duration::from_millis(150);
/// Nodes in the registry that is asked.
const REGISTERED: u32 = 3_000;

/// Measures all of it in a folder of its own; prints a line a goal.
pub fn run(json: bool) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let pki = Pki::create(folder.path())?;
    let goals = [
        handshakes(&pki)?,
        long_list(&pki, folder.path())?,
        reload(&pki, folder.path())?,
        per_request(&pki)?,
    ];
    for goal in &goals {
        goal.show(json)?;
    }
    Ok(goals.iter().all(Goal::is_met))
}

/// Full handshakes a second, ours for one of a bare acceptor.
fn handshakes(pki: &Pki) -> anyhow::Result<Goal> {
    let ours = spawn_ours(pki.material(Role::ProviderNode)?)?;
    let bare = spawn_bare(pki)?;
    let client = pki.client_config(Role::ConsumerNode)?;
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let (own, other) = if round % 2 == 0 {
            let own = handshakes_in_a_turn(ours, &client)?;
            (own, handshakes_in_a_turn(bare, &client)?)
        } else {
            let other = handshakes_in_a_turn(bare, &client)?;
            (handshakes_in_a_turn(ours, &client)?, other)
        };
        // The first round warms up.
        if round > 0 {
            out::note(&format!("handshakes/s: ours {own:.0}, bare tokio-rustls {other:.0}"));
            ratios.push(own / other);
        }
    }
    let name = "full mTLS handshakes/s, of a bare tokio-rustls acceptor";
    Ok(Goal::at_least(name, spread(ratios)?, "ratio", 0.9))
}

/// What a list of 100,000 entries adds to the judgement of one handshake.
fn long_list(pki: &Pki, folder: &Path) -> anyhow::Result<Goal> {
    let chain = pki.issued(Role::ConsumerNode)?.credentials()?.chain().to_vec();
    let (without, with) = (judge(folder, None)?, judge(folder, Some(&long_crl(folder)?))?);
    let mut added = Vec::new();
    for _ in 0..ROUNDS {
        // Each judge sees the chain for the first time: one that it has accepted before it would only look up.
        let time = |judge: &Judge| -> anyhow::Result<f64> {
            let fresh =
                || Judge::new(judge.anchors().clone(), judge.lists().clone(), judge.profile().clone());
            let judges = (0..JUDGES).map(|_| fresh()).collect::<Result<Vec<_>, _>>()?;
            let begun = Instant::now();
            for judge in &judges {
                judge.judge(&chain, Usage::Client, UnixTime::now())?;
            }
            Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(JUDGES))
        };
        let (short, long) = (time(&without)?, time(&with)?);
        out::note(&format!(
            "judging a chain: {short:.1} µs without a list, {long:.1} µs with {REVOKED} entries"
        ));
        added.push(long - short);
    }
    let name = "what a revocation list of 100,000 entries adds to a handshake";
    Ok(Goal::at_most(name, spread(added)?, "µs", 50.0))
}

/// Handshakes a second while the long list is read and put into force again and again, of those in peace.
fn reload(pki: &Pki, folder: &Path) -> anyhow::Result<Goal> {
    let material = pki.material(Role::ProviderNode)?;
    let address = spawn_ours(material.clone())?;
    let client = pki.client_config(Role::ConsumerNode)?;
    let crl = long_crl(folder)?;
    let own = pki.issued(Role::ProviderNode)?;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let peace = handshakes_in_a_turn(address, &client)?;
        let (over, told) = std::sync::mpsc::channel::<()>();
        let (material, crl, own, folder) = (material.clone(), crl.clone(), own.clone(), folder.to_owned());
        // Once a second would be often; this is several times a second.
        let reloading = std::thread::spawn(move || -> anyhow::Result<u32> {
            let mut times = 0;
            while told.recv_timeout(RELOAD_PAUSE) == Err(RecvTimeoutError::Timeout) {
                let judge = judge(&folder, Some(&crl))?;
                material.replace(TlsMaterial::new(own.credentials()?, judge)?);
                times += 1;
            }
            Ok(times)
        });
        let disturbed = handshakes_in_a_turn(address, &client)?;
        drop(over);
        let times = reloading.join().map_err(|_| anyhow::anyhow!("the reloading thread panicked"))??;
        out::note(&format!("handshakes/s: {peace:.0} in peace, {disturbed:.0} during {times} reloads"));
        ratios.push(disturbed / peace);
    }
    Ok(Goal::at_least("handshakes/s while a list of 100,000 is reloaded", spread(ratios)?, "ratio", 0.75))
}

/// What a request pays to know who calls: from the connection's certificate to party, node and system.
fn per_request(pki: &Pki) -> anyhow::Result<Goal> {
    let address = spawn_ours(pki.material(Role::ProviderNode)?)?;
    let peer = runtime()?.block_on(async {
        let endpoint = Endpoint::Mesh {
            address: address.to_string(),
            server_name: Some(SERVER_NAME.to_owned()),
            material: pki.material(Role::ConsumerNode)?,
        };
        let anybody: VerifyPeer = Arc::new(|_| Ok(()));
        let made = connect::<http_body_util::Full<bytes::Bytes>>(
            &endpoint,
            &Limits::default(),
            &Connections::new(),
            Some(&anybody),
        )
        .await?;
        anyhow::Ok(made.peer)
    })?;
    let rights = RightsIndex::from_bundle(&registry(&peer)?)?;
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..QUESTIONS {
            let (caller, identified) =
                peer_node(&rights, std::hint::black_box(&peer), "agencies/G01/systems/dan-cu");
            identified.map_err(|error| anyhow::anyhow!("not identified: {error}"))?;
            std::hint::black_box(caller);
        }
        costs.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(QUESTIONS));
    }
    Ok(Goal::at_most("identity of one request", spread(costs)?, "µs", 1.0))
}

/// A registry of many nodes, one of them the peer.
fn registry(peer: &Peer) -> anyhow::Result<RightsBundle> {
    let certificate = peer.certificate().context("no certificate")?;
    let node = |number: u32| {
        let (agency, certificates) = if number == 1 {
            ("G01".to_owned(), vec![binding_of(certificate)])
        } else {
            let binding = CertificateBinding {
                issuer: "CN=DEMO – CA".to_owned(),
                serial: number.to_be_bytes().to_vec(),
                spki_sha256: [number.to_be_bytes(); 8].concat(),
            };
            (format!("Z{number}"), vec![binding])
        };
        let name = format!("agencies/{agency}/nodes/n1");
        Node {
            name,
            agency,
            address: "127.0.0.1:7000".to_owned(),
            server_name: SERVER_NAME.to_owned(),
            certificates,
        }
    };
    let nodes: Vec<Node> = (1..=REGISTERED).map(node).collect();
    let parties = nodes.iter().map(|node| Party {
        code: node.agency.clone(),
        name_vi: "DEMO".to_owned(),
        ..Party::default()
    });
    let system = System {
        name: "agencies/G01/systems/dan-cu".to_owned(),
        agency: "G01".to_owned(),
        ..System::default()
    };
    Ok(RightsBundle {
        mesh: "do-toc-do".to_owned(),
        audience: "agencies/G01/nodes/n1".to_owned(),
        epoch: 1,
        parties: parties.collect(),
        systems: vec![system],
        nodes,
        ..RightsBundle::default()
    })
}

fn spread(values: Vec<f64>) -> anyhow::Result<Spread> {
    Spread::of(values).context("nothing was measured")
}

/// A judge over the run's anchors, with one revocation list or none.
fn judge(folder: &Path, crl: Option<&[u8]>) -> anyhow::Result<Judge> {
    let anchors = DevPki::open(folder)?.anchors()?;
    let lists = match crl {
        None => RevocationLists::empty(),
        Some(der) => {
            RevocationLists::empty().with(lienthong_certs::judge::RevocationList::read(der, &anchors)?)?
        }
    };
    Ok(Judge::new(anchors, lists, Profile::development())?)
}

/// A list of the State authority that revokes as many certificates as a large authority does in years.
fn long_crl(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let read = |end: &str| std::fs::read_to_string(folder.join(format!("ca/state.{end}")));
    let authority = Issuer::from_ca_cert_pem(&read("crt")?, KeyPair::from_pem(&read("key")?)?)?;
    let now = OffsetDateTime::now_utc();
    let entry = |number: u64| RevokedCertParams {
        serial_number: SerialNumber::from(number + (1 << 62)),
        revocation_time: now,
        reason_code: Some(RevocationReason::Superseded),
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now + time::Duration::days(7),
        crl_number: SerialNumber::from(1_u64 << 40),
        issuing_distribution_point: None,
        revoked_certs: (0..REVOKED).map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(&authority)?.der().to_vec())
}

/// Our acceptor, on a thread of its own.
fn spawn_ours(material: SharedMaterial) -> anyhow::Result<SocketAddr> {
    spawn("ours", move |listener| async move {
        let limits = Limits { connections_per_peer_max: usize::MAX, ..Limits::default() };
        let make = |_: &Peer| {
            service_fn(|_: Request<Incoming>| async {
                anyhow::Ok(Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
            })
        };
        Server::mesh(listener, material, limits, Connections::new(), Drain::new()).serve(make).await;
    })
}

/// The least: accept, prove, say one byte.
fn spawn_bare(pki: &Pki) -> anyhow::Result<SocketAddr> {
    let credentials = pki.issued(Role::ProviderNode)?.credentials()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(pki.roots()?), Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            credentials.chain().to_vec(),
            credentials.key_der().context("the key is in a token")?,
        )?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    spawn("bare", move |listener| async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                socket.set_nodelay(true)?;
                let mut tls = acceptor.accept(socket).await?;
                tls.write_all(b"x").await?;
                tls.flush().await?;
                tls.read(&mut [0]).await
            });
        }
    })
}

fn spawn<F>(name: &str, serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> anyhow::Result<SocketAddr>
where
    F: Future<Output = ()>,
{
    let (say, listening) = std::sync::mpsc::channel();
    let thread = move || -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let listener = lienthong_transport::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false)?;
            say.send(listener.local_addr()?)?;
            serve(listener).await;
            Ok(())
        })
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(thread)?;
    listening.recv().context("it could not listen")
}

/// Handshakes a second of one turn: each full, each proved by the first byte that the server says.
fn handshakes_in_a_turn(address: SocketAddr, client: &Arc<rustls::ClientConfig>) -> anyhow::Result<f64> {
    let mut client = (**client).clone();
    client.resumption = rustls::client::Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(client));
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    runtime()?.block_on(async {
        let mut knocking = tokio::task::JoinSet::new();
        for _ in 0..CONCURRENCY {
            let (connector, done) = (connector.clone(), Arc::clone(&done));
            knocking.spawn(async move {
                while begun.elapsed() < TURN {
                    let socket = TcpStream::connect(address).await?;
                    socket.set_nodelay(true)?;
                    let mut tls = connector.connect(ServerName::try_from(SERVER_NAME)?, socket).await?;
                    anyhow::ensure!(tls.read(&mut [0]).await? == 1, "the server said nothing");
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(knocked) = knocking.join_next().await {
            knocked??;
        }
        anyhow::Ok(())
    })?;
    #[allow(clippy::cast_precision_loss)] // a few thousand
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}
