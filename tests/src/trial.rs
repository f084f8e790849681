//! The connection trial, called as an integrator's generated client calls it.

use std::time::Duration;

use anyhow::Result;
use lienthong_proto::vn::thunghiem::v1::{
    GetRecordRequest, GetWatchRequest, GetWatchResponse, Instruction, Record,
    trial_service_client::TrialServiceClient,
};
use lienthong_transport::Channel;
use tonic::{Request, metadata::MetadataMap};

use crate::{OFFICE, TestMesh, eventually};

/// A generated client of the trial service.
pub type Trial = TrialServiceClient<Channel<tonic::body::Body>>;

/// Largest message that the clients of these tests take or give, bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A client of the one-stop shop, once the trial is shared with it.
pub async fn client(mesh: &TestMesh) -> Result<Trial> {
    let client = TrialServiceClient::new(mesh.mesh.client(OFFICE)?.channel())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    eventually("the connection trial is shared", async || {
        Ok(client.clone().get_record(asked(get(Instruction::default()))).await.is_ok())
    })
    .await?;
    Ok(client)
}

/// A request with the purpose that every method of the trial takes.
pub fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("mesh-purpose", tonic::metadata::MetadataValue::from_static("STATE_MANAGEMENT"));
    request
}

/// A question for one record.
pub fn get(instruction: Instruction) -> GetRecordRequest {
    GetRecordRequest { ma_ban_ghi: "TN-000007".to_owned(), instruction: Some(instruction) }
}

/// A record to give.
pub fn record(number: i64, bytes: usize) -> Record {
    Record {
        ma_ban_ghi: format!("TN-{number:06}"),
        so_thu_tu: number,
        du_lieu: vec![7; bytes].into(),
        ..Record::default()
    }
}

/// What the provider saw of the calls that named a watch.
pub async fn watch(client: &mut Trial, name: &str) -> Result<GetWatchResponse> {
    Ok(client.get_watch(asked(GetWatchRequest { watch: name.to_owned() })).await?.into_inner())
}

/// The id of an exchange, in the head of its answer.
pub fn exchange_id(metadata: &MetadataMap) -> String {
    metadata.get("mesh-exchange-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned()
}

/// A duration as protobuf writes it.
pub fn duration(of: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(of.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(of.subsec_nanos()).unwrap_or(0),
    }
}
