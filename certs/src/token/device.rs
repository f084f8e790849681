//! One session with one token: found, opened, logged in, and the key in it.

use std::collections::BTreeMap;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::TokenError;
use super::module::{Module, State};
use super::pool::Signs;
use crate::algorithm::SignatureAlgorithm;
use crate::certificate::sha256;
use crate::files;
use crate::key_source::TokenKey;

/// Largest file with a PIN, bytes.
const PIN_FILE_BYTES_MAX: u64 = 1024;
/// Salt of an RSA-PSS signature, bytes: as long as the hash (RFC 8446 §4.2.3).
const PSS_SALT_BYTES: u64 = 32;

/// What this process knows of the PIN of each token, by library and label: a key that is read again, as at every reload,
/// must not forget that its PIN was refused.
static LOGINS: Mutex<BTreeMap<(PathBuf, String), Arc<Login>>> = Mutex::new(BTreeMap::new());

/// What all sessions with one token know together.
#[derive(Default)]
pub(super) struct Login {
    /// Hash of a PIN that the token refused.
    refused: Mutex<Option<[u8; 32]>>,
}

impl Login {
    /// What is known of the token in which this key lies.
    pub(super) fn with(key: &TokenKey) -> Arc<Login> {
        let mut logins = LOGINS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(logins.entry((key.module.clone(), key.token.clone())).or_default())
    }
}

/// One session, made when it is needed and again when it broke.
pub(super) struct Device {
    key: TokenKey,
    algorithm: SignatureAlgorithm,
    login: Arc<Login>,
    open: Option<Open>,
}

struct Open {
    module: Arc<Module>,
    generation: u64,
    session: Session,
    key: ObjectHandle,
    /// The token hashes for RSA-PSS itself.
    hashes: bool,
}

impl Device {
    pub(super) fn new(key: TokenKey, algorithm: SignatureAlgorithm, login: Arc<Login>) -> Device {
        Device { key, algorithm, login, open: None }
    }

    fn attempt(&mut self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let module = match &self.open {
            Some(open) => Arc::clone(&open.module),
            None => Module::load(&self.key.module)?,
        };
        // Held for the whole conversation: nobody begins the library anew meanwhile.
        let state = module.state();
        if self.open.as_ref().is_none_or(|open| open.generation != state.generation) {
            self.forget(&state);
            self.open = Some(self.connect(&module, &state)?);
        }
        let Some(open) = &self.open else {
            return Err(self.failed("no session"));
        };
        match open.sign(self.algorithm, message) {
            Ok(signature) => Ok(signature),
            Err(error) => {
                self.forget(&state);
                Err(self.failed(&error))
            }
        }
    }

    fn connect(&self, module: &Arc<Module>, state: &State) -> Result<Open, TokenError> {
        let context = state.context().ok_or_else(|| module.not_begun())?;
        let slot = self.slot(context)?;
        let session = context.open_ro_session_no_drop(slot).map_err(|error| self.failed(&error))?;
        let prepared = self.log_in(context, slot, &session).and_then(|()| {
            let key = self.find(&session)?;
            Ok((key, self.hashes(context, slot)?))
        });
        match prepared {
            Ok((key, hashes)) => {
                let (module, generation) = (Arc::clone(module), state.generation);
                Ok(Open { module, generation, session, key, hashes })
            }
            Err(error) => {
                // It is of no use, however its end goes.
                let _ = session.close();
                Err(error)
            }
        }
    }

    fn slot(&self, context: &Pkcs11) -> Result<Slot, TokenError> {
        let slots = context.get_slots_with_token().map_err(|error| self.failed(&error))?;
        let named = |slot: &Slot| {
            context.get_token_info(*slot).is_ok_and(|token| token.label().trim_end() == self.key.token)
        };
        let absent = || TokenError::Absent { token: self.key.token.clone() };
        slots.into_iter().find(named).ok_or_else(absent)
    }

    fn log_in(&self, context: &Pkcs11, slot: Slot, session: &Session) -> Result<(), TokenError> {
        let token = || self.key.token.clone();
        let pin = self.pin()?;
        let hash = sha256(pin.as_bytes());
        // Held while the token is asked, so that two sessions do not both spend a try.
        let mut refused = self.login.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if *refused == Some(hash) {
            return Err(TokenError::Pin { token: token(), detail: "it refused this PIN before".to_owned() });
        }
        // A process that is started again and again with a wrong PIN would lock it.
        let info = context.get_token_info(slot).map_err(|error| self.failed(&error))?;
        if info.user_pin_final_try() {
            return Err(TokenError::LastTry { token: token() });
        }
        match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                *refused = None;
                Ok(())
            }
            Err(Error::Pkcs11(
                error @ (RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinLocked
                | RvError::PinExpired),
                _,
            )) => {
                *refused = Some(hash);
                Err(TokenError::Pin { token: token(), detail: format!("{error:?}") })
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn pin(&self) -> Result<Zeroizing<String>, TokenError> {
        let wrong = |detail: String| TokenError::PinFile { token: self.key.token.clone(), detail };
        let path = &self.key.pin_file;
        let bytes =
            files::read_private(path, PIN_FILE_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
        let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        match std::str::from_utf8(line) {
            Ok("") => Err(wrong(format!("the first line of {} is empty", path.display()))),
            Ok(pin) => Ok(Zeroizing::new(pin.to_owned())),
            Err(_) => Err(wrong(format!("{} is not text in UTF-8", path.display()))),
        }
    }

    fn find(&self, session: &Session) -> Result<ObjectHandle, TokenError> {
        let key = &self.key;
        let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
        template.extend(key.key.as_ref().map(|label| Attribute::Label(label.as_bytes().to_vec())));
        let mut what: Vec<String> = key.key.iter().map(|label| format!("the label \"{label}\"")).collect();
        if let Some(id) = &key.id {
            what.push(format!("the id {id}"));
            let id = hex::decode(id).map_err(|_| self.failed(&format!("`id` is not hexadecimal: {id}")))?;
            template.push(Attribute::Id(id));
        }
        let found = session.find_objects(&template).map_err(|error| self.failed(&error))?;
        if let [only] = found[..] {
            return Ok(only);
        }
        let what = if what.is_empty() { "any name".to_owned() } else { what.join(" and ") };
        Err(TokenError::Key { token: key.token.clone(), what, found: found.len() })
    }

    /// For an RSA key: whether the token hashes itself. Either form is the same signature.
    fn hashes(&self, context: &Pkcs11, slot: Slot) -> Result<bool, TokenError> {
        if self.algorithm != SignatureAlgorithm::RsaPssSha256 {
            return Ok(false);
        }
        let offered = context.get_mechanism_list(slot).map_err(|error| self.failed(&error))?;
        let whole = offered.contains(&MechanismType::SHA256_RSA_PKCS_PSS);
        if whole || offered.contains(&MechanismType::RSA_PKCS_PSS) {
            return Ok(whole);
        }
        let what = "RSA-PSS, which TLS 1.3 asks of an RSA key".to_owned();
        Err(TokenError::Unsupported { token: self.key.token.clone(), what })
    }

    /// Ends the session, unless the library that it belonged to has begun anew: its number is somebody else's by now.
    fn forget(&mut self, state: &State) {
        if let Some(open) = self.open.take()
            && open.generation == state.generation
        {
            // It broke, most likely; what it says at its end changes nothing.
            let _ = open.session.close();
        }
    }

    fn failed(&self, error: &(impl ToString + ?Sized)) -> TokenError {
        TokenError::Failed { token: self.key.token.clone(), detail: error.to_string() }
    }
}

impl Signs for Device {
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let was_open = self.open.is_some();
        match self.attempt(message) {
            // A session that had stood may have broken long ago: that is no reason to fail now.
            Err(TokenError::Failed { .. }) if was_open => {
                self.attempt(message).or_else(|error| self.look_again(error, message))
            }
            Err(error) => self.look_again(error, message),
            signed => signed,
        }
    }
}

impl Device {
    /// The token may be back, and only the library not know it.
    fn look_again(&mut self, error: TokenError, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let lost = matches!(error, TokenError::Absent { .. } | TokenError::Failed { .. })
            || matches!(error, TokenError::Key { found: 0, .. })
            || matches!(error, TokenError::Module { .. });
        if lost && Module::load(&self.key.module)?.begin_again()? {
            return self.attempt(message);
        }
        Err(error)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            let module = Arc::clone(&open.module);
            let state = module.state();
            self.forget(&state);
        }
    }
}

impl Open {
    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, Error> {
        let hashed = |with| digest::digest(with, message);
        let ecdsa = |hash: &digest::Digest| {
            self.session.sign(&Mechanism::Ecdsa, self.key, hash.as_ref()).map(|raw| ecdsa_der(&raw))
        };
        match algorithm {
            SignatureAlgorithm::Ed25519 => {
                let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
                self.session.sign(&pure, self.key, message)
            }
            SignatureAlgorithm::EcdsaP256Sha256 => ecdsa(&hashed(&digest::SHA256)),
            SignatureAlgorithm::EcdsaP384Sha384 => ecdsa(&hashed(&digest::SHA384)),
            SignatureAlgorithm::RsaPssSha256 => {
                let pss = PkcsPssParams {
                    hash_alg: MechanismType::SHA256,
                    mgf: PkcsMgfType::MGF1_SHA256,
                    s_len: PSS_SALT_BYTES.into(),
                };
                if self.hashes {
                    self.session.sign(&Mechanism::Sha256RsaPkcsPss(pss), self.key, message)
                } else {
                    let hash = hashed(&digest::SHA256);
                    self.session.sign(&Mechanism::RsaPkcsPss(pss), self.key, hash.as_ref())
                }
            }
        }
    }
}

/// PKCS #11 gives r and s side by side, TLS and the journal take `ECDSA-Sig-Value` (RFC 3279 §2.2.3).
fn ecdsa_der(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let mut content = integer(r);
    content.extend(integer(s));
    element(0x30, content)
}

/// A positive DER `INTEGER` without leading zeros.
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let first = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
    let digits = &big_endian[first..];
    let mut content = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.push(0);
    }
    content.extend(digits);
    element(0x02, content)
}

/// One DER element; P-384 at most, so that its length needs one byte.
fn element(tag: u8, mut content: Vec<u8>) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80).unwrap_or(0);
    let mut der = vec![tag, length];
    der.extend(mem::take(&mut content));
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_of_an_ecdsa_signature_become_der_integers() {
        assert_eq!(ecdsa_der(&[0, 1, 0x80, 2]), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 2]);
        assert_eq!(ecdsa_der(&[0, 0]), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        let longest = ecdsa_der(&[0xff; 96]);
        assert_eq!((longest.len(), longest[1]), (2 + 2 * (2 + 49), 2 * (2 + 49)));
    }
}
