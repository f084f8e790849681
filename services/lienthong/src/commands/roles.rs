//! `lienthong node|broker|gateway`: run, check the configuration, print one to begin from.

use std::{process::ExitCode, sync::Arc};

use anyhow::Result;
use lienthong_broker::BrokerConfig;
use lienthong_gateway::GatewayConfig;
use lienthong_node::NodeConfig;
use lienthong_telemetry::{Telemetry, TelemetryConfig, health::Identity, load, sample_toml};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{NodeCommand, RoleCommand, RunArgs},
    commands::{block_on, sandbox, stop_signal},
    http_front::HttpFront,
    out,
};

/// `lienthong node`.
pub fn node(command: NodeCommand) -> Result<ExitCode> {
    match command {
        NodeCommand::SampleConfig => Ok(sample(&sample_toml(&NodeConfig::sample()))),
        NodeCommand::CheckConfig(args) => checked(&load::<NodeConfig>(&args.config)?, lienthong_node::check),
        NodeCommand::Run(args) => {
            let Some(args) = args.as_role() else {
                return block_on(sandbox::run(args.sandbox, args.with_parent));
            };
            let config: NodeConfig = load(&args.config)?;
            let identity = identity("node", &config.mesh, config.development);
            serve(&args, &config.telemetry.clone(), &identity, async move |stop| {
                let (ready, _told) = oneshot::channel();
                Ok(lienthong_node::run(config, Arc::new(HttpFront::default()), ready, stop).await?)
            })
        }
    }
}

/// `lienthong broker`.
pub fn broker(command: RoleCommand) -> Result<ExitCode> {
    match command {
        RoleCommand::SampleConfig => Ok(sample(&sample_toml(&BrokerConfig::sample()))),
        RoleCommand::CheckConfig(args) => {
            checked(&load::<BrokerConfig>(&args.config)?, lienthong_broker::check)
        }
        RoleCommand::Run(args) => {
            let config: BrokerConfig = load(&args.config)?;
            let identity = identity("broker", &config.mesh, config.development);
            serve(&args, &config.telemetry.clone(), &identity, async move |stop| {
                Ok(Box::pin(lienthong_broker::run(config, stop.cancelled_owned())).await?)
            })
        }
    }
}

/// `lienthong gateway`.
pub fn gateway(command: RoleCommand) -> Result<ExitCode> {
    match command {
        RoleCommand::SampleConfig => Ok(sample(&sample_toml(&GatewayConfig::sample()))),
        RoleCommand::CheckConfig(args) => {
            checked(&load::<GatewayConfig>(&args.config)?, lienthong_gateway::check)
        }
        RoleCommand::Run(args) => {
            let config: GatewayConfig = load(&args.config)?;
            let identity = identity("gateway", &config.mesh, config.development);
            serve(&args, &config.telemetry.clone(), &identity, async move |stop| {
                Ok(Box::pin(lienthong_gateway::run(config, stop.cancelled_owned())).await?)
            })
        }
    }
}

pub(super) fn sample(text: &str) -> ExitCode {
    out::raw(text);
    ExitCode::SUCCESS
}

pub(super) fn checked<C, E>(config: &C, check: impl FnOnce(&C) -> Result<(), E>) -> Result<ExitCode>
where
    E: std::error::Error + Send + Sync + 'static,
{
    check(config)?;
    out::line("the configuration is good");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn identity(role: &str, mesh: &str, development: bool) -> Identity {
    Identity { role: role.to_owned(), mesh: mesh.to_owned(), development }
}

pub(super) fn serve<F>(
    args: &RunArgs,
    telemetry: &TelemetryConfig,
    identity: &Identity,
    role: F,
) -> Result<ExitCode>
where
    F: AsyncFnOnce(CancellationToken) -> Result<()>,
{
    block_on(async {
        let stop = stop_signal(args.with_parent)?;
        let telemetry = Telemetry::init(telemetry, identity)?;
        let ended = role(stop).await;
        telemetry.shutdown().await;
        ended.map(|()| ExitCode::SUCCESS)
    })
}
