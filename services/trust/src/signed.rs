//! A trust file with its signatures: read by itself, believed from a pin, followed from the one before.

use std::fmt;

use lienthong_audit::hash::sha256;
use lienthong_audit::note::{Note, NoteError, SigningKey, VerifierKey};
use time::OffsetDateTime;

use crate::error::TrustFileError;
use crate::mesh_trust::{MeshTrust, Roots};

/// A trust file that enough of its own roots have signed. Whether these are the right roots, [`SignedTrust::pinned`] and
/// [`SignedTrust::follow`] say.
#[derive(Clone, Debug)]
pub struct SignedTrust {
    note: Note,
    trust: MeshTrust,
}

/// What a file is to the one that is held.
#[derive(Clone, Debug)]
pub enum Followed {
    /// The same, perhaps with other signatures.
    Same,
    /// It takes the place of the one held.
    Newer(Box<SignedTrust>),
    /// It has ended, and changed the roots while it held: what comes after it may be followed from it, so that whoever slept
    /// through its time is not locked out. It is never in force itself.
    Step(Box<SignedTrust>),
}

impl SignedTrust {
    /// Reads a file whole: every signature line of its own roots must be good, and at least as many as its threshold says.
    ///
    /// # Errors
    /// [`TrustFileError`].
    pub fn read(bytes: &[u8]) -> Result<SignedTrust, TrustFileError> {
        let (note, trust) = read_unsigned(bytes)?;
        let found = signers(&note, &trust.parts().roots)?;
        let needed = trust.parts().roots.threshold;
        if found < needed {
            return Err(TrustFileError::Unsigned { found, needed });
        }
        Ok(SignedTrust { note, trust })
    }

    /// Signs what `trust` says with these root keys. The first to sign makes the file; others add their signatures with
    /// [`add_signature`].
    ///
    /// # Errors
    /// [`TrustFileError`].
    pub fn sign(trust: &MeshTrust, keys: &[&SigningKey]) -> Result<String, TrustFileError> {
        let mut note = Note::new(trust.to_text()?)?;
        for key in keys {
            note.add(key.sign(note.text())?);
        }
        // What could not be read back must not leave.
        MeshTrust::from_text(note.text())?;
        Ok(note.to_string())
    }

    /// What it says.
    pub fn trust(&self) -> &MeshTrust {
        &self.trust
    }

    /// The file, as it is stored and carried.
    pub fn to_file(&self) -> String {
        self.note.to_string()
    }

    /// Who signed, good or not, for people.
    pub fn signers(&self) -> impl Iterator<Item = String> {
        self.note.signatures().iter().map(|line| format!("{}+{:08x}", line.name, line.key_id))
    }

    /// Believes the first file of an installation: its roots are those that were pinned, it is of this mesh, and it has
    /// not expired.
    ///
    /// # Errors
    /// [`TrustFileError`].
    pub fn pinned(
        self,
        pin: &str,
        mesh: &str,
        development: bool,
        now: OffsetDateTime,
    ) -> Result<SignedTrust, TrustFileError> {
        let pinned = Fingerprint::read(pin).ok_or(TrustFileError::Pin)?;
        let found = self.trust.parts().roots.fingerprint();
        if found != pinned {
            return Err(TrustFileError::OtherRoots { found: found.to_string(), pinned: pinned.to_string() });
        }
        self.fits(mesh, development)?;
        self.check_time(now)?;
        Ok(self)
    }

    /// Judges another file by this one, which is held: the same mesh, a higher version, not expired, and signed by enough
    /// of the roots that are trusted until now. An old root set cannot be left out of a change of roots, and an old file
    /// cannot come back. A change of roots whose time has ended is a step towards a later file, never the end of the way.
    ///
    /// # Errors
    /// [`TrustFileError`]; the one held stays.
    pub fn follow(&self, other: SignedTrust, now: OffsetDateTime) -> Result<Followed, TrustFileError> {
        let (held, found) = (self.trust.version(), other.trust.version());
        other.fits(self.trust.mesh(), self.trust.parts().development)?;
        if found < held {
            return Err(TrustFileError::Rollback { found, held });
        }
        let needed = self.trust.parts().roots.threshold;
        let signed = signers(&other.note, &self.trust.parts().roots)?;
        if signed < needed {
            return Err(TrustFileError::NotSucceeding { found: signed, needed });
        }
        if found == held {
            let same = other.note.text() == self.note.text();
            return if same { Ok(Followed::Same) } else { Err(TrustFileError::Forked(held)) };
        }
        match other.check_time(now) {
            Ok(()) => Ok(Followed::Newer(Box::new(other))),
            Err(_) if other.changes_roots(self) => Ok(Followed::Step(Box::new(other))),
            Err(ended) => Err(ended),
        }
    }

    /// Whether its roots are other ones than `before`'s: whoever holds `before` must take this very file before later ones.
    pub fn changes_roots(&self, before: &SignedTrust) -> bool {
        self.trust.parts().roots != before.trust.parts().roots
    }

    pub(crate) fn fits(&self, mesh: &str, development: bool) -> Result<(), TrustFileError> {
        if self.trust.parts().development != development {
            return Err(TrustFileError::Development(self.trust.parts().development));
        }
        if self.trust.mesh() != mesh {
            return Err(TrustFileError::Mesh {
                found: self.trust.mesh().to_owned(),
                expected: mesh.to_owned(),
            });
        }
        Ok(())
    }

    fn check_time(&self, now: OffsetDateTime) -> Result<(), TrustFileError> {
        if now < self.trust.expires() { Ok(()) } else { Err(TrustFileError::Expired(self.trust.expires())) }
    }
}

/// Reads a file without asking who signed it: for those who are about to sign it, or to explain it.
///
/// # Errors
/// [`TrustFileError`].
pub fn read_unsigned(bytes: &[u8]) -> Result<(Note, MeshTrust), TrustFileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| TrustFileError::NotText)?;
    let note: Note = text.parse()?;
    let trust = MeshTrust::from_text(note.text())?;
    Ok((note, trust))
}

/// Adds a root's signature to a file, once.
///
/// # Errors
/// [`TrustFileError`].
pub fn add_signature(bytes: &[u8], key: &SigningKey) -> Result<String, TrustFileError> {
    let (mut note, _) = read_unsigned(bytes)?;
    let line = key.sign(note.text())?;
    if !note.signatures().contains(&line) {
        note.add(line);
    }
    Ok(note.to_string())
}

/// How many of these roots have signed. A line in the name of one of them that does not fit refuses the file.
///
/// # Errors
/// [`TrustFileError::Note`].
pub fn signers(note: &Note, roots: &Roots) -> Result<usize, TrustFileError> {
    let verified = match note.verify(&roots.keys) {
        Ok(verified) => verified,
        Err(NoteError::NoKnownSignature(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let by = |key: &&VerifierKey| verified.iter().any(|signature| signature.key == *key);
    Ok(roots.keys.iter().filter(by).count())
}

/// SHA-256 over a set of roots and its threshold: what is pinned and read out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits, however they are grouped.
    pub fn read(text: &str) -> Option<Fingerprint> {
        let digits: String =
            text.chars().filter(|character| !character.is_whitespace() && *character != ':').collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits.to_ascii_lowercase(), &mut bytes).ok()?;
        Some(Fingerprint(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Roots {
    /// The fingerprint: the same keys in another order are the same roots.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        keys.sort_unstable();
        let text = format!("lienthong/roots/v1\n{}\n{}\n", self.threshold, keys.join("\n"));
        Fingerprint(sha256(text.as_bytes()).0)
    }
}
