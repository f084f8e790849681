//! The connection trial does what its instructions say, asked over a real socket by a generated client.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod common;

use std::time::{Duration, Instant, SystemTime};

use common::{Client, Running};
use lienthong_proto::vn::thunghiem::v1::trial_service_client::TrialServiceClient;
use lienthong_proto::vn::thunghiem::v1::{
    Echo, FieldViolation, GetRecordRequest, GetWatchRequest, Instruction, ListRecordsRequest, MirrorRequest,
    PutRecordRequest, Record, SendRecordsRequest,
};
use lienthong_samples::backend::BackendKind;
use lienthong_samples::thunghiem::records::{PAYLOAD_BYTES_MAX, PAYLOAD_PERIOD, record};
use lienthong_samples::thunghiem::service::MESSAGE_BYTES_MAX;
use tokio_stream::iter;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

type Trial = TrialServiceClient<Client>;

/// How long anything may take to become true; machines are slow and noisy.
const PATIENCE: Duration = Duration::from_secs(30);

fn trial(backend: &Running) -> Trial {
    TrialServiceClient::new(backend.client()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn get(instruction: Instruction) -> GetRecordRequest {
    GetRecordRequest { ma_ban_ghi: "TN-000007".into(), instruction: Some(instruction) }
}

fn list(count: u32, instruction: Instruction) -> ListRecordsRequest {
    ListRecordsRequest { count, instruction: Some(instruction), ..ListRecordsRequest::default() }
}

fn failing(code: Code) -> Instruction {
    Instruction { code: code as i32, message: "như đã yêu cầu".into(), ..Instruction::default() }
}

fn watched(watch: &str) -> Instruction {
    Instruction { watch: watch.into(), ..Instruction::default() }
}

/// Begun and cancelled calls of a watch.
async fn counts(trial: &mut Trial, watch: &str) -> (i64, i64) {
    let seen = trial.get_watch(GetWatchRequest { watch: watch.into() }).await.unwrap().into_inner();
    (seen.begun, seen.cancelled)
}

async fn until_cancelled(trial: &mut Trial, watch: &str) {
    let until = Instant::now() + PATIENCE;
    while counts(trial, watch).await != (1, 1) {
        assert!(Instant::now() < until, "{watch}: the cancellation was never seen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_record_is_got_by_key_with_the_payload_that_was_asked_for() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    for bytes in [0, 1, 4 * 1024 * 1024 + 1, PAYLOAD_BYTES_MAX] {
        let asked = Instruction { payload_bytes: u32::try_from(bytes).unwrap(), ..Instruction::default() };
        let answer = trial.get_record(get(asked)).await.unwrap().into_inner().record.unwrap();
        assert_eq!(answer, record(7, bytes));
        assert!(
            answer.du_lieu.iter().zip((0..PAYLOAD_PERIOD).cycle()).all(|(byte, expected)| *byte == expected)
        );
    }
    let unknown = GetRecordRequest { ma_ban_ghi: "TN-000000".into(), instruction: None };
    assert_eq!(trial.get_record(unknown).await.unwrap_err().code(), Code::NotFound);
    let empty = trial.put_record(PutRecordRequest::default()).await.unwrap().into_inner();
    assert_eq!(empty.record, None);
    backend.stop().await;
}

#[tokio::test]
async fn a_failure_has_its_code_message_details_and_pushback() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    let asked = Instruction {
        field_violations: vec![FieldViolation { field: "ma_ban_ghi".into(), description: "thiếu".into() }],
        error_reason: "TRIAL_REASON".into(),
        retry_delay: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        retry_pushback: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
        ..failing(Code::FailedPrecondition)
    };
    let status = trial.get_record(get(asked)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "như đã yêu cầu"));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1500");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "TRIAL_REASON");
    assert_eq!(details.bad_request().unwrap().field_violations[0].description, "thiếu");
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(2)));
    for code in 1..=16 {
        let status = trial.get_record(get(failing(Code::from_i32(code)))).await.unwrap_err();
        assert_eq!(status.code() as i32, code);
    }
    let beyond = Instruction { code: 17, ..Instruction::default() };
    assert_eq!(trial.get_record(get(beyond)).await.unwrap_err().code(), Code::InvalidArgument);
    backend.stop().await;
}

#[tokio::test]
async fn only_the_first_calls_of_a_watch_fail_where_that_is_asked_for() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    let asked = || Instruction { fail_first: 2, watch: "twice".into(), ..failing(Code::Unavailable) };
    for expected in [false, false, true, true] {
        assert_eq!(trial.get_record(get(asked())).await.is_ok(), expected);
    }
    assert_eq!(counts(&mut trial, "twice").await, (4, 0));
    backend.stop().await;
}

#[tokio::test]
async fn a_stream_comes_whole_or_fails_where_it_was_told_to() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    let mut read = async |request: ListRecordsRequest| -> Result<(usize, Option<Status>), Status> {
        let mut stream = trial.list_records(request).await?.into_inner();
        let mut messages = 0;
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    let record = message.record.unwrap();
                    assert_eq!(usize::try_from(record.so_thu_tu), Ok(messages));
                    messages += 1;
                }
                Ok(None) => return Ok((messages, None)),
                Err(status) => return Ok((messages, Some(status))),
            }
        }
    };
    let ended = read(list(250, Instruction { payload_bytes: 3, ..Instruction::default() })).await.unwrap();
    assert!(matches!(ended, (250, None)));
    for (count, after, expected) in [(5, 0, 0), (5, 3, 3), (5, 9, 5)] {
        let asked = Instruction { fail_after: after, ..failing(Code::DataLoss) };
        let (messages, status) = read(list(count, asked)).await.unwrap();
        assert_eq!((messages, status.unwrap().code()), (expected, Code::DataLoss));
    }
    let asked = Instruction { fail_after: 3, trailers_only: true, ..failing(Code::DataLoss) };
    assert_eq!(read(list(5, asked)).await.unwrap_err().code(), Code::DataLoss);
    let beyond = read(list(1_000_000, Instruction::default())).await.unwrap_err();
    assert!(beyond.message().starts_with("count is 1000000; at most 999999"), "{beyond}");
    backend.stop().await;
}

#[tokio::test]
async fn what_is_sent_is_summed_up_and_what_is_mirrored_comes_back() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    let sent = || (1..=20).map(|number| record(number, 1_000));
    let requests = sent().map(|record| SendRecordsRequest { record: Some(record), instruction: None });
    let summary = trial.send_records(iter(requests.collect::<Vec<_>>())).await.unwrap().into_inner();
    assert_eq!((summary.messages, summary.payload_bytes), (20, 20_000));
    assert_eq!(summary.last, Some(record(20, 1_000)));
    let nothing = trial.send_records(iter(Vec::new())).await.unwrap().into_inner();
    assert_eq!(nothing.messages, 0);
    let failing = SendRecordsRequest { instruction: Some(failing(Code::Aborted)), record: None };
    assert_eq!(trial.send_records(iter(vec![failing])).await.unwrap_err().code(), Code::Aborted);

    let requests = sent().map(|record| MirrorRequest { record: Some(record), instruction: None });
    let mut mirrored = trial.mirror(iter(requests.collect::<Vec<_>>())).await.unwrap().into_inner();
    let mut back: Vec<Record> = Vec::new();
    while let Some(message) = mirrored.message().await.unwrap() {
        back.extend(message.record);
    }
    assert_eq!(back, sent().collect::<Vec<_>>());
    backend.stop().await;
}

#[tokio::test]
async fn metadata_goes_back_as_it_came() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    let blob = [0, 159, 255, 10];
    let with_metadata = |instruction: Instruction| {
        let mut request = Request::new(get(instruction));
        let metadata = request.metadata_mut();
        metadata.insert("trial-note", "one".parse().unwrap());
        metadata.append("trial-tags", "a, b".parse().unwrap());
        metadata.append("trial-tags", "c".parse().unwrap());
        metadata.insert_bin("trial-blob-bin", MetadataValue::from_bytes(&blob));
        metadata.insert("x-undeclared", "seen, not sent back".parse().unwrap());
        request
    };
    let complete = |metadata: &MetadataMap| {
        let tags: Vec<_> = metadata.get_all("trial-tags").iter().collect();
        assert_eq!(tags, ["a, b", "c"]);
        assert_eq!(metadata.get("trial-note").unwrap(), "one");
        assert_eq!(metadata.get_bin("trial-blob-bin").unwrap().to_bytes().unwrap(), &blob[..]);
        assert!(metadata.get("x-undeclared").is_none());
    };
    // tonic merges the trailers of one answer into its metadata.
    for echo in [Echo::Initial, Echo::Trailers] {
        let asked = Instruction { echo: echo.into(), ..Instruction::default() };
        let (metadata, answer, _) = trial.get_record(with_metadata(asked)).await.unwrap().into_parts();
        complete(&metadata);
        let keys = ["trial-blob-bin", "trial-note", "trial-tags", "x-undeclared"];
        assert_eq!(answer.seen.unwrap().metadata_keys, keys);
    }
    let asked = Instruction { echo: Echo::Both.into(), ..failing(Code::NotFound) };
    complete(trial.get_record(with_metadata(asked)).await.unwrap_err().metadata());

    let asked = Instruction { echo: Echo::Trailers.into(), ..Instruction::default() };
    let mut request = with_metadata(Instruction::default()).map(|_| list(1, asked));
    request.set_timeout(PATIENCE);
    let mut stream = trial.list_records(request).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    complete(&stream.trailers().await.unwrap().unwrap());
    backend.stop().await;
}

#[tokio::test]
async fn the_head_comes_before_the_first_message() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    let pause = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let slow = ListRecordsRequest { count: 1, pause, instruction: None };
    let stream = tokio::time::timeout(PATIENCE, trial.list_records(slow)).await.unwrap().unwrap();
    drop(stream);
    backend.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_is_noticed_in_every_kind_of_call() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    let waiting = |watch: &str| Instruction { wait_for_cancellation: true, ..watched(watch) };
    let begun = SystemTime::now();

    let mut other = trial.clone();
    let unary = tokio::spawn(async move { other.get_record(get(waiting("unary"))).await });
    let mut other = trial.clone();
    let requests = iter([SendRecordsRequest { instruction: Some(waiting("client")), record: None }]);
    let sending = tokio::spawn(async move { other.send_records(requests).await });
    let mut stream = trial.list_records(list(2, waiting("server"))).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let requests = iter([MirrorRequest { instruction: Some(waiting("both")), record: None }]);
    let mirrored = trial.mirror(requests).await.unwrap();
    for watch in ["unary", "client"] {
        let until = Instant::now() + PATIENCE;
        while counts(&mut trial, watch).await != (1, 0) {
            assert!(Instant::now() < until, "{watch} never began");
        }
    }
    unary.abort();
    sending.abort();
    drop((stream, mirrored));
    for watch in ["unary", "client", "server", "both"] {
        until_cancelled(&mut trial, watch).await;
    }
    let seen = trial.get_watch(GetWatchRequest { watch: "unary".into() }).await.unwrap().into_inner();
    assert!(SystemTime::try_from(seen.cancelled_at.unwrap()).unwrap() > begun);
    backend.stop().await;
}

#[tokio::test]
async fn both_sides_may_compress() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    for encoding in [Gzip, Zstd] {
        let mut trial = trial(&backend).send_compressed(encoding).accept_compressed(encoding);
        let asked = Instruction { payload_bytes: 1_000_000, ..Instruction::default() };
        let mut request = Request::new(get(asked.clone()));
        request.metadata_mut().insert("trial-compress", "yes".parse().unwrap());
        let (metadata, answer, _) = trial.get_record(request).await.unwrap().into_parts();
        assert_eq!(metadata.get("grpc-encoding").unwrap(), encoding.to_string().as_str());
        assert_eq!(answer.record.unwrap(), record(7, 1_000_000));
        let plain = trial.get_record(get(asked)).await.unwrap();
        assert!(plain.metadata().get("grpc-encoding").is_none(), "only where it was asked for");
    }
    backend.stop().await;
}

#[tokio::test]
async fn the_time_that_is_left_is_told() {
    let backend = Running::start(BackendKind::Thunghiem, None);
    let mut trial = trial(&backend);
    let mut request = Request::new(get(Instruction::default()));
    request.set_timeout(PATIENCE);
    let left = trial.get_record(request).await.unwrap().into_inner().seen.unwrap().time_left.unwrap();
    assert!(Duration::try_from(left).unwrap() <= PATIENCE);
    let unlimited = trial.get_record(get(Instruction::default())).await.unwrap().into_inner();
    assert_eq!(unlimited.seen.unwrap().time_left, None);
    backend.stop().await;
}
