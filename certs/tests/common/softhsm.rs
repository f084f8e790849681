//! Tokens for tests: SoftHSM 2 in a folder of its own.
//!
//! The library finds its tokens by an environment variable, which a process cannot set for itself without `unsafe`: so a
//! test that needs one runs once more, in a child of its own.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lienthong_certs::TokenKey;

/// Debian's package `softhsm2`, which `tests/run` installs.
const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"];
const FOLDER: &str = "LIENTHONG_TEST_SOFTHSM";
const PIN: &str = "135791";

/// The tokens of one test.
pub struct SoftHsm {
    folder: PathBuf,
}

impl SoftHsm {
    /// In the child, its tokens. In the parent: runs the child, and answers `None` once the child has passed.
    pub fn within(test: &str) -> Option<SoftHsm> {
        if let Some(folder) = std::env::var_os(FOLDER) {
            return Some(SoftHsm { folder: folder.into() });
        }
        let folder = tempfile::Builder::new().prefix("lienthong-token-").tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let config = folder.path().join("softhsm2.conf");
        fs::write(
            &config,
            format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                tokens.display()
            ),
        )
        .unwrap();
        let passed = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env("SOFTHSM2_CONF", &config)
            .env(FOLDER, folder.path())
            .status()
            .unwrap()
            .success();
        assert!(passed, "{test} failed in its child, see above");
        None
    }

    /// Makes a token with the key of a PKCS #8 file in it, under the label `key`.
    pub fn token(&self, label: &str, key_pem: &Path) -> TokenKey {
        let pin_file = self.folder.join(format!("{label}.pin"));
        fs::write(&pin_file, format!("{PIN}\n")).unwrap();
        fs::set_permissions(&pin_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        util(&["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "24680246"]);
        self.import(label, "key", "01", key_pem);
        TokenKey {
            module: module(),
            token: label.to_owned(),
            key: Some("key".to_owned()),
            id: None,
            pin_file,
        }
    }

    /// Puts one more key into a token.
    #[allow(clippy::unused_self, reason = "it is this process's SoftHSM that is meant")]
    pub fn import(&self, token: &str, label: &str, id: &str, key_pem: &Path) {
        let file = key_pem.to_str().unwrap();
        util(&["--import", file, "--token", token, "--label", label, "--id", id, "--pin", PIN]);
    }

    /// Takes every token away, as a hand that pulls them out.
    pub fn take_away(&self) {
        fs::rename(self.folder.join("tokens"), self.folder.join("away")).unwrap();
    }

    /// Puts them back.
    pub fn put_back(&self) {
        fs::rename(self.folder.join("away"), self.folder.join("tokens")).unwrap();
    }
}

fn module() -> PathBuf {
    let found = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("SoftHSM 2 is missing: install the package softhsm2, or run tests/run")
}

fn util(arguments: &[&str]) {
    let made = Command::new("softhsm2-util").args(arguments).output();
    let made = made.expect("softhsm2-util is missing: install the package softhsm2, or run tests/run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
