//! Every row of the access table is a method that the broker serves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use common::{Mesh, soon};
use http::Request;
use http_body_util::{BodyExt, Empty};
use lienthong_broker::access::Rpc;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

#[tokio::test]
async fn every_rpc_of_the_access_table_is_served() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut line = mesh.line(&broker, &mesh.unbound);
    let mut missing = Vec::new();
    for rpc in Rpc::ALL {
        let request = Request::post(format!("http://localhost{}", rpc.path()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Empty::new()))
            .unwrap();
        let response = soon(line.ready().await.unwrap().call(request)).await.unwrap();
        let head = Status::from_header_map(response.headers());
        let trailers = soon(response.into_body().collect()).await.unwrap().trailers().cloned();
        let status = head.or_else(|| Status::from_header_map(&trailers.unwrap())).unwrap();
        if status.code() == Code::Unimplemented {
            missing.push(rpc.path());
        }
    }
    assert!(missing.is_empty(), "in the table, and not served: {missing:#?}");
    soon(broker.stop()).await.unwrap();
}
