//! Traces reach a real OTLP collector.
//!
//! One test: a process has one subscriber.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use lienthong_telemetry::{Identity, RpcSpan, Telemetry, TelemetryConfig, Traced};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

struct Collector(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).await.unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A call with this `traceparent`, and an answer to it that ends with these trailers; what the next hop is told.
async fn call(path: &str, parent: Option<&str>, end: &'static str) -> HeaderMap {
    let mut request = http::Request::post(path).body(()).unwrap();
    if let Some(parent) = parent {
        request.headers_mut().insert("traceparent", parent.parse().unwrap());
        request.headers_mut().insert("tracestate", "note=079123456789".parse().unwrap());
    }
    let span = RpcSpan::arrived(&mut request, |path| path == "/vn.dancu.v1.CitizenService/GetCitizen");
    let trailers = async move {
        Some(Ok(HeaderMap::from_iter([("grpc-status".parse().unwrap(), end.parse().unwrap())])))
    };
    let body = Full::new(Bytes::from_static(b"answer")).with_trailers(trailers);
    let answer = Traced::answer(http::Response::new(Box::pin(body)), span, |_| Some("FAIL_DEADLINE"));
    answer.into_body().collect().await.unwrap();
    request.headers().clone()
}

#[tokio::test]
async fn calls_are_exported_as_spans_of_the_trace_that_they_come_with() {
    let path = "/vn.dancu.v1.CitizenService/GetCitizen";
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let before = call(path, Some(parent), "0").await;
    assert_eq!(before["traceparent"], parent, "without an exporter nothing is made, and nothing touched");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = TelemetryConfig {
        otlp_endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
        ..TelemetryConfig::default()
    };
    let (exports, mut exported) = mpsc::channel(8);
    let collector = Routes::new(TraceServiceServer::new(Collector(exports))).into_axum_router();
    tokio::spawn(async move { axum::serve(listener, collector).await });
    let identity = Identity { role: "node".into(), mesh: "thử-nghiệm".into(), development: true };
    let telemetry = Telemetry::init(&config, &identity).unwrap();
    assert!(Telemetry::init(&config, &identity).is_err(), "one subscriber a process");

    let told = call(path, Some(parent), "4").await;
    call("/079123456789/made.up", None, "5").await;
    let unsampled = call(path, Some(&parent.replace("-01", "-00")), "0").await;
    timeout(Duration::from_secs(20), telemetry.shutdown()).await.unwrap();

    let export = timeout(Duration::from_secs(20), exported.recv()).await.unwrap().unwrap();
    let [resource] = &export.resource_spans[..] else { panic!("one resource: {export:?}") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    let service = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    assert!(format!("{service:?}").contains("lienthong-node"), "{service:?}");
    let spans: Vec<_> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let [known, unknown] = spans[..] else { panic!("two spans: {spans:?}") };

    assert_eq!((known.name.as_str(), known.kind), ("vn.dancu.v1.CitizenService/GetCitizen", 2));
    let (trace, id) = (hex(&known.trace_id), hex(&known.span_id));
    assert_eq!(
        (trace.as_str(), hex(&known.parent_span_id).as_str()),
        ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    );
    assert_eq!(told["traceparent"], format!("00-{trace}-{id}-01"), "the next hop descends from this span");
    assert!(!told.contains_key("tracestate"));
    let said: Vec<_> = known.attributes.iter().map(|said| said.key.as_str()).collect();
    assert_eq!(said, ["rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code", "lienthong.reason"]);
    assert_eq!(known.status.as_ref().map(|status| status.code), Some(2), "a deadline is a fault");

    assert_eq!(unknown.name, "unknown method");
    assert!(unknown.parent_span_id.is_empty() && unknown.trace_id != known.trace_id);
    assert_eq!(unknown.status.as_ref().map_or(0, |status| status.code), 0, "NOT_FOUND is an answer");
    assert!(!format!("{export:?}").contains("079123456789"), "what a caller makes up is not told");
    let unsampled = unsampled["traceparent"].to_str().unwrap();
    assert!(
        unsampled.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && unsampled.ends_with("-00"),
        "{unsampled}"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
