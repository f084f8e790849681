//! What the operator declares in the catalog, seen from the two ends of a call.

use std::{convert::Infallible, fs, io::Write as _, path::Path, process::Command};

use anyhow::{Context, Result};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lienthong::{
    client::Stated,
    commands::call::{self, Outcome},
    demo::layout::Layout,
};
use lienthong_audit::{log::LogReader, record};
use lienthong_proto::{
    lienthong::{
        audit::v1::{Closing, PurposeSource, record::Body},
        options::v1::Purpose,
    },
    reason::Reason,
};
use lienthong_tests::{TestMesh, eventually, program, reason};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};

/// The tax agency's client profile; its system has the default purpose `STATE_MANAGEMENT` in the sample catalog.
const TAX: &str = "G12.90-thue";
const GET_UNIT: &str = "/vn.danhmuc.v1.AdministrativeUnitService/GetAdministrativeUnit";
const HA_NOI: &str = r#"{"maDvhc":"01"}"#;
const GET_ENTERPRISE: &str = "/vn.dkdn.v1.EnterpriseService/GetEnterprise";
const ENTERPRISE: &str = r#"{"maSoDoanhNghiep":"9900000017"}"#;

#[tokio::test]
async fn a_default_purpose_stands_in_for_open_data_and_for_nothing_else() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let silent = Stated::default();
    let stated = Stated { purpose: Some("STATISTICS".to_owned()), ..Stated::default() };

    let by_default = answered(&mesh, GET_UNIT, HA_NOI, &silent).await?;
    let by_statement = answered(&mesh, GET_UNIT, HA_NOI, &stated).await?;
    // The same system has a right to enterprises for that very purpose; they are personal data.
    let denied = tax(&mesh, GET_ENTERPRISE, ENTERPRISE, &silent).await?;
    assert_eq!(reason(&denied), Some(Reason::DenyPurpose), "{:?}", denied.error);
    let words = denied.error.context("no error")?;
    assert!(words.message().contains("personal, core or important"), "{}", words.message());
    let state_management = Stated { purpose: Some("STATE_MANAGEMENT".to_owned()), ..Stated::default() };
    answered(&mesh, GET_ENTERPRISE, ENTERPRISE, &state_management).await?;
    // A system without a default must say why it asks.
    let office = mesh.office(GET_UNIT, HA_NOI, &silent).await?;
    assert_eq!(reason(&office), Some(Reason::DenyPurpose), "{:?}", office.error);

    let log = mesh.mesh.layout.log.clone();
    eventually("both sides of both exchanges are in the log", async || {
        let reader = LogReader::new(&log);
        let entries = reader.entries(0..reader.size()?)?;
        for (id, purpose, source) in [
            (&by_default, Purpose::StateManagement, PurposeSource::Default),
            (&by_statement, Purpose::Statistics, PurposeSource::Caller),
        ] {
            let id = uuid::Uuid::parse_str(id)?;
            let closed: Vec<Closing> = entries.iter().filter_map(|entry| closing_of(entry, id)).collect();
            anyhow::ensure!(closed.len() == 2, "{} of 2 records", closed.len());
            for exchange in closed.into_iter().filter_map(|closing| closing.exchange) {
                assert_eq!(
                    (exchange.purpose(), exchange.purpose_source()),
                    (purpose, source),
                    "{exchange:?}"
                );
            }
        }
        Ok(true)
    })
    .await?;
    mesh.stop().await
}

async fn tax(mesh: &TestMesh, method: &str, data: &str, stated: &Stated) -> Result<Outcome> {
    call::call(&mesh.mesh.client(TAX)?, method, data, stated).await
}

/// The id of an exchange that went well, once the nodes hold the contracts.
async fn answered(mesh: &TestMesh, method: &str, data: &str, stated: &Stated) -> Result<String> {
    let mut exchange = None;
    eventually("the tax agency gets an answer", async || {
        let outcome = tax(mesh, method, data, stated).await?;
        anyhow::ensure!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!(outcome.messages.len(), 1);
        exchange = outcome.exchange_id;
        Ok(true)
    })
    .await?;
    exchange.context("an answer without an exchange id")
}

/// A closing record of the exchange with this id.
fn closing_of(entry: &[u8], id: uuid::Uuid) -> Option<Closing> {
    let is_it = |closing: &Closing| closing.exchange.as_ref().is_some_and(|of| of.id == id.as_bytes());
    match record::decode(entry).ok()?.body? {
        Body::Closing(closing) => Some(closing).filter(is_it),
        _ => None,
    }
}

const GET_GOODS: &str = "/kho.v1.KhoService/GetHang";
const LIST_GOODS: &str = "/kho.v1.KhoService/ListHang";
const DELETE_GOODS: &str = "/kho.v1.KhoService/XoaHang";

/// Somebody's service, whose proto says nothing of the mesh, is shared as it is: the catalog says the rest.
#[tokio::test]
async fn a_service_that_cannot_be_changed_is_shared_by_what_the_catalog_says() -> Result<()> {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plain");
    let mut compiler = protox::Compiler::new([&protos])?;
    compiler.include_imports(true).open_file("kho.proto")?;
    let plain = compiler.encode_file_descriptor_set();
    let sockets = tempfile::tempdir()?;
    let socket = sockets.path().join("kho.sock");
    serve(&socket, compiler.descriptor_pool())?;
    let mesh = TestMesh::start_changed(|layout| add_backend(layout, &plain, &socket)).await?;
    let stated = Stated { purpose: Some("STATE_MANAGEMENT".to_owned()), ..Stated::default() };

    let granted = json!({"maHang": "H-7", "ten": "Gạo", "nhaCungCap": {"ten": "Nhà cung cấp H-7"}});
    let mut exchange = String::new();
    eventually("the goods are shared", async || {
        let outcome = mesh.office(GET_GOODS, r#"{"maHang":"H-7"}"#, &stated).await?;
        anyhow::ensure!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!(outcome.messages, std::slice::from_ref(&granted), "the response itself is the record");
        exchange = outcome.exchange_id.context("no exchange id")?;
        Ok(true)
    })
    .await?;
    let listed = mesh.office(LIST_GOODS, "{}", &stated).await?;
    assert!(listed.error.is_none(), "{:?}", listed.error);
    let names: Vec<&Value> = listed.messages.iter().map(|message| &message["hang"][0]["maHang"]).collect();
    assert_eq!(names, ["H-1", "H-2", "H-3"]);
    assert!(listed.messages.iter().all(|message| message["hang"][0].get("giaVon").is_none()));

    let by_name = Stated { fields: vec!["giaVon".to_owned()], ..stated.clone() };
    let denied = mesh.office(GET_GOODS, r#"{"maHang":"H-7"}"#, &by_name).await?;
    assert_eq!(reason(&denied), Some(Reason::DenyField), "{:?}", denied.error);
    let pool = DescriptorPool::decode(plain.as_slice())?;
    let client = mesh.mesh.client(lienthong_tests::OFFICE)?;
    let uncallable = call::call_with(&pool, &client, DELETE_GOODS, "{}", &stated).await?;
    assert_eq!(reason(&uncallable), Some(Reason::DenyUnknownMethod), "{:?}", uncallable.error);

    let id = uuid::Uuid::parse_str(&exchange)?;
    let log = mesh.mesh.layout.log.clone();
    eventually("both sides of the exchange are in the log", async || {
        let reader = LogReader::new(&log);
        let entries = reader.entries(0..reader.size()?)?;
        let closed: Vec<Closing> = entries.iter().filter_map(|entry| closing_of(entry, id)).collect();
        anyhow::ensure!(closed.len() == 2, "{} of 2 records", closed.len());
        for closing in &closed {
            assert_eq!(closing.records, 1);
            assert_eq!(closing.fields_released, ["maHang", "ten", "nhaCungCap.ten"]);
        }
        let dropped: Vec<u64> = closed.iter().map(|closing| closing.fields_dropped).collect();
        assert!(dropped.contains(&2), "the provider's node dropped two fields: {dropped:?}");
        Ok(true)
    })
    .await?;

    // What the catalog says is looked at before it is used.
    let catalog = mesh.mesh.layout.dir.join("catalog");
    let contract = format!("G12={}", mesh.mesh.layout.dir.join("contracts/kho.binpb").display());
    let lint = || {
        Command::new(program()?)
            .args(["catalog", "lint"])
            .arg(&catalog)
            .args(["--contract", &contract])
            .output()
            .context("lint")
    };
    let (good, text) = (lint()?, fs::read_to_string(catalog.join("kho.yaml"))?);
    let said = String::from_utf8(good.stdout)?;
    assert!(
        good.status.success() && said.contains("G12 serves /kho.v1.KhoService/GetHang (kho.hang)"),
        "{said}"
    );
    fs::write(catalog.join("kho.yaml"), text.replace("          giaVon:", "          giavon:"))?;
    let bad = lint()?;
    let said = String::from_utf8(bad.stdout)?;
    assert!(!bad.status.success() && said.contains("the nearest is kho.v1.Hang.giaVon"), "{said}");
    assert!(said.contains("error: kho.yaml:17: kho.v1.Hang.giavon"), "{said}");
    mesh.stop().await
}

/// Lays the catalog file, the contract and the backend beside those of the demo.
fn add_backend(layout: &Layout, contract: &[u8], socket: &Path) -> Result<()> {
    fs::write(layout.dir.join("catalog/kho.yaml"), include_str!("plain/kho.yaml"))?;
    let file = layout.dir.join("contracts/kho.binpb");
    fs::write(&file, contract)?;
    let mut config = fs::OpenOptions::new().append(true).open(layout.dir.join("config/node-G12.toml"))?;
    writeln!(
        config,
        "\n[[backends]]\nservices = [\"kho.v1.KhoService\"]\ncontract = \"{}\"\n[backends.endpoint]\nunix = \"{}\"",
        file.display(),
        socket.display()
    )?;
    Ok(())
}

/// The backend: a plain gRPC server that knows its own proto and nothing else.
fn serve(socket: &Path, pool: DescriptorPool) -> Result<()> {
    let listener = tokio::net::UnixListener::bind(socket)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let pool = pool.clone();
            let answer = hyper::service::service_fn(move |request| answer(pool.clone(), request));
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
        }
    });
    Ok(())
}

type Answer = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(pool: DescriptorPool, request: Request<Incoming>) -> Result<Response<Answer>> {
    let path = request.uri().path().to_owned();
    let asked = request.into_body().collect().await?.to_bytes();
    let message = |name: &str, value: Value| -> Result<Vec<u8>> {
        let descriptor = pool.get_message_by_name(name).context("no such message")?;
        let bytes = prost::Message::encode_to_vec(&DynamicMessage::deserialize(descriptor, value)?);
        Ok([&[0], u32::try_from(bytes.len())?.to_be_bytes().as_slice(), &bytes].concat())
    };
    let mut out = Vec::new();
    if path == GET_GOODS {
        let request = pool.get_message_by_name("kho.v1.GetHangRequest").context("no such message")?;
        let request = DynamicMessage::decode(request, asked.slice(5..))?;
        let code =
            request.get_field_by_name("maHang").context("no code")?.as_str().unwrap_or_default().to_owned();
        out.extend(message("kho.v1.Hang", goods(&code))?);
    } else {
        for number in 1..=3 {
            let page = json!({"hang": [goods(&format!("H-{number}"))]});
            out.extend(message("kho.v1.ListHangResponse", page)?);
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(out)).with_trailers(async move { Some(Ok(trailers)) });
    Ok(Response::builder().header("content-type", "application/grpc").body(body.boxed())?)
}

fn goods(code: &str) -> Value {
    let supplier = json!({"ten": format!("Nhà cung cấp {code}"), "soDienThoai": "0000"});
    json!({"maHang": code, "ten": "Gạo", "giaVon": "12000", "nhaCungCap": supplier})
}
