//! Who applies: a node or an information system, with its key, its certificate and its enrollment.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use lienthong_broker::enrollment::describe;
use lienthong_certs::{
    Credentials, files,
    pki::{DevPki, Holder, Request},
    request,
};
use lienthong_proto::lienthong::registry::v1::{
    EnrollRequest, Enrollment, EnrollmentState, GetEnrollmentRequest,
};
use serde_json::json;
use tonic::{Code, Status};

use super::Steps;
use crate::commands::enroll::{Enrollments, show};

/// Largest token file, bytes.
const TOKEN_BYTES_MAX: u64 = 1_024;

/// Pause between two looks at an enrollment that waits, milliseconds.
const LOOK_MS: u64 = 1_000;

/// Where a node is reached; empty for systems.
#[derive(Default)]
pub struct Place {
    /// Host and port.
    pub address: String,
    /// DNS name in its certificate.
    pub server_name: String,
}

/// A node or system on its way in.
pub struct Applicant {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    holder: Holder,
    dns_names: Vec<String>,
    /// Its signing request.
    request: PathBuf,
    /// Holds the name of its enrollment once it has one.
    note: PathBuf,
}

impl Applicant {
    /// One whose files in `dir` begin with `stem`, unless certificate and key lie elsewhere.
    pub fn new(
        dir: &Path,
        stem: &str,
        holder: Holder,
        dns_name: &str,
        given: Option<(PathBuf, PathBuf)>,
    ) -> Result<Self> {
        let file = |ending: &str| dir.join(format!("{stem}.{ending}"));
        let (certificate, key) = match given {
            Some((certificate, key)) => (absolute(&certificate)?, absolute(&key)?),
            None => (file("crt"), file("key")),
        };
        let dns_names = if dns_name.is_empty() { Vec::new() } else { vec![dns_name.to_owned()] };
        Ok(Self { certificate, key, holder, dns_names, request: file("csr"), note: file("enrollment") })
    }

    /// Resource name.
    pub fn name(&self) -> String {
        format!("agencies/{}/{}/{}", self.parts().0, self.kind(), self.id())
    }

    /// Its id within the agency.
    pub fn id(&self) -> &str {
        self.parts().1
    }

    /// Its certificate and key, made or asked for where they are missing; `None` while the authority has not answered.
    pub fn credentials(&self, ca: Option<&DevPki>, steps: &mut Steps) -> Result<Option<Credentials>> {
        let mut origin = "it was there";
        if !self.certificate.exists() {
            if self.parts().2.is_empty() {
                anyhow::bail!("--agency-name is needed to make a key and a signing request");
            }
            let names: Vec<&str> = self.dns_names.iter().map(String::as_str).collect();
            let prepared = request::prepare(self.holder.clone(), &names, &self.key)?;
            let Some(ca) = ca else {
                files::replace(&self.request, prepared.pem.as_bytes())?;
                steps.next(
                    &format!("Have the certificate of {} issued. / Hãy xin cấp chứng thư.", self.name()),
                    &format!(
                        "send     {}\nput the certificate, leaf first, into {}\nand run this again; the key stays in {}",
                        self.request.display(),
                        self.certificate.display(),
                        self.key.display()
                    ),
                );
                return Ok(None);
            };
            let request = Request::new(self.holder.clone()).with_dns_names(&names);
            files::replace(&self.certificate, ca.certify(&request, &prepared.spki_der)?.as_bytes())?;
            origin = "made, certified by the development PKI";
        }
        let credentials = Credentials::load(&self.certificate, &self.key)?;
        let shown = describe(credentials.certificate());
        let fingerprint = show::grouped(&shown.fingerprint);
        steps.done(
            "certificate",
            &format!("key and certificate of {}", self.name()),
            &format!("{origin}\nsubject     {}\nfingerprint {fingerprint}", shown.subject),
            &json!({
                "holder": self.name(), "subject": shown.subject, "issuer": shown.issuer,
                "fingerprint": hex::encode(&shown.fingerprint), "certificate": self.certificate,
            }),
        );
        Ok(Some(credentials))
    }

    /// Its enrollment, made with the token where there is none yet; `None` without a token.
    pub async fn enroll(
        &self,
        service: &mut Enrollments,
        token_file: Option<&Path>,
        place: Place,
        steps: &mut Steps,
    ) -> Result<Option<Enrollment>> {
        if let Some(name) = self.noted()? {
            let answer = service.get_enrollment(GetEnrollmentRequest { name }).await;
            let enrollment = answer.map_err(|status| show::explained(&status))?.into_inner().enrollment;
            return enrollment.map(|enrollment| self.going_on(enrollment)).transpose();
        }
        let Some(token_file) = token_file else { return Ok(None) };
        let token = files::read_private(token_file, TOKEN_BYTES_MAX)?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let Place { address, server_name } = place;
        let answer = service.enroll(EnrollRequest { token, address, server_name }).await;
        let enrollment = answer.map_err(|status| show::explained(&status))?.into_inner().enrollment;
        let enrollment = enrollment.context("the broker answered without an enrollment")?;
        files::replace(&self.note, enrollment.name.as_bytes())?;
        let fingerprint = enrollment.certificate.as_ref().map(|shown| show::grouped(&shown.fingerprint));
        steps.done(
            "enroll",
            &format!("{} is enrolled as {}", self.name(), enrollment.name),
            &format!("the approver sees fingerprint {}", fingerprint.unwrap_or_default()),
            &json!({ "holder": self.name(), "enrollment": enrollment.name }),
        );
        Ok(Some(enrollment))
    }

    /// Says what the operator must do to invite it.
    pub fn ask_for_token(&self, credentials: &Credentials, steps: &mut Steps) {
        let certificate = credentials.certificate();
        let (agency, id, _) = self.parts();
        let kind = if self.kind() == "nodes" { "--node" } else { "--system" };
        let option = if self.kind() == "nodes" { "--token-file" } else { "--system-token-file" };
        steps.next(
            &format!("Ask the operator for a token for {}. / Hãy xin mã kết nạp.", self.name()),
            &format!(
                "the operator runs\n  lienthong enroll token --profile OPERATOR.toml --agency {agency} {kind} {id} \\\n    \
                 --issuer {} \\\n    --subject {}\nput the token into a file of mode 0600, and run this again with {option} FILE",
                quoted(&certificate.binding().issuer),
                quoted(&certificate.subject.text),
            ),
        );
    }

    /// Waits until it is approved; false where the time for that is over.
    pub async fn wait(
        &self,
        service: &mut Enrollments,
        enrollment: &Enrollment,
        minutes: u64,
        steps: &mut Steps,
    ) -> Result<bool> {
        let until = Instant::now() + Duration::from_secs(minutes.saturating_mul(60));
        let mut told = false;
        loop {
            let request = GetEnrollmentRequest { name: enrollment.name.clone() };
            match service.get_enrollment(request).await {
                Ok(answer) => {
                    let now = answer
                        .into_inner()
                        .enrollment
                        .context("the broker answered without an enrollment")?;
                    let now = self.going_on(now)?;
                    if now.state() == EnrollmentState::Active {
                        self.approved(&now, told, steps);
                        return Ok(true);
                    }
                }
                // The broker may be away for a while; what it has answered, it has kept.
                Err(status) if is_passing(&status) => {}
                Err(status) => return Err(show::explained(&status)),
            }
            if !told {
                told = true;
                steps.waits(&format!(
                    "{} waits for a second operator: lienthong enroll approve {} / đang chờ cán bộ vận hành thứ hai phê duyệt",
                    self.name(),
                    enrollment.name
                ));
            }
            if Instant::now() >= until {
                steps.next("Not approved yet; run this again. / Chưa được phê duyệt; hãy chạy lại sau.", "");
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    /// An enrollment that waits or is bound; one that has ended is an end here too.
    fn going_on(&self, enrollment: Enrollment) -> Result<Enrollment> {
        let state = enrollment.state();
        if matches!(state, EnrollmentState::Waiting | EnrollmentState::Active) {
            return Ok(enrollment);
        }
        anyhow::bail!(
            "{} was {}: {}; ask the operator, and remove {} to begin with a new token\n\
             Hồ sơ kết nạp đã kết thúc; hãy hỏi đơn vị vận hành và xin mã mới.",
            enrollment.name,
            show::word(state),
            enrollment.reason,
            self.note.display()
        )
    }

    fn approved(&self, enrollment: &Enrollment, waited: bool, steps: &mut Steps) {
        if waited {
            steps.waited();
        }
        steps.done(
            "approved",
            &format!("{} is bound, rights epoch {}", self.name(), enrollment.epoch),
            &format!("approved by {}", enrollment.decided_by),
            &json!({ "holder": self.name(), "epoch": enrollment.epoch, "decided_by": enrollment.decided_by }),
        );
    }

    fn noted(&self) -> Result<Option<String>> {
        match fs::read_to_string(&self.note) {
            Ok(name) => Ok(Some(name.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", self.note.display())),
        }
    }

    /// Code and name of the agency, and the id.
    fn parts(&self) -> (&str, &str, &str) {
        match &self.holder {
            Holder::Node { agency_code, agency_name, node_id: id }
            | Holder::System { agency_code, agency_name, system_id: id } => (agency_code, id, agency_name),
            Holder::Person { agency_code, name, role } => (agency_code, role, name),
            Holder::Enterprise { enterprise_code, name } => (enterprise_code, "n1", name),
        }
    }

    fn kind(&self) -> &'static str {
        if matches!(self.holder, Holder::System { .. }) { "systems" } else { "nodes" }
    }
}

/// Whether waiting may help: the broker, or the way to it, is not there now.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Unknown | Code::Cancelled)
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
}
