//! The scenarios in Rust: tonic with its own transport, with code that tonic-prost-build generated.
#![allow(clippy::print_stdout)] // outcomes are written to it

use std::{
    collections::HashMap,
    fs,
    io::BufRead as _,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lienthong_proto::{
    descriptors,
    vn::{
        dancu::v1::citizen_service_client::CitizenServiceClient,
        danhmuc::v1::administrative_unit_service_client::AdministrativeUnitServiceClient,
        dkdn::v1::enterprise_service_client::EnterpriseServiceClient,
        thunghiem::v1::{
            MirrorRequest, MirrorResponse, Record, Seen, SendRecordsRequest,
            trial_service_client::TrialServiceClient,
        },
    },
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Extensions, Request, Status, Streaming,
    codec::CompressionEncoding::Gzip,
    metadata::{KeyAndValueRef, MetadataKey, MetadataMap},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt as _;

const MESSAGE_BYTES_MAX: usize = 32 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let mut channels = HashMap::new();
    let mut lines = std::io::stdin().lock().lines();
    while let Some(line) = lines.next().transpose()? {
        if line.trim().is_empty() {
            continue;
        }
        let scenario: Value = serde_json::from_str(&line)?;
        let caller = scenario["caller"].as_str().unwrap_or_default().to_owned();
        let channel = match channels.get(&caller) {
            Some(channel) => Channel::clone(channel),
            None => channels.entry(caller.clone()).or_insert(open(&caller)?).clone(),
        };
        let asks = |key: &str| scenario[key].as_bool().unwrap_or_default();
        let cannot = match (asks("retry"), asks("waitForReady") && !asks("pause")) {
            (true, _) => {
                "tonic has no retry of its own; tower's retry layer repeats requests that the program can clone"
            }
            (_, true) => "tonic has no wait-for-ready: a call fails while its node is away",
            _ => "",
        };
        if !cannot.is_empty() {
            println!("{}", json!({"id": scenario["id"], "unsupported": cannot}));
            continue;
        }
        if asks("pause") {
            Call::new(&scenario).make(channel.clone()).await?;
            println!();
            lines.next().transpose()?;
        }
        let mut outcome = Call::new(&scenario).make(channel.clone()).await?;
        if scenario.get("getAdministrativeUnit").is_some() {
            let times = scenario["times"].as_u64().unwrap_or(1);
            for _ in 1..times {
                if outcome["code"] != 0 {
                    break;
                }
                outcome = Call::new(&scenario).make(channel.clone()).await?;
            }
        }
        println!("{outcome}");
    }
    Ok(())
}

/// A channel that connects when it is first used, and again when it must.
fn open(caller: &str) -> Result<Channel> {
    let named = |name: &str| {
        let variable = format!("LIENTHONG_{}_{name}", caller.to_uppercase());
        std::env::var(&variable).context(variable)
    };
    let file = |name: &str| Ok::<_, anyhow::Error>(fs::read(named(name)?)?);
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(file("TRUST")?))
        .identity(Identity::from_pem(file("CERTIFICATE")?, file("KEY")?))
        .domain_name(named("SERVER_NAME")?);
    let endpoint = Endpoint::from_shared(format!("https://{}", named("NODE")?))?;
    Ok(endpoint.tls_config(tls)?.connect_lazy())
}

/// One call of a scenario.
struct Call<'a> {
    scenario: &'a Value,
    outcome: Map<String, Value>,
    begun: Instant,
}

/// What a call gives before it ends.
type Ended = Result<MetadataMap, Status>;

impl<'a> Call<'a> {
    fn new(scenario: &'a Value) -> Self {
        let outcome = Map::from_iter([
            ("id".to_owned(), scenario["id"].clone()),
            ("messages".to_owned(), 0.into()),
            ("payloadBytes".to_owned(), 0.into()),
            ("payloadIntact".to_owned(), true.into()),
        ]);
        Self { scenario, outcome, begun: Instant::now() }
    }

    async fn make(mut self, channel: Channel) -> Result<Value> {
        let ended = match self.scenario["cancelAfterMs"].as_u64() {
            None => self.dispatch(channel).await?,
            // A call is cancelled by dropping it.
            Some(after_ms) => {
                let cancelled =
                    tokio::time::timeout(Duration::from_millis(after_ms), self.dispatch(channel)).await;
                if let Ok(ended) = cancelled {
                    ended?
                } else {
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                    self.put("cancelledAtMs", u64::try_from(now.as_millis())?);
                    Err(Status::cancelled("dropped"))
                }
            }
        };
        let elapsed = self.elapsed_ms();
        self.put("endedMs", elapsed);
        match ended {
            Ok(trailers) => {
                self.put("code", 0);
                self.put("trailers", entries(&trailers));
            }
            Err(status) => self.failed(&status),
        }
        Ok(Value::Object(self.outcome))
    }

    async fn dispatch(&mut self, channel: Channel) -> Result<Ended> {
        let mut trial = TrialServiceClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        if self.scenario["gzip"] == true {
            trial = trial.send_compressed(Gzip).accept_compressed(Gzip);
        }
        let (name, asked) =
            self.scenario.as_object().context("no scenario")?.iter().find_map(call_of).context("no call")?;
        Ok(match name {
            "getRecord" => {
                let answer = trial
                    .get_record(self.request(read(descriptors::THUNGHIEM, "GetRecordRequest", asked)?)?)
                    .await;
                self.one(answer, |it| (it.record, it.seen, None))
            }
            "putRecord" => {
                let mut message: lienthong_proto::vn::thunghiem::v1::PutRecordRequest =
                    read(descriptors::THUNGHIEM, "PutRecordRequest", asked)?;
                message.record = self.fill(message.record);
                let answer = trial.put_record(self.request(message)?).await;
                self.one(answer, |it| (it.record, it.seen, None))
            }
            "listRecords" => {
                let request = self.request(read(descriptors::THUNGHIEM, "ListRecordsRequest", asked)?)?;
                let stream = trial.list_records(request).await;
                self.each(stream, |it| it.record, async || {}).await
            }
            "sendRecords" => {
                let mut message: SendRecordsRequest =
                    read(descriptors::THUNGHIEM, "SendRecordsRequest", asked)?;
                message.record = self.fill(message.record);
                let rest = SendRecordsRequest { instruction: None, ..message.clone() };
                let messages = std::iter::once(message).chain(std::iter::repeat(rest)).take(self.times());
                let answer = trial.send_records(self.request(tokio_stream::iter(messages))?).await;
                self.one(answer, |it| (it.last, it.seen, Some(it.messages)))
            }
            "mirror" => {
                let mut message: MirrorRequest = read(descriptors::THUNGHIEM, "MirrorRequest", asked)?;
                message.record = self.fill(message.record);
                let rest = MirrorRequest { instruction: None, ..message.clone() };
                let (send, receive) = mpsc::channel(1);
                send.send(message).await?;
                let stream = trial.mirror(self.request(ReceiverStream::new(receive))?).await;
                let mut left = self.times() - 1;
                let mut send = Some(send);
                let each = |it: MirrorResponse| it.record;
                self.each(stream, each, async || {
                    if left == 0 {
                        send = None;
                    } else if let Some(send) = &send {
                        left -= 1;
                        let _ = send.send(rest.clone()).await;
                    }
                })
                .await
            }
            _ => self.other(channel, name, asked).await?,
        })
    }

    /// A call of another service than the trial's.
    async fn other(&mut self, channel: Channel, name: &str, asked: &Value) -> Result<Ended> {
        Ok(match name {
            "verifyRecord" => {
                let request =
                    self.request(read(descriptors::DANCU, "vn.dancu.v1.VerifyRecordRequest", asked)?)?;
                let answer = CitizenServiceClient::new(channel).verify_record(request).await;
                self.one(answer, |_| (None, None, None))
            }
            "syncCitizens" => {
                let request =
                    self.request(read(descriptors::DANCU, "vn.dancu.v1.SyncCitizensRequest", asked)?)?;
                let stream = CitizenServiceClient::new(channel).sync_citizens(request).await;
                self.each(stream, |_| None, async || {}).await
            }
            "getEnterprise" => {
                let request =
                    self.request(read(descriptors::DKDN, "vn.dkdn.v1.GetEnterpriseRequest", asked)?)?;
                let answer = EnterpriseServiceClient::new(channel).get_enterprise(request).await;
                self.one(answer, |_| (None, None, None))
            }
            "getAdministrativeUnit" => {
                let request = self.request(read(
                    descriptors::DANHMUC,
                    "vn.danhmuc.v1.GetAdministrativeUnitRequest",
                    asked,
                )?)?;
                let answer =
                    AdministrativeUnitServiceClient::new(channel).get_administrative_unit(request).await;
                self.one(answer, |_| (None, None, None))
            }
            _ => {
                let mut grpc = tonic::client::Grpc::new(channel);
                grpc.ready().await?;
                let path = "/lienthong.interop.v1.NobodyService/Get".parse()?;
                let codec = tonic_prost::ProstCodec::<(), ()>::default();
                let answer = grpc.unary(self.request(())?, path, codec).await;
                self.one(answer, |()| (None, None, None))
            }
        })
    }

    /// The request with the scenario's metadata and deadline.
    fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::from_parts(MetadataMap::new(), Extensions::default(), message);
        for entry in self.scenario["metadata"].as_array().into_iter().flatten() {
            let (key, value) =
                (entry["key"].as_str().context("key")?, entry["value"].as_str().context("value")?);
            if key.ends_with("-bin") {
                let value = tonic::metadata::BinaryMetadataValue::from_bytes(&STANDARD.decode(value)?);
                request.metadata_mut().append_bin(MetadataKey::from_bytes(key.as_bytes())?, value);
            } else {
                request.metadata_mut().append(MetadataKey::from_bytes(key.as_bytes())?, value.parse()?);
            }
        }
        if let Some(ms) = self.scenario["deadlineMs"].as_u64() {
            request.set_timeout(Duration::from_millis(ms));
        }
        Ok(request)
    }

    /// One answer. Its trailers are merged into its initial metadata, over keys that both have: tonic tells no more.
    fn one<T>(
        &mut self,
        answer: Result<tonic::Response<T>, Status>,
        parts: impl FnOnce(T) -> (Option<Record>, Option<Seen>, Option<i64>),
    ) -> Ended {
        let (metadata, answer, _) = answer?.into_parts();
        let elapsed = self.elapsed_ms();
        self.put("headMs", elapsed);
        self.put("initial", entries(&metadata));
        let (record, seen, counted) = parts(answer);
        self.take(record);
        if let Some(counted) = counted {
            self.put("counted", counted);
        }
        if let Some(seen) = seen {
            let left = seen.time_left.map(|left| format!("{}.{:09}s", left.seconds, left.nanos));
            let seen = json!({"metadataKeys": seen.metadata_keys, "timeLeft": left, "consumer": seen.consumer,
                "system": seen.system, "purpose": seen.purpose});
            self.put("seen", seen);
        }
        Ok(metadata)
    }

    /// A stream of answers; `answered` is awaited after each.
    async fn each<T>(
        &mut self,
        stream: Result<tonic::Response<Streaming<T>>, Status>,
        record: impl Fn(T) -> Option<Record>,
        mut answered: impl AsyncFnMut(),
    ) -> Ended {
        let (initial, mut stream, _) = stream?.into_parts();
        let elapsed = self.elapsed_ms();
        self.put("headMs", elapsed);
        self.put("initial", entries(&initial));
        while let Some(answer) = stream.message().await? {
            self.take(record(answer));
            answered().await;
        }
        Ok(stream.trailers().await?.unwrap_or_default())
    }

    fn take(&mut self, record: Option<Record>) {
        let elapsed = self.elapsed_ms();
        self.outcome.entry("firstMs").or_insert(elapsed.into());
        self.add("messages", 1);
        let Some(record) = record else { return };
        self.add("payloadBytes", record.du_lieu.len() as u64);
        if record.du_lieu[..] != payload(record.du_lieu.len()) {
            self.put("payloadIntact", false);
        }
        let last = json!({"maBanGhi": record.ma_ban_ghi, "tieuDe": record.tieu_de, "soThuTu": record.so_thu_tu,
            "ghiChu": record.ghi_chu, "noiBo": record.noi_bo});
        self.put("last", last);
    }

    fn failed(&mut self, status: &Status) {
        self.put("code", status.code() as i32);
        if status.code() != Code::Ok {
            self.put("message", status.message());
        }
        self.put("trailers", entries(status.metadata()));
        let details = status.get_error_details();
        if let Some(info) = details.error_info() {
            self.put("reason", info.reason.as_str());
            self.put("domain", info.domain.as_str());
        }
        if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
            self.put("retryDelayMs", u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(bad) = details.bad_request() {
            let fields: Vec<_> =
                bad.field_violations.iter().map(|violation| violation.field.clone()).collect();
            self.put("fields", fields);
        }
    }

    fn fill(&self, record: Option<Record>) -> Option<Record> {
        match self.scenario["payloadBytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok()) {
            Some(bytes) => Some(Record { du_lieu: payload(bytes).into(), ..record.unwrap_or_default() }),
            None => record,
        }
    }

    fn times(&self) -> usize {
        self.scenario["times"].as_u64().and_then(|times| usize::try_from(times).ok()).unwrap_or_default()
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.outcome.insert(key.to_owned(), value.into());
    }

    fn add(&mut self, key: &str, more: u64) {
        let before = self.outcome.get(key).and_then(Value::as_u64).unwrap_or_default();
        self.put(key, before + more);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The call among the fields of a scenario.
fn call_of<'a>((name, value): (&'a String, &'a Value)) -> Option<(&'a str, &'a Value)> {
    let calls = ["get", "put", "list", "send", "mirror", "verify", "sync"];
    calls.iter().any(|call| name.starts_with(call)).then_some((name.as_str(), value))
}

/// A message from protobuf's JSON, which prost has not: prost-reflect reads it.
fn read<T: Message + Default>(set: &'static [u8], name: &str, json: &Value) -> Result<T> {
    let pool: DescriptorPool = descriptors::pool(set)?;
    let full = if name.contains('.') { name.to_owned() } else { format!("vn.thunghiem.v1.{name}") };
    let descriptor = pool.get_message_by_name(&full).context(full)?;
    let message = DynamicMessage::deserialize(descriptor, json)?;
    Ok(T::decode(message.encode_to_vec().as_slice())?)
}

fn entries(metadata: &MetadataMap) -> Vec<Value> {
    let mut entries = Vec::new();
    for entry in metadata.iter() {
        let (key, value) = match entry {
            KeyAndValueRef::Ascii(key, value) => {
                (key.as_str(), value.to_str().unwrap_or_default().to_owned())
            }
            KeyAndValueRef::Binary(key, value) => {
                (key.as_str(), STANDARD.encode(value.to_bytes().unwrap_or_default()))
            }
        };
        if key.starts_with("trial-") || key == "mesh-exchange-id" {
            entries.push(json!({"key": key, "value": value}));
        }
    }
    entries
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..251).cycle().take(bytes).collect()
}
