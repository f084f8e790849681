//! What the operator declares in the catalog, seen from the two ends of a call.

use anyhow::{Context, Result};
use lienthong::{
    client::Stated,
    commands::call::{self, Outcome},
};
use lienthong_audit::{log::LogReader, record};
use lienthong_proto::{
    lienthong::{
        audit::v1::{Exchange, PurposeSource, record::Body},
        options::v1::Purpose,
    },
    reason::Reason,
};
use lienthong_tests::{TestMesh, eventually, reason};

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
            let closed: Vec<Exchange> = entries.iter().filter_map(|entry| closing_of(entry, id)).collect();
            anyhow::ensure!(closed.len() == 2, "{} of 2 records", closed.len());
            for exchange in closed {
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

/// The exchange of a closing record with this id.
fn closing_of(entry: &[u8], id: uuid::Uuid) -> Option<Exchange> {
    match record::decode(entry).ok()?.body? {
        Body::Closing(closing) => closing.exchange.filter(|exchange| exchange.id == id.as_bytes()),
        _ => None,
    }
}
