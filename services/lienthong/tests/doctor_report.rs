//! Every judgement of the doctor on facts made up here, and the reports in both languages as they are kept in
//! `tests/golden`: run with `LIENTHONG_GOLDEN=write` to write them anew, and look at the difference.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use lienthong::commands::doctor::{
    facts::{
        Asked, Backend, ClientFacts, ContractAtHand, Encryption, Handshake, Health, Judged, NodeFacts, Own,
        Pair, Process, Reached, RightsOnDisk, Trip, TrustFacts, Volume,
    },
    finding::{Check, Finding, Status, is_well},
    judge,
    report::{Lang, lines},
};
use lienthong_certs::{CertificateRefusal, Freshness, judge::RevocationReason};
use lienthong_proto::{
    lienthong::node::v1::{CallOutlook, Caller, GetDiagnosisResponse, NodeState, Problem},
    reason::Reason,
};
use time::{Duration as Days, OffsetDateTime, macros::datetime};

const NOW: OffsetDateTime = datetime!(2026-11-21 08:00 UTC);
const NOW_UNIX_MS: i64 = 1_795_248_000_000;
const GET_CITIZEN: &str = "/vn.dancu.v1.CitizenService/GetCitizen";
const GIB: u64 = 1024 * 1024 * 1024;

#[test]
fn reports_are_those_of_the_golden_files() {
    for (name, findings) in [
        ("client-well", judge::client(&client())),
        ("client-broken", judge::client(&client_broken())),
        ("client-cut-off", judge::client(&client_cut_off())),
        ("operator-well", judge::operator(&operator())),
        ("operator-broken", judge::operator(&operator_broken())),
    ] {
        for (suffix, lang) in [("vi", Lang::Vi), ("en", Lang::En)] {
            let printed = lines(&findings, lang, false).join("\n") + "\n";
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("tests/golden")
                .join(format!("doctor-{name}.{suffix}.txt"));
            if std::env::var_os("LIENTHONG_GOLDEN").is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &printed).unwrap();
            }
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == printed, "{} is out of date; it should be:\n{printed}", path.display());
        }
        assert_eq!(is_well(&findings), name.ends_with("well"), "{name}");
    }
}

#[test]
fn every_finding_that_is_not_well_has_its_fix_and_both_languages() {
    for findings in [judge::client(&client_broken()), judge::operator(&operator_broken())] {
        for finding in findings {
            let has_fix = finding.fix.is_some();
            assert_eq!(has_fix, matches!(finding.status, Status::Warn | Status::Fail), "{finding:?}");
            for text in [Some(&finding.seen), finding.fix.as_ref()].into_iter().flatten() {
                assert!(!text.vi.is_empty() && !text.en.is_empty(), "{finding:?}");
                assert!(!text.en.contains('\n') && !text.vi.contains('\n'), "one line: {finding:?}");
            }
        }
    }
}

#[test]
fn validity_warns_at_thirty_fourteen_and_seven_days() {
    let report = |days: i64| {
        let pair = Pair { not_after: NOW + Days::days(days), ..pair() };
        let facts = ClientFacts { own: Own { pair: Ok(pair), ..own() }, ..client() };
        of(&judge::client(&facts), Check::Validity)
    };
    assert_eq!(report(31).status, Status::Ok);
    for (days, words) in [(29, "plan"), (13, "renew"), (6, "urgent")] {
        let finding = report(days);
        assert_eq!(finding.status, Status::Warn, "{days}");
        assert!(finding.fix.unwrap().en.contains(words), "{days}");
    }
    assert_eq!(report(-1).status, Status::Fail);
}

#[test]
fn a_clock_is_judged_beyond_what_the_question_leaves_open() {
    let report = |here_ms: i64, uncertain_ms: i64| {
        let Some(Asked::Answered { diagnosis, .. }) = client().asked else { unreachable!() };
        let asked =
            Asked::Answered { diagnosis, here_unix_ms: NOW_UNIX_MS.saturating_add(here_ms), uncertain_ms };
        of(&judge::client(&ClientFacts { asked: Some(asked), ..client() }), Check::Clock).status
    };
    assert_eq!(report(4_000, 10), Status::Ok);
    assert_eq!(report(-6_000, 10), Status::Warn);
    assert_eq!(report(6_000, 2_000), Status::Ok, "the question took four seconds");
    assert_eq!(report(130_000, 10), Status::Fail);
    assert_eq!(report(i64::MAX, i64::MAX), Status::Ok, "nothing is known, and nothing overflows");
}

#[test]
fn every_reason_can_be_told() {
    for info in Reason::all() {
        let outlook = CallOutlook {
            problem: Some(Problem { reason: info.name.to_owned(), ..Problem::default() }),
            ..CallOutlook::default()
        };
        let diagnosis = GetDiagnosisResponse { call: Some(outlook), ..diagnosis() };
        let finding =
            of(&judge::client(&ClientFacts { asked: Some(answered(diagnosis)), ..client() }), Check::Right);
        assert_eq!(finding.status, Status::Fail);
        let fix = finding.fix.unwrap();
        assert!(fix.vi.contains(info.remedy_vi) && fix.en.contains(&format!("docs/errors/{}.md", info.name)));
    }
}

fn of(findings: &[Finding], check: Check) -> Finding {
    findings.iter().find(|finding| finding.check == check).unwrap().clone()
}

fn pair() -> Pair {
    Pair {
        subject: "CN=mot-cua,O=H26.90,C=VN".to_owned(),
        serial: "0a1b".to_owned(),
        not_after: NOW + Days::days(200),
        judged: Judged::Accepted(Freshness::Missing),
    }
}

fn own() -> Own {
    Own {
        key: "mot-cua.key".to_owned(),
        certificate: "mot-cua.crt".to_owned(),
        key_mode: Some(Ok(0o600)),
        pair: Ok(pair()),
    }
}

fn reached(subject: &str) -> Reached {
    Reached {
        subject: subject.to_owned(),
        address: "n1.example:7080".to_owned(),
        lookup: Ok(vec![SocketAddr::from(([192, 0, 2, 1], 7080))]),
        tcp: Some(Ok(Duration::from_millis(3))),
        tls: Some(Handshake::Accepted {
            names: vec!["n1.example".to_owned()],
            not_after: NOW + Days::days(100),
        }),
    }
}

fn diagnosis() -> GetDiagnosisResponse {
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    GetDiagnosisResponse {
        node: "agencies/H26.90/nodes/n1".to_owned(),
        time: Some(prost_types::Timestamp { seconds: NOW_UNIX_MS / 1000, nanos: 0 }),
        caller: Some(Caller {
            agency: "H26.90".to_owned(),
            system: "agencies/H26.90/systems/mot-cua".to_owned(),
            problem: None,
        }),
        state: Some(NodeState {
            mesh: "vn".to_owned(),
            epoch: 7,
            rights_age: seconds(1),
            ..NodeState::default()
        }),
        call: Some(CallOutlook {
            provider: "G01".to_owned(),
            dataset: "dancu.cong_dan".to_owned(),
            grant: "CE-0001/H26.90@7".to_owned(),
            fields: vec!["so_dinh_danh".to_owned(), "ho_ten".to_owned()],
            rights_age_max: seconds(86_400),
            ..CallOutlook::default()
        }),
    }
}

fn answered(diagnosis: GetDiagnosisResponse) -> Asked {
    Asked::Answered { diagnosis: Box::new(diagnosis), here_unix_ms: NOW_UNIX_MS + 12, uncertain_ms: 4 }
}

fn client() -> ClientFacts {
    ClientFacts {
        now: NOW,
        own: own(),
        node: reached("node"),
        asked: Some(answered(diagnosis())),
        method: Some(GET_CITIZEN.to_owned()),
        contract: ContractAtHand::Same,
        trip: Some(Trip::Returned(Duration::from_millis(20))),
        timeout: Duration::from_secs(30),
        health: Some(Health::Serving),
    }
}

fn client_broken() -> ClientFacts {
    let denied = Problem {
        reason: "DENY_PURPOSE".to_owned(),
        rule: "R-24".to_owned(),
        detail: "granted: ADMIN_PROCEDURE".to_owned(),
    };
    let silent = prost_types::Duration { seconds: 90_000, nanos: 0 };
    let state = NodeState { rights_age: Some(silent), clock_behind: true, ..diagnosis().state.unwrap() };
    let call = CallOutlook { problem: Some(denied), ..diagnosis().call.unwrap() };
    let revoked = CertificateRefusal::Revoked {
        serial: "0a1b".to_owned(),
        authority: false,
        reason: RevocationReason::KeyCompromise,
        when: NOW - Days::days(1),
    };
    ClientFacts {
        own: Own {
            key_mode: Some(Ok(0o644)),
            pair: Ok(Pair { not_after: NOW + Days::days(6), judged: Judged::Refused(revoked), ..pair() }),
            ..own()
        },
        node: Reached {
            tls: Some(Handshake::ServerRefused(CertificateRefusal::WrongName {
                expected: "n2.example".to_owned(),
            })),
            ..reached("node")
        },
        asked: Some(answered(GetDiagnosisResponse { state: Some(state), call: Some(call), ..diagnosis() })),
        contract: ContractAtHand::Differs { have: "ab".repeat(32), served: "cd".repeat(32) },
        trip: Some(Trip::Failed {
            reason: Some(Reason::FailProviderUnreachable),
            words: "FAIL_PROVIDER_UNREACHABLE: G01".to_owned(),
        }),
        health: Some(Health::NotServing("NOT_SERVING".to_owned())),
        ..client()
    }
}

/// Nothing is there but the profile.
fn client_cut_off() -> ClientFacts {
    ClientFacts {
        own: Own {
            key_mode: Some(Err("No such file".to_owned())),
            pair: Err("cannot read mot-cua.crt".to_owned()),
            ..own()
        },
        node: Reached { lookup: Err("no such name".to_owned()), tcp: None, tls: None, ..reached("node") },
        asked: None,
        contract: ContractAtHand::NotGiven,
        trip: None,
        health: None,
        ..client()
    }
}

fn operator() -> NodeFacts {
    NodeFacts {
        now: NOW,
        name: "agencies/G01/nodes/n1".to_owned(),
        configuration: Ok(()),
        trust: Ok(TrustFacts { version: 7, expires: NOW + time::Duration::days(200), file: Ok(7) }),
        own: Own {
            pair: Ok(Pair {
                judged: Judged::Accepted(Freshness::Fresh { age: Duration::from_secs(60) }),
                ..pair()
            }),
            ..own()
        },
        broker: reached("broker"),
        backends: vec![Backend {
            reached: Some(reached("backend vn.dancu.v1.CitizenService")),
            services: vec![("vn.dancu.v1.CitizenService".to_owned(), Health::Serving)],
        }],
        process: Process::Answered { failing: Vec::new(), version: "0.1.0".to_owned(), backlog: Some(3) },
        rights: Ok(Some(RightsOnDisk {
            epoch: 7,
            age: Duration::from_secs(1),
            ahead_ms: 2,
            age_max: Some(Duration::from_secs(3600)),
            bound: Some(true),
        })),
        backlog_max: 1000,
        backlog_bytes_max: GIB,
        volume: Volume {
            folder: "/var/lib/lienthong".to_owned(),
            free_bytes: Ok(50 * GIB),
            encryption: Encryption::Seen,
        },
    }
}

fn operator_broken() -> NodeFacts {
    NodeFacts {
        configuration: Err("the contract dancu.binpb cannot be read".to_owned()),
        trust: Ok(TrustFacts { version: 8, expires: NOW + time::Duration::days(200), file: Ok(3) }),
        own: Own {
            pair: Ok(Pair {
                judged: Judged::Accepted(Freshness::Stale { age: Duration::from_secs(90_000) }),
                ..pair()
            }),
            ..own()
        },
        broker: Reached {
            tls: Some(Handshake::RefusedUs("CertificateExpired".to_owned())),
            ..reached("broker")
        },
        backends: vec![
            Backend {
                reached: Some(Reached {
                    tcp: Some(Err("Connection refused".to_owned())),
                    tls: None,
                    ..reached("backend vn.dancu.v1.CitizenService")
                }),
                services: vec![(
                    "vn.dancu.v1.CitizenService".to_owned(),
                    Health::Failed("no connection".to_owned()),
                )],
            },
            Backend { reached: None, services: vec![("vn.x.v1.X".to_owned(), Health::NotOffered)] },
        ],
        process: Process::Answered {
            failing: vec![("rights".to_owned(), "no rights bundle yet".to_owned())],
            version: "0.1.0".to_owned(),
            backlog: Some(600),
        },
        rights: Ok(Some(RightsOnDisk {
            epoch: 7,
            age: Duration::from_secs(90_000),
            ahead_ms: -60_000,
            age_max: Some(Duration::from_secs(3600)),
            bound: Some(false),
        })),
        volume: Volume {
            folder: "/var/lib/lienthong".to_owned(),
            free_bytes: Ok(GIB / 20),
            encryption: Encryption::NotSeen,
        },
        ..operator()
    }
}
