//! `lienthong certs request`: a private key that stays here, and a signing request for a real authority.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use lienthong_certs::{files, pki::Holder, request};

use crate::out;

/// `lienthong certs request`.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Code of the agency
    #[arg(long, value_name = "CODE")]
    agency: String,
    /// Name of the agency, as its certificates have it
    #[arg(long, value_name = "NAME")]
    agency_name: String,
    /// Id of the node
    #[arg(long, value_name = "ID", required_unless_present = "system", conflicts_with = "system")]
    node: Option<String>,
    /// Id of the information system
    #[arg(long, value_name = "ID")]
    system: Option<String>,
    /// DNS name or IP address that the certificate shall speak for
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// Private key, PEM: made at mode 0600 where it is missing, used where it is there
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Signing request to write, PEM
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,
}

/// Writes key and request.
pub fn run(args: &RequestArgs) -> Result<ExitCode> {
    let (agency_code, agency_name) = (args.agency.clone(), args.agency_name.clone());
    let holder = match (&args.node, &args.system) {
        (_, Some(system)) => Holder::System { agency_code, agency_name, system_id: system.clone() },
        (node, None) => Holder::Node { agency_code, agency_name, node_id: node.clone().unwrap_or_default() },
    };
    let names: Vec<&str> = args.dns.iter().map(String::as_str).collect();
    let prepared = request::prepare(holder, &names, &args.key)?;
    files::replace(&args.out, prepared.pem.as_bytes())?;
    if args.json {
        out::line(&serde_json::json!({ "request": args.out, "key": args.key }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    out::line(&args.out.display().to_string());
    out::note(&format!(
        "Send this request to your authority; {} never leaves this machine.\n\
         Hãy gửi tệp yêu cầu này cho tổ chức cấp chứng thư; khóa bí mật không rời khỏi máy này.",
        args.key.display()
    ));
    Ok(ExitCode::SUCCESS)
}
