//! The names of the node's metrics are a contract with its operator's dashboards.

use lienthong_node::metrics::Metrics;
use lienthong_telemetry::{Identity, Metrics as Register};
use lienthong_transport::Connections;

#[test]
fn metrics_are_those_of_the_golden_list() {
    let register = Register::new(&Identity { role: "node".into(), mesh: "demo".into(), development: true });
    Metrics::default().register(&register, &Connections::new());
    if std::env::var_os("LIENTHONG_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.txt");
        std::fs::write(path, register.list()).unwrap();
    }
    register.check_golden(include_str!("golden/metrics.txt")).unwrap();
}
