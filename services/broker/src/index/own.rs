//! Who end users are: a keyed hash of the number of each that his agency has registered. So it is seen, in the one moment in
//! which the broker knows whom a record is about, that somebody asked for data about himself.
//!
//! ```text
//! <data_dir>/index/own/users        a line a change, the last one counts: hash or "-", system, user in hexadecimal
//! ```

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lienthong_audit::finding;
use lienthong_proto::lienthong::audit::v1::{Exchange, Finding, FindingKind, Record, Side, record::Body};

use super::keys::Token;

/// End users that may be registered.
pub const OWN_USERS_MAX: usize = 100_000;

/// Name of the rule by which findings come about (`Finding.rule`).
pub const OWN_RECORD_RULE: &str = "own-record";

/// The end users who are known.
#[derive(Debug)]
pub struct OwnUsers {
    path: PathBuf,
    known: Mutex<HashMap<(String, String), Token>>,
}

impl OwnUsers {
    /// Reads what is kept in `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// Of the disk, or where a line says nothing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join("users");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        // A line without its end was never acknowledged.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut known = HashMap::new();
        for (number, line) in (1..).zip(whole.lines()) {
            let (who, token) = parse(line).ok_or_else(|| {
                io::Error::other(format!("{}: line {number} names no end user", path.display()))
            })?;
            match token {
                Some(token) => drop(known.insert(who, token)),
                None => drop(known.remove(&who)),
            }
        }
        let users = Self { path, known: Mutex::new(known) };
        // What was forgotten is gone from the disk with the next start.
        users.write_anew(&users.lock())?;
        Ok(users)
    }

    /// Registers an end user of a system, or forgets him. Durable when this returns. Blocking.
    ///
    /// # Errors
    /// Of the disk, or where there are too many.
    pub fn set(&self, system: &str, user: &str, token: Option<Token>) -> io::Result<()> {
        let mut known = self.lock();
        let who = (system.to_owned(), user.to_owned());
        match token {
            Some(_) if known.len() >= OWN_USERS_MAX && !known.contains_key(&who) => {
                return Err(io::Error::other(format!("more than {OWN_USERS_MAX} end users")));
            }
            Some(token) => {
                let mut file = OpenOptions::new().append(true).mode(0o600).open(&self.path)?;
                file.write_all(line(&who, Some(&token)).as_bytes())?;
                file.sync_data()?;
                known.insert(who, token);
            }
            None => {
                known.remove(&who);
                self.write_anew(&known)?;
            }
        }
        Ok(())
    }

    /// Forgets everybody of whom one of these tokens is kept. Blocking.
    ///
    /// # Errors
    /// Of the disk.
    pub fn erase(&self, tokens: &HashSet<Token>) -> io::Result<()> {
        let mut known = self.lock();
        let before = known.len();
        known.retain(|_, token| !tokens.contains(token));
        if known.len() < before { self.write_anew(&known) } else { Ok(()) }
    }

    /// What is found where the end user of a record is among those whom it is about. `about` makes their tokens, and is asked
    /// only where the end user is known.
    pub fn look(&self, record: &Record, about: impl FnOnce() -> Vec<Token>) -> Option<Finding> {
        let exchange = provided(record)?;
        let who = (exchange.system.clone(), exchange.user.clone());
        let own = *self.lock().get(&who)?;
        about().contains(&own).then(|| {
            let named = [exchange.system.as_bytes(), exchange.user.as_bytes(), &exchange.id];
            Finding {
                id: finding::id(FindingKind::OwnRecord, &named),
                kind: FindingKind::OwnRecord.into(),
                exchange_id: exchange.id.clone(),
                nodes: vec![exchange.system.clone()],
                dataset: exchange.dataset.clone(),
                detail: "an end user asked for data about himself".to_owned(),
                rule: OWN_RECORD_RULE.to_owned(),
                user: exchange.user.clone(),
                ..Finding::default()
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Token>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_anew(&self, known: &HashMap<(String, String), Token>) -> io::Result<()> {
        let text: String = known.iter().map(|(who, token)| line(who, Some(token))).collect();
        let draft = self.path.with_extension("tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        match self.path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The exchange of a record that says whom its provider gave data about, by a named end user. The provider's side counts, so
/// that an exchange counts once.
fn provided(record: &Record) -> Option<&Exchange> {
    let exchange = match record.body.as_ref()? {
        Body::Closing(closing) => closing.exchange.as_ref()?,
        Body::Continuation(more) => more.exchange.as_ref()?,
        _ => return None,
    };
    (exchange.side() == Side::Provider && !exchange.user.is_empty()).then_some(exchange)
}

fn line((system, user): &(String, String), token: Option<&Token>) -> String {
    let mut line = token.map_or_else(|| "-".to_owned(), hex::encode);
    // Writing into memory does not fail.
    let _ = writeln!(line, " {system} {}", hex::encode(user));
    line
}

fn parse(line: &str) -> Option<((String, String), Option<Token>)> {
    let mut parts = line.split(' ');
    let (token, system, user) = (parts.next()?, parts.next()?, parts.next()?);
    let token = match token {
        "-" => None,
        token => Some(hex::decode(token).ok()?.try_into().ok()?),
    };
    let user = String::from_utf8(hex::decode(user).ok()?).ok()?;
    parts.next().is_none().then(|| ((system.to_owned(), user), token))
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::audit::v1::Closing;

    use super::*;

    const SYSTEM: &str = "agencies/H26.90/systems/mot-cua";

    fn closing(side: Side, user: &str) -> Record {
        let exchange = Exchange {
            id: vec![1; 16],
            side: side.into(),
            system: SYSTEM.to_owned(),
            user: user.to_owned(),
            ..Exchange::default()
        };
        let closing = Closing { exchange: Some(exchange), ..Closing::default() };
        Record { body: Some(Body::Closing(closing)), ..Record::default() }
    }

    #[test]
    fn whoever_asks_about_himself_is_found_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let users = OwnUsers::open(dir.path()).unwrap();
        users.set(SYSTEM, "cán bộ 17", Some([7; 16])).unwrap();
        users.set(SYSTEM, "canbo.18", Some([8; 16])).unwrap();
        let found =
            |users: &OwnUsers, side, user| users.look(&closing(side, user), || vec![[1; 16], [7; 16]]);
        for users in [&users, &OwnUsers::open(dir.path()).unwrap()] {
            let finding = found(users, Side::Provider, "cán bộ 17").unwrap();
            assert_eq!((finding.kind(), finding.user.as_str()), (FindingKind::OwnRecord, "cán bộ 17"));
            assert_eq!(found(users, Side::Consumer, "cán bộ 17"), None, "an exchange counts once");
            assert_eq!(found(users, Side::Provider, "canbo.18"), None);
            assert_eq!(found(users, Side::Provider, "canbo.19"), None);
            assert_eq!(found(users, Side::Provider, ""), None);
        }
        users.set(SYSTEM, "canbo.18", None).unwrap();
        users.erase(&HashSet::from([[7; 16]])).unwrap();
        assert_eq!(found(&users, Side::Provider, "cán bộ 17"), None);
        assert_eq!(fs::read(dir.path().join("users")).unwrap(), b"");
    }

    #[test]
    fn a_torn_line_is_dropped_and_a_strange_one_told() {
        let dir = tempfile::tempdir().unwrap();
        let users = OwnUsers::open(dir.path()).unwrap();
        users.set(SYSTEM, "canbo.17", Some([7; 16])).unwrap();
        let path = dir.path().join("users");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("0707 agencies/");
        fs::write(&path, &text).unwrap();
        assert_eq!(OwnUsers::open(dir.path()).unwrap().lock().len(), 1);
        fs::write(&path, "07 x 41\n").unwrap();
        assert!(OwnUsers::open(dir.path()).unwrap_err().to_string().contains("line 1"));
    }
}
