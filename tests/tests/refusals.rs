//! Bad input at a node: each a clear error that names rule and remedy, recorded where the caller is known.

use anyhow::{Context, Result};
use lienthong::{
    client::{self, Client, ClientProfile, Stated},
    commands::call::{self, Outcome},
};
use lienthong_audit::{log::LogReader, record};
use lienthong_certs::{
    Branch,
    pki::{DevPki, Holder, Request},
};
use lienthong_proto::{descriptors, lienthong::audit::v1::record::Body, reason::Reason, status};
use lienthong_tests::{GET_CITIZEN, OFFICE, PERSON, TestMesh, eventually, handling, reason};
use prost_reflect::{DynamicMessage, Value};

/// Every kind of bad call, on one mesh: its reason, its words, and its place in the log.
#[tokio::test]
async fn bad_calls_are_refused_with_their_reason_and_recorded() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let client = mesh.mesh.client(OFFICE)?;
    let pool = client.contract(GET_CITIZEN, &Stated::default()).await?;
    let mut exchanges = Vec::new();
    for (name, stated, expected, words) in bad_calls() {
        let outcome = call::call_with(&pool, &client, GET_CITIZEN, PERSON, &stated).await?;
        assert_eq!(reason(&outcome), Some(expected), "{name}: {:?}", outcome.error);
        let error = outcome.error.context("no error")?;
        assert!(error.message().contains(words), "{name}: {} does not say {words}", error.message());
        let read = status::read(&error).context("no details")?;
        assert!(read.vi.is_some_and(|vi| !vi.is_ascii()), "{name}: no Vietnamese");
        exchanges.push((
            name,
            expected,
            outcome.exchange_id.with_context(|| format!("{name}: no exchange id"))?,
        ));
    }
    let log = mesh.mesh.layout.log.clone();
    eventually("every denial is in the log", async || {
        let reader = LogReader::new(&log);
        let denials: Vec<_> = reader
            .entries(0..reader.size()?)?
            .iter()
            .filter_map(|entry| match record::decode(entry).ok()?.body? {
                Body::Denial(denial) => Some((denial.exchange?.id, denial.reason)),
                _ => None,
            })
            .collect();
        for (name, expected, id) in &exchanges {
            let id = uuid::Uuid::parse_str(id)?.as_bytes().to_vec();
            anyhow::ensure!(denials.contains(&(id, expected.name().to_owned())), "{name} is not on record");
        }
        Ok(true)
    })
    .await?;
    mesh.stop().await
}

/// What is wrong, what is stated, and what must be heard.
fn bad_calls() -> Vec<(&'static str, Stated, Reason, &'static str)> {
    let with = |change: fn(&mut Stated)| {
        let mut stated = handling();
        change(&mut stated);
        stated
    };
    vec![
        ("no purpose", with(|s| s.purpose = None), Reason::DenyPurpose, "mesh-purpose"),
        (
            "unknown purpose",
            with(|s| s.purpose = Some("CURIOSITY".into())),
            Reason::DenyPurpose,
            "mesh-purpose",
        ),
        (
            "ungranted purpose",
            with(|s| s.purpose = Some("STATISTICS".into())),
            Reason::DenyPurpose,
            "ADMIN_PROCEDURE",
        ),
        ("trade", with(|s| s.purpose = Some("COMMERCIAL".into())), Reason::DenyCommercial, "trade"),
        ("no dossier", with(|s| s.dossier = None), Reason::DenyContext, "dossier"),
        ("malformed dossier", with(|s| s.dossier = Some("123".into())), Reason::DenyContext, "dossier"),
        ("long dossier", with(|s| s.dossier = Some("x".repeat(2000))), Reason::DenyContext, "mesh-dossier"),
        ("citizen as user", with(|s| s.user = Some("999190000001".into())), Reason::DenyContext, "mesh-user"),
        ("long user", with(|s| s.user = Some("u".repeat(65))), Reason::DenyContext, "mesh-user"),
        (
            "ungranted field",
            with(|s| s.fields = vec!["tinh_trang_hon_nhan".into()]),
            Reason::DenyField,
            "tinh_trang_hon_nhan",
        ),
        ("unknown field", with(|s| s.fields = vec!["mat_khau".into()]), Reason::DenyField, "mat_khau"),
        ("unknown provider", with(|s| s.provider = Some("G99".into())), Reason::DenyUnknownMethod, "G99"),
    ]
}

#[tokio::test]
async fn unknown_methods_and_large_messages_have_names() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let office = mesh.mesh.client(OFFICE)?;
    let pool = office.contract(GET_CITIZEN, &Stated::default()).await?;
    let method = client::method_of(&pool, GET_CITIZEN)?;
    let unknown = "/vn.dancu.v1.CitizenService/DropEverything".parse()?;
    let empty = DynamicMessage::new(method.input());
    let error = failure(office.call_path(unknown, empty, method.output(), &handling()).await).await?;
    assert_eq!(error.code(), tonic::Code::Unimplemented);
    assert_eq!(status::read(&error).map(|read| read.reason), Some(Reason::DenyUnknownMethod));

    let mut large = DynamicMessage::new(method.input());
    large.set_field_by_name("so_dinh_danh", Value::String("9".repeat(17 * 1024 * 1024)));
    let error = failure(office.call(&method, large, &handling()).await).await?;
    assert_eq!(status::read(&error).map(|read| read.reason), Some(Reason::FailMessageTooLarge), "{error:?}");
    assert!(error.message().contains("message_bytes_max"), "{}", error.message());

    let after = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert!(after.error.is_none(), "{:?}", after.error);
    mesh.stop().await
}

#[tokio::test]
async fn an_unknown_person_is_not_found_and_the_backends_words_stay_inside() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let outcome = mesh.office(GET_CITIZEN, r#"{"soDinhDanh":"999999999999"}"#, &handling()).await?;
    let error = outcome.error.context("an unknown person was found")?;
    assert_eq!(error.code(), tonic::Code::NotFound);
    assert!(!error.message().contains("999999999999"), "{}", error.message());
    assert!(status::read(&error).is_none(), "nobody denied anything");
    mesh.stop().await
}

/// A certificate of another mesh gets no further than the handshake; one that the registry does not bind gets
/// no further than a clear error.
#[tokio::test]
async fn strangers_are_turned_away() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let known: ClientProfile = client::profile(&mesh.mesh.layout.profiles[OFFICE])?;
    let name = "Trung tâm Phục vụ hành chính công TP Hà Nội";

    let other = DevPki::create(&mesh.folder.path().join("other-pki"), "other")?;
    let issued = other.issue_system("H26.90", name, "mot-cua")?;
    let stranger = ClientProfile { certificate: issued.certificate, key: issued.key.into(), ..known.clone() };
    let error = outcome_of(&stranger).await?.error.context("a certificate of another mesh was served")?;
    assert!(status::read(&error).is_none(), "a stranger learns no reason: {error:?}");

    let pki = DevPki::open(&mesh.mesh.layout.dir.join("pki"))?;
    let issued = pki.issue_system("H26.90", name, "chua-dang-ky")?;
    let unbound = ClientProfile { certificate: issued.certificate, key: issued.key.into(), ..known };
    let outcome = outcome_of(&unbound).await?;
    assert_eq!(reason(&outcome), Some(Reason::DenyCertificate), "{:?}", outcome.error);
    mesh.stop().await
}

async fn outcome_of(profile: &ClientProfile) -> Result<Outcome> {
    let pool = descriptors::pool(descriptors::DANCU)?;
    call::call_with(&pool, &Client::new(profile)?, GET_CITIZEN, PERSON, &handling()).await
}

async fn failure(answer: Result<client::Answer, tonic::Status>) -> Result<tonic::Status> {
    match answer {
        Err(status) => Ok(status),
        Ok(answer) => match answer.collect().await {
            Err(status) => Ok(status),
            Ok(_) => anyhow::bail!("it was answered"),
        },
    }
}

/// A public authority vouches for parties outside the political system alone: a node refuses its certificate although the
/// registry binds it to a system of a state agency (R-15, R-39), and takes the state's beside it.
#[tokio::test]
async fn a_certificate_of_a_public_authority_stands_for_no_system_of_an_agency() -> Result<()> {
    let mesh = TestMesh::start_changed(|layout| {
        let pki = DevPki::open(&layout.dir.join("pki"))?;
        let public = pki.issue(&Request::new(public_office()).with_branch(Branch::Public))?;
        let path = layout.dir.join("registry.yaml");
        let mut registry: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        let systems = registry["systems"].as_array_mut().context("no systems")?;
        let system = systems
            .iter_mut()
            .find(|system| system["agency"] == "H26.90" && system["id"] == "mot-cua")
            .context("no one-stop shop")?;
        let bound = system["certificates"].as_array_mut().context("no certificates")?;
        bound.push(serde_json::json!({ "file": public.certificate }));
        Ok(std::fs::write(path, registry.to_string())?)
    })
    .await?;
    let layout = &mesh.mesh.layout;
    let public = DevPki::open(&layout.dir.join("pki"))?.issued("H26.90-cong-cong")?.context("not issued")?;
    let office = client::profile(&layout.profiles[OFFICE])?;
    let office = ClientProfile { certificate: public.certificate, key: public.key.into(), ..office };
    let outcome = call::call(&Client::new(&office)?, GET_CITIZEN, PERSON, &handling()).await;
    let error = match outcome {
        Ok(outcome) => outcome.error.context("it was answered")?,
        // The contract is not shown to it either.
        Err(error) => error.downcast::<tonic::Status>()?,
    };
    let read = status::read(&error).with_context(|| error.to_string())?;
    assert_eq!(read.reason, Reason::DenyCertificate);
    assert!(error.message().contains("public authority vouches"), "{error}");
    mesh.stop().await
}

fn public_office() -> Holder {
    Holder::System {
        agency_code: "H26.90".to_owned(),
        agency_name: "Trung tâm Phục vụ hành chính công TP Hà Nội".to_owned(),
        system_id: "cong-cong".to_owned(),
    }
}
