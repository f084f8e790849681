//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{doctor::DoctorArgs, proto::ProtoCommand, sandbox::NodeRunArgs};

/// Liên Thông: the data-exchange mesh that makes mandatory data sharing executable.
#[derive(Debug, Parser)]
#[command(name = "lienthong", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole mesh of sample agencies on this machine and play its story
    Demo(DemoArgs),
    /// Call a method of an agency through one's own node: JSON in, JSON out
    Call(CallArgs),
    /// Find out why calls fail, or when they will: each check with its fix in one line
    Doctor(DoctorArgs),
    /// Protos of what one may call: list, pull, compare
    #[command(subcommand)]
    Proto(ProtoCommand),
    /// Verify the audit log, offline
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Run an agency's node
    #[command(subcommand)]
    Node(NodeCommand),
    /// Run the broker
    #[command(subcommand)]
    Broker(RoleCommand),
    /// Run the gateway: the public part of the log over plain HTTP
    #[command(subcommand)]
    Gateway(RoleCommand),
    /// Run a witness: it cosigns a log's checkpoints, and only such as continue what it has seen
    #[command(subcommand)]
    Witness(crate::commands::witness::WitnessCommand),
    /// The catalog of mandatory sharing: check, plan, apply, approve, export, compare
    #[command(subcommand)]
    Catalog(crate::commands::catalog::CatalogCommand),
    /// Refusals: declare that an entitled consumer is not served, with a reason of the law; take it back
    #[command(subcommand)]
    Refusal(crate::commands::duty::refusal::RefusalCommand),
    /// Disputes about refusals: list, answer, decide
    #[command(subcommand)]
    Dispute(crate::commands::duty::dispute::DisputeCommand),
    /// Planned maintenance: announce, list
    #[command(subcommand)]
    Outage(crate::commands::duty::outage::OutageCommand),
    /// Requests for data that the catalog does not grant: ask, answer, list
    #[command(subcommand)]
    Connection(crate::commands::duty::connection::ConnectionCommand),
    /// How agencies keep their duty to share: scorecards, entries, the report of a year
    #[command(subcommand)]
    Compliance(crate::commands::compliance::ComplianceCommand),
    /// Certificates: requests, a development PKI, revocation lists, and what the mesh thinks of any certificate
    #[command(subcommand)]
    Certs(CertsCommand),
    /// The mesh trust file: whom every role believes, signed by offline roots
    #[command(subcommand)]
    Trust(crate::commands::trust::TrustCommand),
    /// Let nodes and systems into the mesh, four eyes on each; renew and take back
    #[command(subcommand)]
    Enroll(crate::commands::enroll::EnrollCommand),
    /// Bring a new agency from nothing to its first authorised call
    Onboard(Box<crate::commands::onboard::OnboardArgs>),
    /// Run a sample agency's backend
    #[command(hide = true)]
    Backend(BackendArgs),
}

/// What every role can do.
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// Run until interrupted
    Run(RunArgs),
    /// Read the configuration and everything that it names, and say what is wrong
    CheckConfig(ConfigArgs),
    /// Print a commented configuration to begin from
    SampleConfig,
}

/// What a node can do.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Run until interrupted; with --sandbox, a whole mesh on synthetic data
    Run(NodeRunArgs),
    /// Read the configuration and everything that it names, and say what is wrong
    CheckConfig(ConfigArgs),
    /// Print a commented configuration to begin from
    SampleConfig,
}

/// A configuration file.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// How a role is run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Stop when stdin closes, as it does when the program that started this one ends
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// `lienthong demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after the story; the exit code tells whether all of it came true
    #[arg(long)]
    pub once: bool,
    /// Print one JSON object a step, and a last one with the counts
    #[arg(long)]
    pub json: bool,
    /// Keep everything in this folder (it must be new or empty); the broker's log is DIR/broker/log
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// `lienthong call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// gRPC path, for example /vn.dancu.v1.CitizenService/GetCitizen
    pub method: String,
    /// Client profile, TOML: node, server_name, certificate, key, trust, development
    #[arg(long, value_name = "FILE")]
    pub profile: PathBuf,
    /// Request as JSON; "-" reads stdin
    #[arg(long, short, value_name = "JSON", default_value = "{}")]
    pub data: String,
    /// Purpose of the call, for example ADMIN_PROCEDURE
    #[arg(long)]
    pub purpose: Option<String>,
    /// Dossier that the call serves, for example H26.90-261121-0001
    #[arg(long)]
    pub dossier: Option<String>,
    /// Opaque id of the end user
    #[arg(long)]
    pub user: Option<String>,
    /// Provider, where several agencies serve the method
    #[arg(long, value_name = "AGENCY")]
    pub provider: Option<String>,
    /// Fields to ask for, where fewer than the granted ones are wanted
    #[arg(long, value_delimiter = ',', value_name = "FIELD")]
    pub fields: Vec<String>,
    /// Deadline, seconds
    #[arg(long, default_value_t = 30)]
    pub timeout: u64,
    /// Print one JSON object with answer, metadata and error, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify a copy of the log: every byte of every file, offline
    Verify(VerifyArgs),
    /// What does not match between the two sides of exchanges, and in the log: list, note, close with a reason
    #[command(subcommand)]
    Findings(crate::commands::findings::FindingsCommand),
    /// Search the log; newest first, each record with its proof
    Search(Box<crate::commands::audit::search::SearchArgs>),
    /// Write what a search finds to a file, CSV or JSON lines; goes on where it stopped
    Export(Box<crate::commands::audit::export::ExportArgs>),
    /// Get everything that proves one exchange, as one file
    Evidence(crate::commands::audit::evidence::EvidenceArgs),
    /// Judge an evidence file, with no network
    VerifyEvidence(crate::commands::audit::evidence::VerifyEvidenceArgs),
    /// Who looked at one person's data: when, why, which dataset
    Subject(crate::commands::audit::subject::SubjectArgs),
    /// Say when the subjects of an exchange may hear of it
    Disclose(crate::commands::audit::subject::DiscloseArgs),
    /// Erase what is kept to find a person in the log, and to open what is on record of him
    Erase(crate::commands::audit::erase::EraseArgs),
    /// Say who an end user is, so that it is seen when he asks for data about himself
    EndUser(crate::commands::audit::erase::EndUserArgs),
    /// Copy the data folder of a stopped broker, with a manifest of every file
    Backup(crate::commands::audit::backup::BackupArgs),
    /// Bring a backup back: every file is hashed and the log verified before it takes its place
    Restore(crate::commands::audit::backup::RestoreArgs),
    /// Make the index of a stopped broker anew from its log
    Reindex(crate::commands::audit::reindex::ReindexArgs),
}

/// `lienthong audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Folder of the log (C2SP tlog-tiles)
    pub dir: PathBuf,
    /// Whom to believe (C2SP tlog-policy); without it the signer is not judged
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A checkpoint seen before: the log must not have been cut back behind it
    #[arg(long, value_name = "FILE")]
    pub seen: Option<PathBuf>,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong certs`.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make a development PKI: never for real data
    Init(CertsInitArgs),
    /// Make a key, if there is none, and a signing request for a real authority
    Request(crate::commands::certs_request::RequestArgs),
    /// Issue a certificate of the development PKI, with a new key
    Issue(crate::commands::certs_issue::IssueArgs),
    /// Renew a certificate of the development PKI; its key stays
    Renew(crate::commands::certs_issue::RenewArgs),
    /// Revoke a certificate of the development PKI and publish the list
    Revoke(crate::commands::certs_issue::RevokeArgs),
    /// Revocation lists: make the development PKI's, show anybody's
    #[command(subcommand)]
    Crl(crate::commands::certs_crl::CrlCommand),
    /// Say in plain words whether the mesh would accept a certificate, as whom, and why not
    Inspect(CertsInspectArgs),
}

/// `lienthong certs init`.
#[derive(Debug, Args)]
pub struct CertsInitArgs {
    /// New folder
    pub dir: PathBuf,
    /// Id of the mesh
    #[arg(long, default_value = "demo")]
    pub mesh: String,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong certs inspect`.
#[derive(Debug, Args)]
pub struct CertsInspectArgs {
    /// Certificate, PEM, leaf first
    pub certificate: PathBuf,
    /// Authorities of state agencies, PEM
    #[arg(long, value_name = "FILE")]
    pub state: Vec<PathBuf>,
    /// Authorities of Party agencies, PEM
    #[arg(long, value_name = "FILE")]
    pub party: Vec<PathBuf>,
    /// Public authorities, PEM
    #[arg(long, value_name = "FILE")]
    pub public: Vec<PathBuf>,
    /// Revocation lists, PEM or DER
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<PathBuf>,
    /// Accept certificates made for development
    #[arg(long)]
    pub development: bool,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong backend`.
#[derive(Debug, Args)]
pub struct BackendArgs {
    /// Which: dancu, dkdn, danhmuc, thunghiem; synthetic serves any contract
    pub kind: String,
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Stop when stdin closes
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        Cli::command().debug_assert();
    }
}
