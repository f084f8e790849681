use std::sync::LazyLock;

use lienthong_certs::pki::{Holder as Subject, Issued, KeyKind, Request};
use lienthong_certs::{Branch, DevPki};
use lienthong_proto::lienthong::registry::v1::NoticeKind;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const NODE: &str = "agencies/H29/nodes/n1";

/// Certificates cost time to make; the tests share them.
struct World {
    _folder: TempDir,
    node: PeerCertificate,
    next: PeerCertificate,
    other_subject: PeerCertificate,
    other_agency: PeerCertificate,
    of_party_branch: PeerCertificate,
    person: PeerCertificate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let issue = |pki: &str, code: &str, id: &str, branch| {
        let pki = DevPki::create(&folder.path().join(pki), "vn-test").unwrap();
        let holder = Subject::Node {
            agency_code: code.to_owned(),
            agency_name: "DEMO – Cơ quan thử".to_owned(),
            node_id: id.to_owned(),
        };
        let request = Request::new(holder).with_branch(branch).with_key(KeyKind::Ed25519);
        read(&pki.issue(&request.with_dns_names(&["n1.h29.test"])).unwrap())
    };
    let pki = DevPki::create(&folder.path().join("people"), "vn-test").unwrap();
    World {
        node: issue("a", "H29", "n1", Branch::State),
        next: issue("b", "H29", "n1", Branch::State),
        other_subject: issue("c", "H29", "n2", Branch::State),
        other_agency: issue("d", "H26", "n1", Branch::State),
        of_party_branch: issue("e", "H29", "n1", Branch::Party),
        person: read(&pki.issue_person("H29", "DEMO", "n1").unwrap()),
        _folder: folder,
    }
});

fn read(issued: &Issued) -> PeerCertificate {
    issued.credentials().unwrap().certificate().clone()
}

fn ending(certificate: &PeerCertificate, not_after: OffsetDateTime) -> PeerCertificate {
    let mut certificate = certificate.clone();
    certificate.not_after = not_after;
    certificate
}

fn officer(name: &str) -> Officer {
    Officer { subject: format!("CN={name}"), spki_sha256: crate::bundle::sha256(name.as_bytes()) }
}

fn place() -> Place {
    Place { address: "10.0.0.1:7443".to_owned(), server_name: "n1.h29.test".to_owned() }
}

fn start() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn offered(expected: ExpectedCertificate) -> (Token, Enrolling) {
    let token = Token::generate().unwrap();
    let holder = Holder::read(NODE).unwrap();
    let offered = Enrolling::offer(&token, &holder, expected, 0, &officer("A"), start()).unwrap();
    (token, offered)
}

fn waiting() -> (Token, Enrolling) {
    let (token, offered) = offered(expected(&WORLD.node));
    match offered.redeem(&token, &WORLD.node, place(), start()).unwrap() {
        Redeemed::New(waiting) => (token, *waiting),
        Redeemed::Before => panic!("nobody has redeemed it before"),
    }
}

fn active() -> Enrolling {
    waiting().1.approve(&officer("B"), &WORLD.node.fingerprint(), start()).unwrap()
}

#[test]
fn a_token_is_good_for_its_certificate_only_and_once() {
    let (token, offered) = offered(expected(&WORLD.node));
    let redeem = |certificate: &PeerCertificate| offered.redeem(&token, certificate, place(), start());
    assert!(matches!(redeem(&WORLD.other_subject), Err(Refused::WrongSubject { .. })));
    assert!(matches!(redeem(&WORLD.of_party_branch), Err(Refused::WrongIssuer { .. })));
    assert!(matches!(redeem(&WORLD.other_agency), Err(Refused::OtherAgency { found }) if found == "H26"));
    let strange = Token::generate().unwrap();
    assert_eq!(offered.redeem(&strange, &WORLD.node, place(), start()), Err(Refused::UnknownToken));

    let (token, waiting) = waiting();
    assert_eq!(waiting.redeem(&token, &WORLD.node, place(), start()), Ok(Redeemed::Before));
    assert_eq!(waiting.redeem(&token, &WORLD.next, place(), start()), Err(Refused::Spent));
    assert_eq!(waiting.shown(start()).state(), State::Waiting);
}

#[test]
fn a_token_may_name_a_key_instead_of_a_subject() {
    let hash = WORLD.node.binding().spki_sha256.to_vec();
    let expected = ExpectedCertificate {
        issuer: WORLD.node.binding().issuer.clone(),
        identity: Some(Identity::SpkiSha256(hash)),
    };
    let (token, offered) = offered(expected);
    assert_eq!(offered.redeem(&token, &WORLD.next, place(), start()), Err(Refused::WrongKey));
    let Redeemed::New(waiting) = offered.redeem(&token, &WORLD.node, place(), start()).unwrap() else {
        panic!("it is new")
    };
    let active = waiting.approve(&officer("B"), &WORLD.node.fingerprint(), start()).unwrap();
    assert_eq!(active.renew(&WORLD.node, &WORLD.next, start()), Err(Refused::WrongKey));
}

#[test]
fn a_token_ends_with_its_time_or_after_too_many_wrong_tries() {
    let (token, offered) = offered(expected(&WORLD.node));
    let late = start() + Duration::seconds(TOKEN_VALID_SECONDS_MAX.into()) + Duration::seconds(1);
    assert_eq!(offered.redeem(&token, &WORLD.node, place(), late), Err(Refused::Expired));
    assert_eq!(offered.shown(late).state(), State::Expired);
    let tried = (1..TOKEN_TRIES_MAX).fold(offered, |one, _| one.wrong_try(start()));
    assert_eq!(tried.state(start()), State::Offered);
    let spent = tried.wrong_try(start());
    assert_eq!(spent.redeem(&token, &WORLD.node, place(), start()), Err(Refused::Ended));
    let holder = Holder::read(NODE).unwrap();
    let long = Enrolling::offer(
        &token,
        &holder,
        expected(&WORLD.node),
        TOKEN_VALID_SECONDS_MAX + 1,
        &officer("A"),
        start(),
    );
    assert_eq!(long, Err(Refused::ValidTooLong));
    let nobody = Enrolling::offer(&token, &holder, ExpectedCertificate::default(), 0, &officer("A"), start());
    assert_eq!(nobody, Err(Refused::Expectation));
}

#[test]
fn a_node_says_where_it_is_and_may_be_called_there() {
    let (token, offered) = offered(expected(&WORLD.node));
    let redeem = |address: &str, server_name: &str| {
        let place = Place { address: address.to_owned(), server_name: server_name.to_owned() };
        offered.redeem(&token, &WORLD.node, place, start())
    };
    for address in ["", "host", "host:", "host:0", "host:70000", ":7443", "ho st:1", "h\n:1"] {
        assert_eq!(redeem(address, "n1.h29.test"), Err(Refused::Address), "{address:?}");
    }
    assert!(matches!(redeem("10.0.0.1:1", "n1.h26.test"), Err(Refused::ServerName { .. })));
    assert!(redeem("[::1]:1", "N1.H29.test").is_ok());
    let system = Holder { kind: Kind::System, ..Holder::read(NODE).unwrap() };
    assert_eq!(check_place(place(), &system, &WORLD.node), Err(Refused::PlaceOfSystem));
    assert_eq!(
        certificate::check_fits(&WORLD.person, Some(&expected(&WORLD.person)), &Holder::read(NODE).unwrap()),
        Err(Refused::NotAServer)
    );
}

#[test]
fn two_operators_and_the_certificate_that_was_seen() {
    let (_, waiting) = waiting();
    let fingerprint = WORLD.node.fingerprint();
    let approve = |who: &Officer, fingerprint: &[u8]| waiting.approve(who, fingerprint, start());
    assert_eq!(approve(&officer("A"), &fingerprint), Err(Refused::SameOfficer));
    let renamed = Officer { subject: "CN=C".to_owned(), ..officer("A") };
    assert_eq!(approve(&renamed, &fingerprint), Err(Refused::SameOfficer));
    let rekeyed = Officer { subject: "CN=A".to_owned(), ..officer("C") };
    assert_eq!(approve(&rekeyed, &fingerprint), Err(Refused::SameOfficer));
    assert_eq!(approve(&officer("B"), &WORLD.next.fingerprint()), Err(Refused::OtherCertificate));
    let approved = approve(&officer("B"), &fingerprint).unwrap();
    assert_eq!(
        approved.approve(&officer("B"), &fingerprint, start()),
        Err(Refused::NotWaiting(State::Active))
    );
    let late = WORLD.node.not_after + Duration::seconds(1);
    assert_eq!(waiting.approve(&officer("B"), &fingerprint, late), Err(Refused::CertificateExpired));
}

#[test]
fn only_what_is_active_is_bound() {
    let (_, waiting) = waiting();
    assert_eq!(enrolled([&waiting]), Enrolled::default());
    let active = active();
    let bound = enrolled([&active]);
    assert_eq!((bound.nodes[0].name.as_str(), bound.nodes[0].certificates.len()), (NODE, 1));
    let unbound = active.unbind(&officer("A"), "lost key", start()).unwrap();
    assert_eq!(enrolled([&unbound]), Enrolled::default());
    assert_eq!(unbound.unbind(&officer("A"), "again", start()), Err(Refused::NotBound(State::Unbound)));
    assert_eq!(active.reject(&officer("A"), "no", start()), Err(Refused::NotOpen(State::Active)));
    assert_eq!(active.unbind(&officer("A"), " \n", start()), Err(Refused::Reason));
}

#[test]
fn a_renewal_keeps_who_and_overlaps() {
    let active = active();
    let renew = |from: &PeerCertificate, to: &PeerCertificate| active.renew(from, to, start());
    assert!(matches!(renew(&WORLD.node, &WORLD.other_subject), Err(Refused::WrongSubject { .. })));
    assert!(matches!(renew(&WORLD.node, &WORLD.of_party_branch), Err(Refused::WrongIssuer { .. })));
    assert!(matches!(renew(&WORLD.node, &WORLD.other_agency), Err(Refused::OtherAgency { .. })));
    assert_eq!(renew(&WORLD.other_subject, &WORLD.next), Err(Refused::NotThePresent));
    let ends_before = ending(&WORLD.next, WORLD.node.not_after - Duration::days(1));
    assert_eq!(renew(&WORLD.node, &ends_before), Err(Refused::NotLater));
    let long = ending(&WORLD.next, WORLD.node.not_after + Duration::days(1_000));
    assert_eq!(renew(&WORLD.node, &long), Err(Refused::RenewedTooLong));

    let next = ending(&WORLD.next, WORLD.node.not_after + Duration::days(1));
    let Redeemed::New(renewed) = renew(&WORLD.node, &next).unwrap() else { panic!("it is new") };
    assert_eq!(enrolled([&*renewed]).nodes[0].certificates.len(), 2);
    assert_eq!(renewed.renew(&WORLD.node, &next, start()), Ok(Redeemed::Before), "the answer was lost");
    assert_eq!(renewed.renew(&WORLD.node, &WORLD.node, start()), Err(Refused::NotThePresent));
}

/// What data contacts are told: each step towards the end under a name of its own, nothing of what is not bound.
#[test]
fn notices_follow_from_the_enrollment_and_the_time() {
    let end = WORLD.node.not_after;
    let told = |one: &Enrolling, days: i64| -> Vec<(NoticeKind, String)> {
        let all = notices(one, end - Duration::days(days));
        all.into_iter().map(|notice| (notice.kind(), notice.name)).collect()
    };
    let active = active();
    assert_eq!(told(&active, 31), []);
    let id = active.name().trim_start_matches("enrollments/").to_owned();
    let seen = hex::encode(&WORLD.node.fingerprint()[..8]);
    for (days, kind, word) in [
        (29, NoticeKind::EndsSoon, "ends-30"),
        (13, NoticeKind::EndsSoon, "ends-14"),
        (0, NoticeKind::EndsSoon, "ends-7"),
        (-1, NoticeKind::Ended, "ended"),
    ] {
        assert_eq!(told(&active, days), [(kind, format!("notices/{id}-{word}-{seen}"))], "{days}");
    }
    assert_eq!(told(&waiting().1, 0), [], "it is bound to nobody");
    assert_eq!(told(&active.unbind(&officer("A"), "lost key", start()).unwrap(), 0), []);

    let next = ending(&WORLD.next, end + Duration::days(1));
    let Ok(Redeemed::New(renewed)) = active.renew(&WORLD.node, &next, start()) else { panic!("it is new") };
    let about = notices(&renewed, start() + Duration::days(29));
    assert_eq!(about.len(), 1);
    assert_eq!((about[0].kind(), about[0].agency.as_str()), (NoticeKind::Renewed, "agencies/H29"));
    assert_eq!(about[0].certificate, Some(describe(&next)));
    assert_eq!(notices(&renewed, start() + Duration::days(31)), [], "it was told");
}

proptest! {
    /// Whatever is asked in whatever order: nothing is bound that two different operators have not seen, nothing that has
    /// ended begins again, and what is stored is read as it was.
    #[test]
    fn nothing_is_bound_without_two_operators(steps in proptest::collection::vec((0u8..6, 0u8..3, any::<bool>()), 1..40)) {
        let (token, mut one) = offered(expected(&WORLD.node));
        for (step, who, right) in steps {
            let by = officer(["A", "B", "C"][usize::from(who)]);
            let certificate = if right { &WORLD.node } else { &WORLD.other_subject };
            let before = one.state(start());
            let next = match step {
                0 => match one.redeem(&token, certificate, place(), start()) {
                    Ok(Redeemed::New(next)) => Ok(*next),
                    Ok(Redeemed::Before) => Ok(one.clone()),
                    Err(refused) if refused.is_wrong_try() => Ok(one.wrong_try(start())),
                    Err(refused) => Err(refused),
                },
                1 => one.approve(&by, &certificate.fingerprint(), start()),
                2 => one.reject(&by, "no", start()),
                3 => one.unbind(&by, "no", start()),
                4 => Ok(one.wrong_try(start())).filter_open(before),
                _ => Err(Refused::Reason),
            };
            one = next.unwrap_or(one);
            let shown = one.shown(start());
            if matches!(before, State::Rejected | State::Unbound) {
                prop_assert_eq!(shown.state(), before);
            }
            let bound = !enrolled([&one]).nodes.is_empty();
            prop_assert_eq!(bound, shown.state() == State::Active);
            if bound {
                prop_assert_ne!(&shown.created_by, &shown.decided_by);
                prop_assert_eq!(&shown.certificate.unwrap().fingerprint, &WORLD.node.fingerprint());
            }
            prop_assert_eq!(Enrolling::read(one.to_stored()), Some(one.clone()));
        }
    }

    #[test]
    fn no_stored_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(stored) = <StoredEnrollment as prost::Message>::decode(bytes.as_slice()) {
            let _ = Enrolling::read(stored).map(|one| enrolled([&one]));
        }
    }
}

/// A wrong try is counted by the registrar only where [`Enrolling::redeem`] said that it is one: while it is offered.
trait FilterOpen {
    fn filter_open(self, state: State) -> Self;
}

impl FilterOpen for Result<Enrolling, Refused> {
    fn filter_open(self, state: State) -> Self {
        if state == State::Offered { self } else { Err(Refused::Ended) }
    }
}
