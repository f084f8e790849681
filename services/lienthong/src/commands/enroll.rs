//! `lienthong enroll`: how the operator lets nodes and systems in, and how a node renews its certificate.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use lienthong_broker::enrollment::expected;
use lienthong_certs::{PeerCertificate, files};
use lienthong_proto::lienthong::registry::v1::{
    ApproveEnrollmentRequest, CreateTokenRequest, Enrollment, EnrollmentState, ExpectedCertificate,
    GetEnrollmentRequest, ListEnrollmentsRequest, RejectEnrollmentRequest, UnbindEnrollmentRequest,
    enrollment_service_client::EnrollmentServiceClient, expected_certificate::Identity,
};
use lienthong_transport::Channel;
use serde_json::json;

use crate::{
    client::{self, Client},
    commands::block_on,
    out,
};

pub mod card;
pub mod notices;
pub mod renew;
pub mod show;

/// Enrollments in one page of a listing.
const PAGE_ITEMS: i32 = 1_000;

/// The service as this program calls it.
pub type Enrollments = EnrollmentServiceClient<Channel<tonic::body::Body>>;

/// `lienthong enroll`.
#[derive(Debug, Subcommand)]
pub enum EnrollCommand {
    /// Write the mesh's card: what a new agency must know of it, in one file (operator)
    Card(card::CardArgs),
    /// Invite a node or system: a token, good once, for the certificate that is expected (operator)
    Token(TokenArgs),
    /// List enrollments (operator)
    List(ListArgs),
    /// Show one enrollment, with the certificate to compare
    Show(ShowArgs),
    /// Bind the certificate that was shown; for another operator than the one who made the token
    Approve(ApproveArgs),
    /// Withdraw a token, or refuse a certificate that waits (operator)
    Reject(EndArgs),
    /// Take a binding back; live connections end at once (operator)
    Unbind(EndArgs),
    /// Bind a node's or system's next certificate beside the present one, and put it in its place
    Renew(renew::RenewArgs),
    /// List what data contacts should know of their certificates: renewed, ending, ended (operator: all; others: their own)
    Notices(BrokerArgs),
}

/// The broker, and who calls.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// Profile, TOML, as of `lienthong call`; its `node` is the broker's address
    #[arg(long, value_name = "FILE")]
    pub profile: PathBuf,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong enroll token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Code of the agency; it must be in the catalog
    #[arg(long, value_name = "CODE")]
    agency: String,
    /// Id of the node, for example n1
    #[arg(long, value_name = "ID", required_unless_present = "system", conflicts_with = "system")]
    node: Option<String>,
    /// Id of the information system, as the catalog lists it
    #[arg(long, value_name = "ID")]
    system: Option<String>,
    /// The certificate that will be shown, PEM; its issuer and subject are expected
    #[arg(long, value_name = "FILE", required_unless_present = "issuer", conflicts_with_all = ["issuer", "subject", "spki"])]
    certificate: Option<PathBuf>,
    /// Distinguished name of the expected issuer, as `lienthong onboard` prints it
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Distinguished name of the expected subject
    #[arg(long, value_name = "NAME", conflicts_with = "spki")]
    subject: Option<String>,
    /// Instead of the subject: SHA-256 of the expected public key, hexadecimal
    #[arg(long, value_name = "HEX")]
    spki: Option<String>,
    /// Minutes that the token is good for, at most 1440
    #[arg(long, value_name = "MINUTES", default_value_t = 1_440)]
    valid_minutes: u32,
    /// Write the token into this new file, at mode 0600, instead of showing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `lienthong enroll list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<show::StateWord>,
}

/// `lienthong enroll show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Enrollment, for example enrollments/3f9c2a71d04be856
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// `lienthong enroll approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Enrollment, for example enrollments/3f9c2a71d04be856
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Fingerprint of the certificate as the agency read it out, 64 hexadecimal digits; colons and spaces do not count.
    /// Without it, the certificate is shown and nothing is approved
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
}

/// `lienthong enroll reject` and `unbind`.
#[derive(Debug, Args)]
pub struct EndArgs {
    /// Enrollment, for example enrollments/3f9c2a71d04be856
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Why; it goes on record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Carries a command out.
pub fn run(command: EnrollCommand) -> Result<ExitCode> {
    match command {
        EnrollCommand::Card(args) => card::run(&args),
        EnrollCommand::Token(args) => block_on(token(args)),
        EnrollCommand::List(args) => block_on(list(args)),
        EnrollCommand::Show(args) => block_on(show_one(args)),
        EnrollCommand::Approve(args) => block_on(approve(args)),
        EnrollCommand::Reject(args) => block_on(reject(args)),
        EnrollCommand::Unbind(args) => block_on(unbind(args)),
        EnrollCommand::Renew(args) => block_on(renew::run(args)),
        EnrollCommand::Notices(args) => block_on(notices::run(args)),
    }
}

async fn token(args: TokenArgs) -> Result<ExitCode> {
    let holder = match (&args.node, &args.system) {
        (_, Some(system)) => format!("agencies/{}/systems/{system}", args.agency),
        (node, None) => format!("agencies/{}/nodes/{}", args.agency, node.as_deref().unwrap_or_default()),
    };
    let request = CreateTokenRequest {
        holder,
        expected: Some(expectation(&args)?),
        valid_seconds: args.valid_minutes.saturating_mul(60),
    };
    let created = service(&args.broker)?
        .create_token(request)
        .await
        .map_err(|status| show::explained(&status))?
        .into_inner();
    let enrollment = created.enrollment.context("the broker answered without an enrollment")?;
    if let Some(path) = &args.out {
        files::create_private(path, format!("{}\n", created.token).as_bytes())?;
    }
    let shown = args.out.is_none().then_some(created.token.as_str());
    if args.broker.json {
        out::line(&json!({ "token": shown, "enrollment": show::to_json(&enrollment) }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(token) = shown {
        out::line(token);
    }
    out::note(&format!(
        "{} invites {} until {}\n\
         The token is told once. Hand it over on a way of its own, apart from the card.\n\
         Mã kết nạp chỉ hiển thị một lần; hãy chuyển riêng, không gửi kèm thẻ mạng.",
        enrollment.name,
        enrollment.holder,
        show::time(enrollment.expire_time),
    ));
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> Result<ExitCode> {
    let mut service = service(&args.broker)?;
    let state = args.state.map_or(EnrollmentState::Unspecified, EnrollmentState::from);
    let mut all: Vec<Enrollment> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEnrollmentsRequest { page_size: PAGE_ITEMS, page_token, state: state.into() };
        let page =
            service.list_enrollments(request).await.map_err(|status| show::explained(&status))?.into_inner();
        all.extend(page.enrollments);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if args.broker.json {
        let all: Vec<_> = all.iter().map(show::to_json).collect();
        out::line(&json!({ "enrollments": all }).to_string());
    } else if all.is_empty() {
        out::note("chưa có kết nạp nào / no enrollment");
    } else {
        all.sort_by_key(|one| one.create_time.map(|time| (time.seconds, time.nanos)));
        for one in &all {
            out::line(&show::row(one));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show_one(args: ShowArgs) -> Result<ExitCode> {
    let request = GetEnrollmentRequest { name: full_name(&args.name) };
    let answer = service(&args.broker)?
        .get_enrollment(request)
        .await
        .map_err(|status| show::explained(&status))?
        .into_inner();
    told(answer.enrollment, args.broker.json)
}

async fn approve(args: ApproveArgs) -> Result<ExitCode> {
    let mut service = service(&args.broker)?;
    let name = full_name(&args.name);
    let Some(fingerprint) = &args.fingerprint else {
        let request = GetEnrollmentRequest { name };
        let answer =
            service.get_enrollment(request).await.map_err(|status| show::explained(&status))?.into_inner();
        told(answer.enrollment, args.broker.json)?;
        out::note(
            "Nothing is approved. Ask the agency for the fingerprint, by telephone; then give it: --fingerprint HEX\n\
             Chưa phê duyệt. Hãy gọi điện cho cơ quan để đối chiếu dấu vân tay, rồi nêu --fingerprint HEX.",
        );
        return Ok(ExitCode::FAILURE);
    };
    let fingerprint = show::read_fingerprint(fingerprint)?;
    let request = ApproveEnrollmentRequest { name, fingerprint };
    let answer =
        service.approve_enrollment(request).await.map_err(|status| show::explained(&status))?.into_inner();
    told(answer.enrollment, args.broker.json)
}

async fn reject(args: EndArgs) -> Result<ExitCode> {
    let request = RejectEnrollmentRequest { name: full_name(&args.name), reason: args.reason };
    let answer = service(&args.broker)?
        .reject_enrollment(request)
        .await
        .map_err(|status| show::explained(&status))?
        .into_inner();
    told(answer.enrollment, args.broker.json)
}

async fn unbind(args: EndArgs) -> Result<ExitCode> {
    let request = UnbindEnrollmentRequest { name: full_name(&args.name), reason: args.reason };
    let answer = service(&args.broker)?
        .unbind_enrollment(request)
        .await
        .map_err(|status| show::explained(&status))?
        .into_inner();
    told(answer.enrollment, args.broker.json)
}

fn told(enrollment: Option<Enrollment>, as_json: bool) -> Result<ExitCode> {
    let enrollment = enrollment.context("the broker answered without an enrollment")?;
    if as_json {
        out::line(&show::to_json(&enrollment).to_string());
    } else {
        out::line(&show::whole(&enrollment));
    }
    Ok(ExitCode::SUCCESS)
}

fn expectation(args: &TokenArgs) -> Result<ExpectedCertificate> {
    if let Some(path) = &args.certificate {
        let certificate = PeerCertificate::read(&files::certificates(path)?)
            .with_context(|| format!("{} cannot be used", path.display()))?;
        return Ok(expected(&certificate));
    }
    let issuer = args.issuer.clone().unwrap_or_default();
    let identity = match (&args.subject, &args.spki) {
        (Some(subject), _) => Identity::Subject(subject.clone()),
        (None, Some(spki)) => {
            Identity::SpkiSha256(show::read_fingerprint(spki).context("--spki cannot be used")?)
        }
        (None, None) => anyhow::bail!("name the expected --subject, or --spki, beside the --issuer"),
    };
    Ok(ExpectedCertificate { issuer, identity: Some(identity) })
}

fn service(args: &BrokerArgs) -> Result<Enrollments> {
    Ok(Client::new(&client::profile(&args.profile)?)?.enrollments())
}

/// An enrollment may be named by its id alone.
fn full_name(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("enrollments/{name}") }
}
