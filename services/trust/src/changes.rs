//! What one version changes against another, in words: Vietnamese and English.

use lienthong_audit::note::VerifierKey;
use lienthong_certs::Branch;

use crate::mesh_trust::{KeyPair, MeshTrust};

/// One change, in both languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Vietnamese.
    pub vi: String,
    /// English.
    pub en: String,
}

/// Everything that `new` changes against `held`, the weightiest first.
pub fn changes(held: &MeshTrust, new: &MeshTrust) -> Vec<Change> {
    let (held, new) = (held.parts(), new.parts());
    let mut all = Vec::new();
    let mut say = |vi: String, en: String| all.push(Change { vi, en });
    if held.roots != new.roots {
        say(
            format!("khóa gốc: {} → {}", held.roots.fingerprint(), new.roots.fingerprint()),
            format!("roots: {} → {}", held.roots.fingerprint(), new.roots.fingerprint()),
        );
    }
    pair("khóa ký gói quyền", "bundle key", &held.bundle, &new.bundle, &mut say);
    pair("khóa nhật ký", "log key", &held.log, &new.log, &mut say);
    for anchor in held.anchors.iter().filter(|anchor| !new.anchors.contains(anchor)) {
        let (vi, en) = parties(anchor.parties);
        say(
            format!("bỏ neo tin cậy \"{}\" ({vi}): kết nối dùng chứng thư của nó sẽ bị đóng", anchor.label),
            format!(
                "the anchor \"{}\" ({en}) goes: connections under its certificates are closed",
                anchor.label
            ),
        );
    }
    for anchor in new.anchors.iter().filter(|anchor| !held.anchors.contains(anchor)) {
        let (vi, en) = parties(anchor.parties);
        say(
            format!("thêm neo tin cậy \"{}\" ({vi})", anchor.label),
            format!("the anchor \"{}\" ({en}) comes", anchor.label),
        );
    }
    if held.witnesses != new.witnesses {
        let (before, after) = (&held.witnesses, &new.witnesses);
        say(
            format!(
                "nhân chứng: {}/{} → {}/{}",
                before.quorum,
                before.known.len(),
                after.quorum,
                after.known.len()
            ),
            format!(
                "witnesses: {} of {} → {} of {}",
                before.quorum,
                before.known.len(),
                after.quorum,
                after.known.len()
            ),
        );
    }
    if held.expires != new.expires {
        say(
            format!("hết hạn: {} → {}", held.expires.date(), new.expires.date()),
            format!("expiry: {} → {}", held.expires.date(), new.expires.date()),
        );
    }
    all
}

/// Whose certificates an anchor issues, in both languages.
pub fn parties(branch: Branch) -> (&'static str, &'static str) {
    match branch {
        Branch::State => ("cơ quan nhà nước", "state agencies"),
        Branch::Party => ("cơ quan của Đảng", "Party agencies"),
        Branch::Public => ("bên ngoài hệ thống chính trị", "outside parties"),
    }
}

fn pair(vi: &str, en: &str, held: &KeyPair, new: &KeyPair, say: &mut impl FnMut(String, String)) {
    let next =
        |pair: &KeyPair, none: &str| pair.next.as_ref().map_or_else(|| none.to_owned(), VerifierKey::label);
    if held.now != new.now {
        let known = held.next.as_ref() == Some(&new.now);
        let (warn_vi, warn_en) = if known {
            ("", "")
        } else {
            (
                " (CHÚ Ý: chưa từng là khóa kế tiếp; nút chưa nhận tệp này sẽ từ chối nó)",
                " (NOTE: it was never the next key; nodes without this file refuse it)",
            )
        };
        say(
            format!("{vi} đang dùng: {} → {}{warn_vi}", held.now.label(), new.now.label()),
            format!("{en} in use: {} → {}{warn_en}", held.now.label(), new.now.label()),
        );
    }
    if held.next != new.next {
        say(
            format!("{vi} kế tiếp: {} → {}", next(held, "không"), next(new, "không")),
            format!("{en} next: {} → {}", next(held, "none"), next(new, "none")),
        );
    }
}
