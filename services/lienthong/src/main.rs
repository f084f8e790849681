//! `lienthong`: broker, node, gateway and every tool of the mesh in one program.

use std::process::ExitCode;

use clap::Parser;
use lienthong::{cli::Cli, commands, out};

/// Worth 10–15 % of a node's throughput (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            out::error(&error);
            ExitCode::FAILURE
        }
    }
}
