//! Traces reach a real OTLP collector.
//!
//! One test: a process has one subscriber.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::time::Duration;

use lienthong_telemetry::{Identity, Telemetry, TelemetryConfig};
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

#[tokio::test]
async fn our_spans_are_exported_and_those_of_libraries_are_not() {
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
    tracing::info_span!(target: "lienthong_node", "exchange", dataset = "dancu.cong_dan").in_scope(|| {
        tracing::info_span!(target: "h2", "frame").in_scope(|| {});
    });
    assert!(Telemetry::init(&config, &identity).is_err(), "one subscriber a process");
    timeout(Duration::from_secs(20), telemetry.shutdown()).await.unwrap();

    let export = timeout(Duration::from_secs(20), exported.recv()).await.unwrap().unwrap();
    let [resource] = &export.resource_spans[..] else { panic!("one resource: {export:?}") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    let service = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    assert!(format!("{service:?}").contains("lienthong-node"), "{service:?}");
    let names: Vec<&str> =
        resource.scope_spans.iter().flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["exchange"]);
}
