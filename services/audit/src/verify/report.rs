//! What the verifier says.

use std::fmt;
use std::ops::Range;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;

/// The most findings that a report lists; the rest is counted.
pub const FINDINGS_MAX: usize = 1000;

/// The outcome of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The verdict over everything.
    pub verdict: Verdict,
    /// What the `checkpoint` file says, if it can be read.
    pub checkpoint: Option<Checkpoint>,
    /// The root computed from the entries; `None` when some are missing.
    pub computed_root: Option<Hash>,
    /// Who vouched for the checkpoint, by the policy: the log's key, then the names of witnesses.
    pub signers: Vec<String>,
    /// Entries whose bodies were hashed.
    pub entries: u64,
    /// Entries whose bodies are gone at the end of their retention, as the log says; only their hashes were checked.
    pub pruned: u64,
    /// Files looked at.
    pub files: u64,
    /// Bytes read of tiles and bundles.
    pub bytes: u64,
    /// What is wrong, in the order in which it was found; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond that number.
    pub findings_left_out: u64,
    /// What is worth knowing but not wrong.
    pub notes: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is wrong. Says nothing about the signer when there was no policy.
    pub fn is_sound(&self) -> bool {
        self.verdict != Verdict::Failed
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.checkpoint {
            Some(checkpoint) => {
                writeln!(f, "log        {}", printable(&checkpoint.origin))?;
                writeln!(f, "size       {} entries", checkpoint.size)?;
                writeln!(f, "root       {}", checkpoint.root)?;
            }
            None => writeln!(f, "log        unknown: there is no readable checkpoint")?,
        }
        for signer in &self.signers {
            writeln!(f, "signed by  {}", printable(signer))?;
        }
        writeln!(f, "checked    {} entries, {} files, {} bytes", self.entries, self.files, self.bytes)?;
        if self.pruned > 0 {
            writeln!(
                f,
                "pruned     {} entries: their hashes are checked, their bodies are gone",
                self.pruned
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note       {}", printable(note))?;
        }
        for finding in &self.findings {
            writeln!(f, "finding    {finding}")?;
        }
        if self.findings_left_out > 0 {
            writeln!(f, "finding    … and {} more", self.findings_left_out)?;
        }
        writeln!(f, "verdict    {}", self.verdict)
    }
}

/// The verdict over a log folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every file fits, and the policy believes the checkpoint.
    Verified,
    /// Every file fits, but no policy said whose signature to believe.
    IntegrityOnly,
    /// Something is wrong.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verified => "VERIFIED",
            Self::IntegrityOnly => "INTEGRITY ONLY, SIGNER NOT JUDGED",
            Self::Failed => "FAILED",
        })
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The file, relative to the log's folder.
    pub file: String,
    /// The bytes of the file that are wrong, if that is known.
    pub bytes: Option<Range<u64>>,
    /// The first entry that is affected, if there is one.
    pub first_index: Option<u64>,
    /// What is wrong, in words.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, printable(&self.file))?;
        if let Some(bytes) = &self.bytes {
            write!(f, ", bytes {}..{}", bytes.start, bytes.end)?;
        }
        if let Some(index) = self.first_index {
            write!(f, ", first bad index {index}")?;
        }
        write!(f, ": {}", printable(&self.what))
    }
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// Content that does not fit the tree.
    Changed,
    /// A file that the checkpoint requires is not there.
    Missing,
    /// A file that belongs to no log, or that nothing signed covers.
    Stray,
    /// A file that could not be read.
    Unreadable,
    /// The checkpoint is not signed as the policy or the checkpoint seen before asks.
    Signer,
    /// The log is shorter than it was when it was seen before.
    CutBack,
    /// The log does not contain the history that was seen before.
    Rewritten,
    /// The writer's own files are damaged.
    WriteAheadLog,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "CHANGED",
            Self::Missing => "MISSING",
            Self::Stray => "STRAY",
            Self::Unreadable => "UNREADABLE",
            Self::Signer => "SIGNER",
            Self::CutBack => "CUT BACK",
            Self::Rewritten => "REWRITTEN",
            Self::WriteAheadLog => "WRITE-AHEAD LOG",
        })
    }
}

/// Findings as they come in.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
    pub(super) left_out: u64,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        } else {
            self.left_out += 1;
        }
    }

    /// A finding about a whole file.
    pub(super) fn file(&mut self, kind: FindingKind, file: impl Into<String>, what: impl Into<String>) {
        self.push(Finding { kind, file: file.into(), bytes: None, first_index: None, what: what.into() });
    }

    pub(super) fn extend(&mut self, finding: Option<Finding>) {
        if let Some(finding) = finding {
            self.push(finding);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.list.len() as u64 + self.left_out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Texts out of a log may be hostile: no control character reaches a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
