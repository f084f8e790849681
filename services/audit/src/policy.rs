//! Trust policies: which logs are believed, and which witnesses must have cosigned (C2SP tlog-policy).
//!
//! A policy is a small text file, so that an officer can read it, print it and pin it:
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <name>...
//! quorum <name>|none
//! ```

use std::collections::HashMap;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{KeyKind, Note, NoteError, VerifierKey};

/// The longest policy file that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// The most logs, witnesses and groups together in one policy (the specification asks for at least 32 of each).
pub const POLICY_DEFINITIONS_MAX: usize = 1024;

/// Which checkpoints to believe. Always has exactly one quorum rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

impl Policy {
    /// Trust one log, ask for no witness.
    pub fn for_log(key: VerifierKey) -> Self {
        let logs = vec![PolicyLog { key, url: None }];
        Self { logs, witnesses: Vec::new(), groups: Vec::new(), quorum: Quorum::None }
    }

    /// Reads a policy file.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        let mut reading = Reading::default();
        if file.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong(file.len()));
        }
        for (number, line) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            reading.line(line).map_err(|fault| PolicyError::Line { number, fault })?;
        }
        let quorum = reading.quorum.ok_or(PolicyError::NoQuorum)?;
        Ok(Self { logs: reading.logs, witnesses: reading.witnesses, groups: reading.groups, quorum })
    }

    /// The policy as a file that [`Policy::parse`] reads back. Comments are not kept.
    pub fn to_file(&self) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for log in &self.logs {
            lines.push(items(&[b"log", log.key.to_string().as_bytes()], log.url.as_deref()));
        }
        for witness in &self.witnesses {
            let key = witness.key.to_string();
            lines.push(items(&[b"witness", &witness.name, key.as_bytes()], witness.url.as_deref()));
        }
        for group in &self.groups {
            let threshold = group.threshold.to_string();
            let mut line = items(&[b"group", &group.name, threshold.as_bytes()], None);
            for member in &group.members {
                line.push(b' ');
                line.extend_from_slice(self.name(*member));
            }
            lines.push(line);
        }
        let quorum = match self.quorum {
            Quorum::None => NONE,
            Quorum::Of(member) => self.name(member),
        };
        lines.push(items(&[b"quorum", quorum], None));
        lines.push(Vec::new());
        lines.join(&b'\n')
    }

    /// The trusted logs.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The known witnesses.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether a checkpoint must be cosigned to be believed.
    pub const fn asks_for_witnesses(&self) -> bool {
        !matches!(self.quorum, Quorum::None)
    }

    /// Whether the witnesses whose positions `by` takes are enough for the quorum. Where none is asked for, nobody is.
    pub fn is_quorum(&self, by: impl Fn(usize) -> bool) -> bool {
        match self.quorum {
            Quorum::None => true,
            Quorum::Of(member) => self.reached(member, &by),
        }
    }

    /// Judges a signed checkpoint: a trusted log signed it, under its own origin, and the quorum cosigned it.
    pub fn judge(&self, checkpoint: &str) -> Result<Accepted, PolicyError> {
        let accepted = self.judge_signer(checkpoint)?;
        let cosigned = |index: usize| accepted.cosigned.iter().any(|cosigned| cosigned.witness == index);
        let quorum = match self.quorum {
            Quorum::Of(member) if !self.reached(member, &cosigned) => text(self.name(member)),
            _ => return Ok(accepted),
        };
        let seen = accepted.cosigned.iter().map(|cosigned| text(&self.witnesses[cosigned.witness].name));
        let seen = seen.collect::<Vec<_>>().join(", ");
        let seen = if seen.is_empty() { "nobody".to_owned() } else { seen };
        Err(PolicyError::Quorum { quorum, seen })
    }

    /// Judges who signed a checkpoint, but asks for no quorum: for a receipt, which no witness has seen yet.
    /// Cosignatures of known witnesses must still be good.
    pub fn judge_signer(&self, checkpoint: &str) -> Result<Accepted, PolicyError> {
        let note = checkpoint.parse::<Note>()?;
        let log_keys = self.logs.iter().map(|log| &log.key);
        let witness_keys = self.witnesses.iter().map(|witness| &witness.key);
        let verified = note.verify(log_keys.chain(witness_keys))?;
        let checkpoint = note.text().parse::<Checkpoint>()?;
        let is_log = |key: &&VerifierKey| {
            self.logs.iter().any(|log| &log.key == *key && key.name() == checkpoint.origin)
        };
        let log = verified.iter().map(|signature| signature.key).find(is_log).cloned();
        let log = log.ok_or_else(|| PolicyError::Log(checkpoint.origin.clone()))?;
        let cosigned = verified.iter().filter_map(|signature| {
            let witness = self.witnesses.iter().position(|witness| &witness.key == signature.key)?;
            Some(Cosigned { witness, time_s: signature.time_s? })
        });
        Ok(Accepted { log, cosigned: cosigned.collect(), checkpoint })
    }

    fn reached(&self, member: Member, cosigned: &impl Fn(usize) -> bool) -> bool {
        match member {
            Member::Witness(index) => cosigned(index),
            Member::Group(index) => {
                let group = &self.groups[index];
                let reached = group.members.iter().filter(|member| self.reached(**member, cosigned));
                reached.count() >= group.threshold
            }
        }
    }

    fn name(&self, member: Member) -> &[u8] {
        match member {
            Member::Witness(index) => &self.witnesses[index].name,
            Member::Group(index) => &self.groups[index].name,
        }
    }
}

/// A trusted log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key; the key's name is the log's origin.
    pub key: VerifierKey,
    /// Where it is, in whatever sense the application gives to that.
    pub url: Option<Vec<u8>>,
}

/// A known witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name within this policy: opaque bytes, usually UTF-8.
    pub name: Vec<u8>,
    /// Its cosignature key.
    pub key: VerifierKey,
    /// Where it is.
    pub url: Option<Vec<u8>>,
}

/// A checkpoint that the policy believes, and who vouched for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The key of the log that signed it.
    pub log: VerifierKey,
    /// The witnesses whose cosignatures verified.
    pub cosigned: Vec<Cosigned>,
}

/// A verified cosignature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The position of the witness in [`Policy::witnesses`].
    pub witness: usize,
    /// When it cosigned, in seconds since 1970-01-01 UTC.
    pub time_s: u64,
}

/// Why a policy file is refused, or a checkpoint under it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// Longer than [`POLICY_BYTES_MAX`].
    #[error("a policy file of {0} bytes; at most {POLICY_BYTES_MAX} are read")]
    TooLong(usize),
    /// A line is wrong.
    #[error("policy line {number}: {fault} (C2SP tlog-policy)")]
    Line {
        /// The line, counted from 1.
        number: usize,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// The file does not say which quorum is asked for.
    #[error(
        "the policy has no quorum line; add \"quorum none\" if no witness is asked for (C2SP tlog-policy)"
    )]
    NoQuorum,
    /// The note was changed, or nobody known signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The signed text is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No trusted key of that very log signed.
    #[error(
        "no log key of the policy signed this checkpoint of {0:?}; a log's key carries its origin as its name"
    )]
    Log(String),
    /// Too few witnesses cosigned.
    #[error("the quorum {quorum} is not reached: cosigned by {seen}")]
    Quorum {
        /// The name of the quorum.
        quorum: String,
        /// Who cosigned.
        seen: String,
    },
}

/// What is wrong with a policy line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LineFault {
    /// A byte that the file may not hold.
    #[error("it holds the control character 0x{0:02x}")]
    Control(u8),
    /// Not one of the four kinds of line, or with missing or surplus items.
    #[error(
        "it is none of: log <vkey> [<url>] · witness <name> <vkey> [<url>] · group <name> all|any|<k> <name>... · quorum <name>|none"
    )]
    Shape,
    /// A key that cannot be read.
    #[error(transparent)]
    Key(#[from] NoteError),
    /// A witness with a log's kind of key.
    #[error("a witness needs a cosignature/v1 key (type 0x04)")]
    WitnessKind,
    /// A log with a witness's kind of key.
    #[error("a log needs an Ed25519 key (type 0x01)")]
    LogKind,
    /// A key twice in one role.
    #[error("the same public key stands on an earlier line")]
    DuplicateKey,
    /// A name twice, or the predefined name.
    #[error("the name {0} is already taken")]
    DuplicateName(String),
    /// A name that no earlier line defines.
    #[error("the name {0} is not defined on an earlier line")]
    UnknownName(String),
    /// A witness or group that would count twice.
    #[error("{0} is already a member of a group; a member can count once only")]
    DuplicateMember(String),
    /// A threshold that the group can never reach, or always has.
    #[error("the threshold must be a number from 1 to {0}, the number of members, or all, or any")]
    Threshold(usize),
    /// A second quorum.
    #[error("the quorum is already set on an earlier line")]
    DuplicateQuorum,
    /// More than [`POLICY_DEFINITIONS_MAX`] definitions.
    #[error("more than {POLICY_DEFINITIONS_MAX} logs, witnesses and groups")]
    TooMany,
}

/// The predefined name of no quorum.
const NONE: &[u8] = b"none";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Which witnesses a checkpoint needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quorum {
    None,
    Of(Member),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    threshold: usize,
    members: Vec<Member>,
}

/// What has been read of a policy file so far.
#[derive(Default)]
struct Reading {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Quorum>,
    /// Every name defined so far, and whether some group has it as a member.
    names: HashMap<Vec<u8>, (Member, bool)>,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), LineFault> {
        if let Some(control) = line.iter().find(|byte| **byte == 0x7f || **byte < b' ' && **byte != b'\t') {
            return Err(LineFault::Control(*control));
        }
        let items = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty());
        let items = items.collect::<Vec<_>>();
        if items.first().is_none_or(|first| first.starts_with(b"#")) {
            return Ok(());
        }
        if self.logs.len() + self.witnesses.len() + self.groups.len() > POLICY_DEFINITIONS_MAX {
            return Err(LineFault::TooMany);
        }
        match items[..] {
            [b"log", key] => self.log(key, None),
            [b"log", key, url] => self.log(key, Some(url.to_vec())),
            [b"witness", name, key] => self.witness(name, key, None),
            [b"witness", name, key, url] => self.witness(name, key, Some(url.to_vec())),
            [b"group", name, threshold, ref members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            [b"quorum", name] => self.quorum(name),
            _ => Err(LineFault::Shape),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<Vec<u8>>) -> Result<(), LineFault> {
        let key = vkey(key)?;
        if key.kind() != KeyKind::Ed25519 {
            return Err(LineFault::LogKind);
        }
        if self.logs.iter().any(|log| log.key.public() == key.public()) {
            return Err(LineFault::DuplicateKey);
        }
        self.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<Vec<u8>>) -> Result<(), LineFault> {
        let key = vkey(key)?;
        if key.kind() != KeyKind::CosignatureV1 {
            return Err(LineFault::WitnessKind);
        }
        if self.witnesses.iter().any(|witness| witness.key.public() == key.public()) {
            return Err(LineFault::DuplicateKey);
        }
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness { name: name.to_vec(), key, url });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], names: &[&[u8]]) -> Result<(), LineFault> {
        let threshold = match threshold {
            b"all" => Some(names.len()),
            b"any" => Some(1),
            number => std::str::from_utf8(number)
                .ok()
                .and_then(crate::checkpoint::parse_decimal)
                .and_then(|k| k.try_into().ok()),
        };
        let threshold =
            threshold.filter(|k| (1..=names.len()).contains(k)).ok_or(LineFault::Threshold(names.len()))?;
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let (member, taken) =
                self.names.get_mut(*name).ok_or_else(|| LineFault::UnknownName(text(name)))?;
            if std::mem::replace(taken, true) {
                return Err(LineFault::DuplicateMember(text(name)));
            }
            members.push(*member);
        }
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { name: name.to_vec(), threshold, members });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), LineFault> {
        if self.quorum.is_some() {
            return Err(LineFault::DuplicateQuorum);
        }
        self.quorum = Some(match self.names.get(name) {
            _ if name == NONE => Quorum::None,
            Some((member, _)) => Quorum::Of(*member),
            None => return Err(LineFault::UnknownName(text(name))),
        });
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), LineFault> {
        if name == NONE || self.names.contains_key(name) {
            return Err(LineFault::DuplicateName(text(name)));
        }
        self.names.insert(name.to_vec(), (member, false));
        Ok(())
    }
}

fn vkey(item: &[u8]) -> Result<VerifierKey, NoteError> {
    std::str::from_utf8(item).map_err(|_| NoteError::KeyText("it is not UTF-8"))?.parse()
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn items(items: &[&[u8]], url: Option<&[u8]>) -> Vec<u8> {
    items.iter().copied().chain(url).collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests;
