//! An operator's machine: configuration, process, rights on disk, journal, volume.

use crate::commands::doctor::{
    facts::{Encryption, Process, RightsOnDisk, Volume},
    finding::{Check, Finding, text},
    judge::node::{SILENCE_WARN_S, SKEW_FAIL_MS, SKEW_WARN_MS},
};

/// Part of the journal's bound above which somebody should look, percent.
pub const BACKLOG_WARN_PERCENT: u64 = 50;

/// The configuration and what it names.
pub fn configuration(configuration: &Result<(), String>) -> Finding {
    match configuration {
        Ok(()) => Finding::ok(
            Check::Configuration,
            text("đọc được mọi thứ nó nêu", "everything that it names can be read"),
        ),
        Err(why) => Finding::fail(
            Check::Configuration,
            text(format!("nút sẽ không khởi động: {why}"), format!("the node will not start: {why}")),
            text("sửa đúng chỗ đã nêu", "correct what it names"),
        ),
    }
}

/// The running process.
pub fn process(process: &Process) -> Finding {
    match process {
        Process::NoAdmin => Finding::warn(
            Check::Process,
            text(
                "không có cổng quản trị, không nhìn được tiến trình",
                "no admin listener: the process cannot be looked at",
            ),
            text("đặt telemetry.admin_listen", "set telemetry.admin_listen"),
        ),
        Process::Silent(why) => Finding::fail(
            Check::Process,
            text(format!("không trả lời: {why}"), format!("does not answer: {why}")),
            text("khởi động nút và xem nhật ký", "start the node, and read its log"),
        ),
        Process::Answered { failing, version, .. } if failing.is_empty() => Finding::ok(
            Check::Process,
            text(format!("đang chạy, bản {version}"), format!("runs, version {version}")),
        ),
        Process::Answered { failing, .. } => {
            let told: Vec<_> = failing.iter().map(|(name, detail)| format!("{name}: {detail}")).collect();
            let told = told.join("; ");
            Finding::fail(
                Check::Process,
                text(format!("chưa sẵn sàng: {told}"), format!("not ready: {told}")),
                text("xem các dòng dưới và nhật ký của nút", "see the lines below, and the node's log"),
            )
        }
    }
}

/// Clock, registry and bundle, by what lies in the data folder.
pub fn rights(rights: &Result<Option<RightsOnDisk>, String>, name: &str) -> Vec<Finding> {
    let broker = text(
        "xem các dòng về nền tảng điều phối ở trên và nhật ký của nút",
        "see the lines about the broker above, and the node's log",
    );
    let skipped = [Check::Clock, Check::Registry];
    match rights {
        Err(why) => {
            let damaged = Finding::fail(
                Check::Bundle,
                text(format!("không đọc được: {why}"), format!("cannot be read: {why}")),
                broker,
            );
            let why = text("không có gói quyền đọc được", "there is no bundle that can be read");
            skipped.map(|check| Finding::skip(check, why.clone())).into_iter().chain([damaged]).collect()
        }
        Ok(None) => {
            let none = Finding::fail(
                Check::Bundle,
                text("nút chưa từng nhận gói quyền", "the node never received a bundle"),
                broker,
            );
            let why = text("nút chưa từng nghe nền tảng điều phối", "the node never heard the broker");
            skipped.map(|check| Finding::skip(check, why.clone())).into_iter().chain([none]).collect()
        }
        Ok(Some(rights)) => vec![clock(rights), registry(rights, name), bundle(rights)],
    }
}

fn clock(rights: &RightsOnDisk) -> Finding {
    let skew = rights.ahead_ms;
    let (vi, en) = if skew < 0 { ("chậm hơn", "behind") } else { ("nhanh hơn", "ahead of") };
    let seen = text(
        format!("{vi} nền tảng điều phối {} ms", skew.abs()),
        format!("{} ms {en} the broker", skew.abs()),
    );
    let fix = text("đồng bộ đồng hồ máy này (NTP)", "synchronise this machine's clock (NTP)");
    // Behind by more than the first bound, the node itself denies every call; ahead of the second, others do.
    match skew {
        SKEW_FAIL_MS.. => Finding::fail(Check::Clock, seen, fix),
        _ if skew < -SKEW_WARN_MS => Finding::fail(Check::Clock, seen, fix),
        SKEW_WARN_MS.. => Finding::warn(Check::Clock, seen, fix),
        _ => Finding::ok(Check::Clock, seen),
    }
}

fn registry(rights: &RightsOnDisk, name: &str) -> Finding {
    match rights.bound {
        Some(true) => Finding::ok(
            Check::Registry,
            text(format!("gắn chứng thư này với {name}"), format!("binds this certificate to {name}")),
        ),
        Some(false) => Finding::fail(
            Check::Registry,
            text(
                format!("không gắn chứng thư này với {name} (R-34)"),
                format!("does not bind this certificate to {name} (R-34)"),
            ),
            text(
                "đề nghị người vận hành nền tảng gắn chứng thư trong sổ đăng ký",
                "have the mesh's operator bind the certificate in the registry",
            ),
        ),
        None => Finding::skip(
            Check::Registry,
            text("gói quyền không nêu nút này", "the bundle does not name this node"),
        ),
    }
}

fn bundle(rights: &RightsOnDisk) -> Finding {
    let (epoch, age) = (rights.epoch, rights.age.as_secs());
    let seen = text(
        format!("phiên bản {epoch}, nghe nền tảng điều phối {age} giây trước"),
        format!("epoch {epoch}, broker heard {age} s ago"),
    );
    let fix = text("xem các dòng về nền tảng điều phối ở trên", "see the lines about the broker above");
    if rights.age_max.is_some_and(|allowed| rights.age > allowed) {
        return Finding::fail(
            Check::Bundle,
            text(
                format!("{}: quá cũ cho ít nhất một tập dữ liệu (DENY_RIGHTS_STALE)", seen.vi),
                format!("{}: too old for at least one dataset (DENY_RIGHTS_STALE)", seen.en),
            ),
            fix,
        );
    }
    if age > SILENCE_WARN_S {
        Finding::warn(Check::Bundle, seen, fix)
    } else {
        Finding::ok(Check::Bundle, seen)
    }
}

/// Records that wait for the broker.
pub fn journal(process: &Process, backlog_max: u64) -> Finding {
    let Process::Answered { backlog: Some(backlog), .. } = process else {
        return Finding::skip(Check::Journal, text("tiến trình không cho biết", "the process does not say"));
    };
    let seen = text(
        format!("{backlog} bản ghi chờ nền tảng điều phối, tối đa {backlog_max}"),
        format!("{backlog} records wait for the broker, at most {backlog_max}"),
    );
    let fix = text(
        "khôi phục kết nối đến nền tảng điều phối trước khi nhật ký đầy",
        "restore the way to the broker before the journal is full",
    );
    if *backlog >= backlog_max {
        Finding::fail(Check::Journal, seen, fix)
    } else if *backlog >= backlog_max / 100 * BACKLOG_WARN_PERCENT {
        Finding::warn(Check::Journal, seen, fix)
    } else {
        Finding::ok(Check::Journal, seen)
    }
}

/// Room and encryption of the volume.
pub fn volume(volume: &Volume, backlog_bytes_max: u64) -> Vec<Finding> {
    vec![disk(volume, backlog_bytes_max), encryption(volume)]
}

fn disk(volume: &Volume, backlog_bytes_max: u64) -> Finding {
    const MIB: u64 = 1024 * 1024;
    let folder = &volume.folder;
    match &volume.free_bytes {
        Ok(free) => {
            let (free_mib, needed_mib) = (free / MIB, backlog_bytes_max / MIB);
            let seen = text(
                format!("{folder} còn {free_mib} MiB, nhật ký dành {needed_mib} MiB"),
                format!("{folder} has {free_mib} MiB left, the journal reserves {needed_mib} MiB"),
            );
            let fix = text("giải phóng đĩa hoặc chuyển data_dir", "free the disk, or move data_dir");
            // The reserve is taken already where the node has run; what is free keeps the rest of it alive.
            if *free < backlog_bytes_max / 10 {
                Finding::fail(Check::Disk, seen, fix)
            } else if *free < backlog_bytes_max {
                Finding::warn(Check::Disk, seen, fix)
            } else {
                Finding::ok(Check::Disk, seen)
            }
        }
        Err(why) => Finding::fail(
            Check::Disk,
            text(format!("không xem được {folder}: {why}"), format!("{folder} cannot be looked at: {why}")),
            text("tạo thư mục data_dir và cấp quyền cho nút", "make data_dir, and let the node write there"),
        ),
    }
}

fn encryption(volume: &Volume) -> Finding {
    let fix = text(
        "đặt data_dir trên ổ đĩa mã hóa (LUKS): nhật ký nói ai hỏi gì",
        "put data_dir on an encrypted volume (LUKS): journals tell who asked what",
    );
    match volume.encryption {
        Encryption::Seen => {
            Finding::ok(Check::Encryption, text("ổ đĩa mã hóa (dm-crypt)", "an encrypted volume (dm-crypt)"))
        }
        Encryption::NotSeen => {
            Finding::warn(Check::Encryption, text("ổ đĩa không mã hóa", "the volume is not encrypted"), fix)
        }
        Encryption::Unknown => Finding::warn(
            Check::Encryption,
            text("không thấy ổ đĩa có mã hóa hay không", "it cannot be seen whether the volume is encrypted"),
            fix,
        ),
    }
}
