//! `lienthong certs`.

use std::process::ExitCode;

use anyhow::Result;
use lienthong_certs::pki::DevPki;
use serde_json::{Value, json};

use crate::{
    cli::{CertsCommand, CertsInitArgs},
    commands::{certs_crl, certs_inspect, certs_issue, certs_request},
    out,
};

/// Carries a command out.
pub fn run(command: CertsCommand) -> Result<ExitCode> {
    match command {
        CertsCommand::Init(args) => init(&args),
        CertsCommand::Request(args) => certs_request::run(&args),
        CertsCommand::Issue(args) => certs_issue::issue(&args),
        CertsCommand::Renew(args) => certs_issue::renew(&args),
        CertsCommand::Revoke(args) => certs_issue::revoke(&args),
        CertsCommand::Crl(command) => certs_crl::run(command),
        CertsCommand::Inspect(args) => certs_inspect::run(args),
    }
}

fn init(args: &CertsInitArgs) -> Result<ExitCode> {
    let pki = DevPki::create(&args.dir, &args.mesh)?;
    if args.json {
        let trust: serde_json::Map<String, Value> = pki
            .trust_files()
            .into_iter()
            .map(|(branch, path)| (branch.to_string().to_lowercase(), json!(path)))
            .collect();
        let told =
            json!({ "mesh": pki.mesh_id(), "dir": args.dir, "trust": trust, "lists": pki.crl_files() });
        out::line(&told.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    out::line(&format!("development PKI of mesh {} in {}", pki.mesh_id(), args.dir.display()));
    for (branch, path) in pki.trust_files() {
        out::line(&format!("  trust for the {branch} branch: {}", path.display()));
    }
    out::note(
        "Its certificates carry a mark that every production role refuses; never use it for real data.\n\
         Chứng thư thử nghiệm mang dấu mà mọi vai trò chính thức đều từ chối; không dùng cho dữ liệu thật.",
    );
    Ok(ExitCode::SUCCESS)
}
