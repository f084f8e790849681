//! Approvals in a file beside the catalog folder: how a first catalog comes in, or one that travels by files.
//!
//! ```json
//! {"statement": "lienthong/catalog-change/v1\n…", "approvals": [{"chain": ["<base64 DER>"], "time": "…Z", "signature": "<base64>"}]}
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lienthong_audit::hash::sha256;
use lienthong_certs::Credentials;
use lienthong_proto::lienthong::control::v1::Approval;
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::signature::{ApprovalError, approve};

/// Its name in the catalog folder.
pub const APPROVALS_FILE: &str = "approvals.json";
/// Largest such file, bytes.
pub const APPROVALS_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Approvals of one folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalFile {
    /// What was signed ([`crate::Statement::to_bytes`]).
    pub statement: String,
    /// By whom.
    pub approvals: Vec<FiledApproval>,
}

/// One person's approval.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FiledApproval {
    /// Certificate chain, leaf first, base64 of the DER.
    pub chain: Vec<String>,
    /// When, RFC 3339.
    pub time: String,
    /// Signature, base64.
    pub signature: String,
}

/// An approval with its certificate chain, DER, leaf first.
pub type Chained = (Approval, Vec<Vec<u8>>);

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the approvals of the catalog folder cannot be read: {0}; have both persons sign it again")]
pub struct FileProblem(String);

impl ApprovalFile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`FileProblem`].
    pub fn read(text: &str) -> Result<ApprovalFile, FileProblem> {
        serde_json::from_str(text).map_err(|error| FileProblem(error.to_string()))
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        // Texts and lists of texts are always JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The file with one person's approval of `statement`, which takes the place of one that the same person gave before.
    /// Approvals of another statement are dropped.
    ///
    /// # Errors
    /// [`ApprovalError`] if the key cannot sign.
    pub fn signed(
        self,
        statement: &[u8],
        credentials: &Credentials,
        time: OffsetDateTime,
    ) -> Result<ApprovalFile, ApprovalError> {
        let approval = approve(credentials, statement, time)?;
        let text = String::from_utf8_lossy(statement).into_owned();
        let chain: Vec<String> = credentials.chain().iter().map(|der| STANDARD.encode(der)).collect();
        let mut approvals = if self.statement == text { self.approvals } else { Vec::new() };
        approvals.retain(|other| other.chain.first() != chain.first());
        let whole =
            OffsetDateTime::from_unix_timestamp(time.unix_timestamp()).map_err(|_| ApprovalError::Time)?;
        approvals.push(FiledApproval {
            chain,
            time: whole.format(&Rfc3339).map_err(|_| ApprovalError::Time)?,
            signature: STANDARD.encode(&approval.signature),
        });
        Ok(ApprovalFile { statement: text, approvals })
    }

    /// The approvals with their chains, DER.
    ///
    /// # Errors
    /// [`FileProblem`].
    pub fn approvals(&self) -> Result<Vec<Chained>, FileProblem> {
        self.approvals.iter().map(FiledApproval::read).collect()
    }
}

impl FiledApproval {
    fn read(&self) -> Result<Chained, FileProblem> {
        let bytes = |text: &String| STANDARD.decode(text).map_err(|error| FileProblem(error.to_string()));
        let chain = self.chain.iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
        let leaf = chain.first().ok_or_else(|| FileProblem("an approval has no certificate".to_owned()))?;
        let time =
            OffsetDateTime::parse(&self.time, &Rfc3339).map_err(|error| FileProblem(error.to_string()))?;
        let approval = Approval {
            certificate_sha256: sha256(leaf).0.to_vec(),
            time: Some(Timestamp { seconds: time.unix_timestamp(), nanos: 0 }),
            signature: bytes(&self.signature)?,
        };
        Ok((approval, chain))
    }
}
