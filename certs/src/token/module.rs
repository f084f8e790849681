//! The vendor's library: loaded once in a process and never unloaded, begun anew where it lost sight of its tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::TokenError;

/// Shortest time between two beginnings of a library, milliseconds: each ends every session with every token.
const BEGIN_AGAIN_MS: u64 = 2_000;

/// PKCS #11 §5.4: a process begins a library once, whoever uses it.
static LOADED: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

/// One library.
pub(super) struct Module {
    path: PathBuf,
    state: RwLock<State>,
}

/// The library as it is begun now. Sessions of another generation are gone.
pub(super) struct State {
    /// Counts the beginnings.
    pub(super) generation: u64,
    begun: Instant,
    context: Option<Pkcs11>,
}

impl Module {
    /// The library at `path`, loaded and begun if it was not.
    pub(super) fn load(path: &Path) -> Result<Arc<Module>, TokenError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(path) {
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(path).map_err(|error| unusable(path, &error))?;
        begin(&context).map_err(|error| unusable(path, &error))?;
        let state = State { generation: 0, begun: Instant::now(), context: Some(context) };
        let module = Arc::new(Module { path: path.to_owned(), state: RwLock::new(state) });
        loaded.insert(path.to_owned(), Arc::clone(&module));
        Ok(module)
    }

    /// The library for one conversation with it; it is not begun anew meanwhile.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the library anew, since it does not see a token that should be there: some look for tokens only then. Not
    /// while anybody talks to it, and not too often. Says whether it did.
    pub(super) fn begin_again(&self) -> Result<bool, TokenError> {
        let Ok(mut state) = self.state.try_write() else {
            return Ok(false);
        };
        if state.begun.elapsed() < Duration::from_millis(BEGIN_AGAIN_MS) {
            return Ok(false);
        }
        state.begun = Instant::now();
        state.generation += 1;
        if let Some(context) = state.context.take() {
            // Whatever it says: what matters is whether it begins again.
            let _ = context.finalize();
        }
        let context = Pkcs11::new(&self.path).map_err(|error| unusable(&self.path, &error))?;
        begin(&context).map_err(|error| unusable(&self.path, &error))?;
        state.context = Some(context);
        Ok(true)
    }

    /// The library did not begin again, and nobody tried since.
    pub(super) fn not_begun(&self) -> TokenError {
        TokenError::Module { module: self.path.clone(), detail: "it did not begin again".to_owned() }
    }
}

impl State {
    /// The library; `None` where it did not begin again.
    pub(super) fn context(&self) -> Option<&Pkcs11> {
        self.context.as_ref()
    }
}

fn begin(context: &Pkcs11) -> Result<(), Error> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        begun => begun,
    }
}

fn unusable(path: &Path, error: &Error) -> TokenError {
    TokenError::Module { module: path.to_owned(), detail: error.to_string() }
}
