//! Every kind of call through two nodes, as generated clients make them: nothing of gRPC is lost on the way, both
//! records of each exchange say the same, and what a dataset does not declare stays where it was.
#![allow(clippy::unwrap_used, clippy::too_many_lines)] // test code

use std::time::{Duration, Instant};

use anyhow::Result;
use lienthong::demo::plan::Plan;
use lienthong_proto::{
    lienthong::audit::v1::{Closing, Side, Status},
    reason::Reason,
    status,
    vn::thunghiem::v1::{
        Echo, FieldViolation, Instruction, ListRecordsRequest, MirrorRequest, PutRecordRequest,
        SendRecordsRequest,
    },
};
use lienthong_tests::{
    OFFICE, TestMesh, eventually,
    records::{closings, records},
    trial::{self, asked, duration, exchange_id, get, record},
};
use tonic::{Code, codec::CompressionEncoding, metadata::MetadataValue};
use tonic_types::StatusExt;

#[tokio::test]
async fn all_kinds_of_call_pass_and_both_sides_record_the_same() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let plain = trial::client(&mesh).await?;
    let packed = |encoding| plain.clone().send_compressed(encoding).accept_compressed(encoding);
    let clients = [plain.clone(), packed(CompressionEncoding::Gzip), packed(CompressionEncoding::Zstd)];
    let mut exchanges = Vec::new();
    for (mut client, compress) in clients.into_iter().zip(["", "gzip", "zstd"]) {
        let asked_so = |request: &mut tonic::metadata::MetadataMap| {
            if !compress.is_empty() {
                request.insert("trial-compress", compress.parse().unwrap());
            }
        };
        let mut request = asked(get(Instruction { payload_bytes: 100_000, ..Instruction::default() }));
        asked_so(request.metadata_mut());
        let answer = client.get_record(request).await?;
        let encoding = answer.metadata().get("grpc-encoding").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(encoding.unwrap_or_default(), compress, "the backend's choice reaches the caller");
        exchanges.push((exchange_id(answer.metadata()), 1));
        let got = answer.into_inner().record.unwrap();
        assert_eq!((got.du_lieu.len(), got.noi_bo.as_str()), (100_000, ""));

        let put = PutRecordRequest { record: Some(record(9, 0)), instruction: None };
        let answer = client.put_record(asked(put)).await?;
        exchanges.push((exchange_id(answer.metadata()), 1));
        assert_eq!(answer.into_inner().record.unwrap().so_thu_tu, 9);

        let list = ListRecordsRequest {
            count: 50,
            instruction: Some(Instruction { payload_bytes: 5_000, ..Instruction::default() }),
            ..ListRecordsRequest::default()
        };
        let mut request = asked(list);
        asked_so(request.metadata_mut());
        let answer = client.list_records(request).await?;
        exchanges.push((exchange_id(answer.metadata()), 50));
        let mut stream = answer.into_inner();
        for number in 0..50 {
            assert_eq!(stream.message().await?.unwrap().record.unwrap().so_thu_tu, number);
        }
        assert!(stream.message().await?.is_none());

        let sent: Vec<_> = (0..40)
            .map(|number| SendRecordsRequest { record: Some(record(number, 3_000)), instruction: None })
            .collect();
        let answer = client.send_records(asked(tokio_stream::iter(sent))).await?;
        exchanges.push((exchange_id(answer.metadata()), 1));
        let summary = answer.into_inner();
        assert_eq!((summary.messages, summary.payload_bytes), (40, 120_000));

        exchanges.push((mirror(&mut client).await?, 20));
    }

    let log = mesh.mesh.layout.log.clone();
    eventually("both records of each exchange are in the log and agree", async || {
        let records = records(&log)?;
        for (exchange, messages) in &exchanges {
            let pair = closings(&records, exchange)?;
            anyhow::ensure!(pair.len() == 2, "{} closing records of {exchange}", pair.len());
            agree(pair[0], pair[1], *messages)?;
        }
        Ok(true)
    })
    .await?;
    mesh.stop().await
}

/// A conversation: each record comes back before the next one goes, and the caller's end is heard.
async fn mirror(client: &mut trial::Trial) -> Result<String> {
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(receive);
    let first = MirrorRequest { record: Some(record(0, 10)), instruction: None };
    send.send(first).await?;
    let answer = client.mirror(asked(outgoing)).await?;
    let exchange = exchange_id(answer.metadata());
    let mut incoming = answer.into_inner();
    for number in 1..20 {
        assert_eq!(incoming.message().await?.unwrap().record.unwrap().so_thu_tu, number - 1);
        send.send(MirrorRequest { record: Some(record(number, 10)), instruction: None }).await?;
    }
    assert_eq!(incoming.message().await?.unwrap().record.unwrap().so_thu_tu, 19);
    drop(send);
    assert!(incoming.message().await?.is_none());
    Ok(exchange)
}

/// What the two sides of one exchange must say alike.
fn agree(one: &Closing, other: &Closing, messages: u64) -> Result<()> {
    for closing in [one, other] {
        let response = closing.response.as_ref().unwrap();
        anyhow::ensure!(closing.status == i32::from(Status::Delivered), "ended with {:?}", closing.status());
        anyhow::ensure!(response.messages == messages, "{} messages", response.messages);
        anyhow::ensure!(response.hmac.len() == 32);
    }
    anyhow::ensure!(one.request == other.request, "the digests of the request differ");
    anyhow::ensure!(one.response == other.response, "the digests of the response differ");
    anyhow::ensure!(one.records == other.records, "{} and {} records", one.records, other.records);
    anyhow::ensure!(one.exchange.as_ref().unwrap().side != other.exchange.as_ref().unwrap().side);
    Ok(())
}

#[tokio::test]
async fn the_words_of_the_applications_pass_as_declared_and_inside_the_digests() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let mut client = trial::client(&mesh).await?;

    // Metadata both ways: text, repeated keys, bytes; what is not declared is dropped and counted.
    let mut request = asked(get(Instruction { echo: Echo::Both.into(), ..Instruction::default() }));
    let metadata = request.metadata_mut();
    metadata.insert("trial-note", MetadataValue::from_static("xin chao"));
    metadata.append("trial-tags", MetadataValue::from_static("a"));
    metadata.append("trial-tags", MetadataValue::from_static("b"));
    metadata.insert_bin("trial-blob-bin", MetadataValue::from_bytes(&[0, 255, 7]));
    metadata.insert("x-not-declared", MetadataValue::from_static("stays"));
    metadata.insert("authorization", MetadataValue::from_static("Bearer stays"));
    let answer = client.get_record(request).await?;
    let head = answer.metadata();
    assert_eq!(head.get("trial-note").unwrap(), "xin chao");
    let tags: Vec<_> = head.get_all("trial-tags").iter().map(|tag| tag.to_str().unwrap()).collect();
    // Trailers are merged into the metadata of a unary answer.
    assert!(tags.starts_with(&["a", "b"]), "{tags:?}");
    assert_eq!(head.get_bin("trial-blob-bin").unwrap().to_bytes()?.as_ref(), [0, 255, 7]);
    let with_words = exchange_id(head);
    let seen = answer.into_inner().seen.unwrap();
    let keys: Vec<_> = seen.metadata_keys.iter().filter(|key| !key.starts_with("mesh-")).collect();
    assert_eq!(keys, ["trial-blob-bin", "trial-note", "trial-tags"]);
    assert_eq!((seen.consumer.as_str(), seen.purpose.as_str()), ("H26.90", "STATE_MANAGEMENT"));

    // A status with its message and details; DebugInfo is not declared.
    let refused = Instruction {
        code: Code::InvalidArgument as i32,
        message: "mã bản ghi không hợp lệ".to_owned(),
        field_violations: vec![FieldViolation { field: "ma_ban_ghi".into(), description: "thiếu".into() }],
        error_reason: "KHONG_HOP_LE".to_owned(),
        retry_delay: Some(duration(Duration::from_secs(3))),
        debug_detail: "stack".to_owned(),
        retry_pushback: Some(duration(Duration::from_millis(250))),
        echo: Echo::Trailers.into(),
        ..Instruction::default()
    };
    let mut request = asked(get(refused.clone()));
    request.metadata_mut().insert("trial-note", MetadataValue::from_static("again"));
    let failed = client.get_record(request).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::InvalidArgument, "mã bản ghi không hợp lệ"));
    assert!(status::read(&failed).is_none(), "the provider's words are not the mesh's");
    let details = failed.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].description, "thiếu");
    assert_eq!(details.error_info().unwrap().reason, "KHONG_HOP_LE");
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(3)));
    assert!(details.debug_info().is_none());
    assert_eq!(failed.metadata().get("grpc-retry-pushback-ms").unwrap(), "250");
    assert_eq!(failed.metadata().get("trial-note").unwrap(), "again");
    let failed_at_once = exchange_id(failed.metadata());

    // The same after three messages of a stream, and as a stream that is nothing but its status.
    let mut statuses = vec![failed_at_once.clone()];
    for (fail_after, trailers_only) in [(3, false), (0, true)] {
        let instruction = Instruction { fail_after, trailers_only, ..refused.clone() };
        let list = ListRecordsRequest { count: 10, instruction: Some(instruction), ..Default::default() };
        let mut messages = 0;
        let failed = match client.list_records(asked(list)).await {
            Err(failed) => failed,
            Ok(answer) => {
                let mut stream = answer.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(_)) => messages += 1,
                        Ok(None) => anyhow::bail!("the stream ended well"),
                        Err(failed) => break failed,
                    }
                }
            }
        };
        assert_eq!(messages, fail_after);
        assert_eq!((failed.code(), failed.message()), (Code::InvalidArgument, "mã bản ghi không hợp lệ"));
        assert!(failed.get_error_details().bad_request().is_some());
        statuses.push(exchange_id(failed.metadata()));
    }

    let log = mesh.mesh.layout.log.clone();
    eventually("the records count what was dropped and digest what passed", async || {
        let records = records(&log)?;
        for exchange in statuses.iter().chain([&with_words]) {
            let pair = closings(&records, exchange)?;
            anyhow::ensure!(pair.len() == 2, "{} closing records of {exchange}", pair.len());
            anyhow::ensure!(pair[0].request == pair[1].request && pair[0].response == pair[1].response);
            let of =
                |side: Side| pair.iter().find(|it| it.exchange.as_ref().unwrap().side == i32::from(side));
            let (consumer, provider) = (of(Side::Consumer).unwrap(), of(Side::Provider).unwrap());
            if *exchange == with_words {
                assert_eq!((consumer.metadata_dropped, provider.metadata_dropped), (2, 0));
            } else {
                assert_eq!((consumer.metadata_dropped, provider.metadata_dropped), (0, 1), "DebugInfo");
            }
        }
        Ok(true)
    })
    .await?;
    mesh.stop().await
}

#[tokio::test]
async fn deadlines_sizes_and_heads_are_those_of_grpc() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let mut client = trial::client(&mesh).await?;

    // The deadline reaches the backend shortened, and ends the call.
    let slow = Instruction { delay: Some(duration(Duration::from_secs(30))), ..Instruction::default() };
    let mut request = asked(get(slow));
    request.set_timeout(Duration::from_millis(400));
    let begun = Instant::now();
    let late = client.get_record(request).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let mut request = asked(get(Instruction::default()));
    request.set_timeout(Duration::from_secs(20));
    let seen = client.get_record(request).await?.into_inner().seen.unwrap();
    let left = seen.time_left.unwrap();
    assert!((0..20).contains(&left.seconds), "{left:?} of 20 s");

    // The head of an answer comes before its first message.
    let pause = Some(duration(Duration::from_secs(5)));
    let list = ListRecordsRequest { count: 1, pause, ..ListRecordsRequest::default() };
    let begun = Instant::now();
    let answer = client.list_records(asked(list)).await?;
    assert!(begun.elapsed() < Duration::from_secs(4), "the head waited for the message");
    drop(answer);

    // Empty, large, too large.
    let empty = PutRecordRequest::default();
    assert_eq!(client.put_record(asked(empty)).await?.into_inner().record, None);
    for bytes in [5_000_000, 8_000_000] {
        let put = PutRecordRequest { record: Some(record(1, bytes)), instruction: None };
        let got = client.put_record(asked(put)).await?.into_inner().record.unwrap();
        assert_eq!(got.du_lieu.len(), bytes);
    }
    let put = PutRecordRequest { record: Some(record(1, 17_000_000)), instruction: None };
    let refused = client.put_record(asked(put)).await.unwrap_err();
    let read = status::read(&refused).unwrap();
    assert_eq!((refused.code(), read.reason), (Code::ResourceExhausted, Reason::FailMessageTooLarge));
    assert!(read.metadata["detail"].contains("message_bytes_max"), "{:?}", read.metadata);
    // The same when only its packed form is small.
    let mut packed = client.clone().send_compressed(CompressionEncoding::Gzip);
    let put = PutRecordRequest { record: Some(record(1, 17_000_000)), instruction: None };
    let refused = packed.put_record(asked(put)).await.unwrap_err();
    assert_eq!(status::read(&refused).unwrap().reason, Reason::FailMessageTooLarge);

    // Metadata larger than what passes is named, not cut.
    let mut request = asked(get(Instruction::default()));
    request.metadata_mut().insert("trial-note", "x".repeat(9_000).parse()?);
    let refused = client.get_record(request).await.unwrap_err();
    let read = status::read(&refused).unwrap();
    assert_eq!((refused.code(), read.reason), (Code::InvalidArgument, Reason::DenyContext));
    assert!(read.metadata["detail"].contains("6144"), "{:?}", read.metadata);
    // So are headers larger than a call may have, whatever they say.
    let mut request = asked(get(Instruction::default()));
    request.metadata_mut().insert("x-large", "x".repeat(20_000).parse()?);
    let refused = client.get_record(request).await.unwrap_err();
    let read = status::read(&refused).unwrap();
    assert_eq!(read.reason, Reason::DenyContext);
    assert!(read.metadata["detail"].contains("16384"), "{:?}", read.metadata);
    mesh.stop().await
}

#[tokio::test]
async fn an_encoding_that_the_mesh_cannot_read_is_refused_as_grpc_asks() -> Result<()> {
    let mesh = TestMesh::start_plan(&Plan::demo().with_second_node(), |_| Ok(())).await?;
    let mut client = trial::client(&mesh).await?;
    let channel = mesh.mesh.client(OFFICE)?.channel();
    let send = async |encoding: &str| {
        // A message that says it is compressed, and is nothing; with it the request ends.
        let body = http_body_util::Full::new(bytes::Bytes::from_static(&[1, 0, 0, 0, 2, 8, 1]));
        let request = http::Request::post("/vn.thunghiem.v1.TrialService/GetRecord")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", encoding)
            .header("mesh-purpose", "STATE_MANAGEMENT")
            .body(tonic::body::Body::new(body))?;
        anyhow::Ok(channel.send(request).await?)
    };
    let reason = |answer: &http::Response<_>| {
        let said = tonic::Status::from_header_map(answer.headers()).unwrap();
        status::read(&said).unwrap().reason
    };
    let answer = send("deflate").await?;
    assert_eq!(answer.headers()["grpc-status"], "12");
    assert_eq!(answer.headers()["grpc-accept-encoding"], "identity,gzip,zstd");
    assert_eq!(reason(&answer), Reason::FailUnsupportedEncoding);
    for encoding in ["identity", "gzip", "zstd"] {
        // Also with a second node to try: what is refused is not sent to it.
        let answer = send(encoding).await?;
        assert_eq!(reason(&answer), Reason::FailMalformedMessage, "{encoding}");
        assert!(answer.headers().contains_key("mesh-exchange-id"));
    }
    // And the node lives on.
    assert!(client.get_record(asked(get(Instruction::default()))).await?.into_inner().record.is_some());
    mesh.stop().await
}
