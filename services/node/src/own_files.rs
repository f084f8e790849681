//! What the node's operator should know of its certificate, key and revocation lists on disk: shown by `/health`, kept by
//! whoever takes the files over ([`crate::control::renewal`]).

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use arc_swap::ArcSwapOption;
use lienthong_telemetry::Check;
use time::OffsetDateTime;

/// The state of the node's own files.
#[derive(Debug, Default)]
pub struct OwnFiles {
    /// Why what is on disk is not in use, where it is not.
    refused: ArcSwapOption<String>,
    /// What hinders the renewal of the certificate, or what it waits for.
    renewing: ArcSwapOption<String>,
    /// End of the certificate's validity, Unix time.
    not_after: AtomicI64,
}

impl OwnFiles {
    /// What is on disk is in use; the certificate is good until then.
    pub fn taken(&self, not_after: OffsetDateTime) {
        self.not_after.store(not_after.unix_timestamp(), Ordering::Relaxed);
        self.refused.store(None);
    }

    /// What is on disk cannot be used; what was read before goes on.
    pub fn refused(&self, why: &str) {
        self.refused.store(Some(Arc::new(why.to_owned())));
    }

    /// How the renewal of the certificate stands; `None` while there is nothing to say.
    pub fn renewing(&self, what: Option<&str>) {
        self.renewing.store(what.map(|what| Arc::new(what.to_owned())));
    }

    /// For `/health`. A file that cannot be used is told and takes nothing away; an expired certificate is refused by
    /// everybody.
    pub fn check(&self, now: OffsetDateTime) -> Check {
        let refused = match &*self.refused.load() {
            Some(why) => format!("; what is on disk now is NOT in use: {why}"),
            None => String::new(),
        };
        let renewing = self.renewing.load().as_ref().map(|what| format!("; {what}")).unwrap_or_default();
        let told = format!("{renewing}{refused}");
        let seconds = self.not_after.load(Ordering::Relaxed);
        let until = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let days = (until - now).whole_days();
        if until < now {
            return Check::failing(format!("expired on {}{told}", until.date()));
        }
        Check::ok(format!("{days} days left, until {}{told}", until.date()))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_refused_file_is_told_and_an_expired_certificate_fails() {
        let own = OwnFiles::default();
        let end = datetime!(2026-12-22 07:00 UTC);
        own.taken(end);
        assert_eq!(own.check(end - time::Duration::days(30)), Check::ok("30 days left, until 2026-12-22"));
        own.refused("node.key is half a key");
        let check = own.check(end - time::Duration::days(30));
        assert!(check.ok && check.detail.contains("NOT in use: node.key is half a key"), "{check:?}");
        assert!(!own.check(end + time::Duration::SECOND).ok);
        own.renewing(Some("its renewal waits"));
        let check = own.check(end);
        assert!(
            check.ok && check.detail.contains("2026-12-22; its renewal waits; what is on disk"),
            "{check:?}"
        );
        own.renewing(None);
        own.taken(end);
        assert!(!own.check(end - time::Duration::DAY).detail.contains("NOT"));
    }
}
