//! The sample configurations in `docs/config` are what the program prints, and read back. A changed key changes
//! them: run with `LIENTHONG_GOLDEN=write` to write them anew, and look at the difference.

use std::{fs, path::PathBuf};

use lienthong_broker::{BrokerConfig, watch_rules};
use lienthong_gateway::GatewayConfig;
use lienthong_node::NodeConfig;
use lienthong_telemetry::{load, sample_toml};
use lienthong_witness::WitnessConfig;

#[test]
fn the_sample_configurations_are_up_to_date_and_read_back() {
    let samples = [
        ("node.toml", sample_toml(&NodeConfig::sample())),
        ("broker.toml", sample_toml(&BrokerConfig::sample())),
        ("witness.toml", sample_toml(&WitnessConfig::sample())),
        ("watch.toml", watch_rules::DEFAULTS.to_owned()),
        ("gateway.toml", sample_toml(&GatewayConfig::default())),
    ];
    for (name, printed) in samples {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/config").join(name);
        if std::env::var_os("LIENTHONG_GOLDEN").is_some() {
            fs::write(&path, &printed).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == printed, "docs/config/{name} is out of date; LIENTHONG_GOLDEN=write writes it anew");
        match name {
            "node.toml" => assert_eq!(load::<NodeConfig>(&path).unwrap(), NodeConfig::sample()),
            "witness.toml" => assert_eq!(load::<WitnessConfig>(&path).unwrap(), WitnessConfig::sample()),
            "watch.toml" => drop(watch_rules::read(Some(&path)).unwrap()),
            "broker.toml" => drop(load::<BrokerConfig>(&path).unwrap()),
            _ => assert_eq!(load::<GatewayConfig>(&path).unwrap(), GatewayConfig::default()),
        }
    }
}
