//! The check of a bundle, with a real PKI: what two persons signed passes, and nothing else does.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

use lienthong_approval::{Checker, Statement, Unapproved, approve, proofs};
use lienthong_audit::hash::Hash;
use lienthong_catalog::catalog::Entry;
use lienthong_certs::judge::{RevocationLists, RevocationReason};
use lienthong_certs::pki::Issued;
use lienthong_certs::{DevPki, Judge, PeerCertificate, Profile, files};
use lienthong_proto::lienthong::control::v1::{
    ActivatedEntry, Activations, ApprovedChange, Approver, CertificateBinding, Dataset, Right, RightOrigin,
    RightsBundle,
};
use lienthong_proto::lienthong::options::v1::{DecisionMode, MethodKind, Purpose, ReleaseGate};
use prost_types::Timestamp;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

const MESH: &str = "vn-test";

struct World {
    pki: DevPki,
    persons: Vec<Issued>,
    _folder: TempDir,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let pki = DevPki::create(&folder.path().join("pki"), MESH).unwrap();
        let persons = [("Nguyễn Văn Mẫu", "mot"), ("Trần Thị Thử", "hai")];
        let persons = persons.map(|(name, role)| pki.issue_person("G01.90", name, role).unwrap()).into();
        World { pki, persons, _folder: folder }
    }

    fn judge(&self) -> Judge {
        Judge::new(self.pki.anchors().unwrap(), self.pki.lists().unwrap(), Profile::development()).unwrap()
    }

    /// A bundle of one right under the first of three entries, signed by these persons.
    fn bundle(&self, signers: &[&Issued]) -> RightsBundle {
        let entries: Vec<Entry> =
            (1..=3).map(|number| Entry::read(&entry(number, "ho_ten")).unwrap()).collect();
        let entries: Vec<&Entry> = entries.iter().collect();
        let statement = Statement::of(MESH, None, Hash([7; 32]), &entries).to_bytes();
        // A little before now, so that what is revoked now was good then.
        let now = OffsetDateTime::now_utc() - Duration::seconds(5);
        let sign = |one: &&Issued| approve(&one.credentials().unwrap(), &statement, now).unwrap();
        let approvals = signers.iter().map(sign).collect();
        let activated = |place: usize| ActivatedEntry {
            entry: entries[place].versioned_id(),
            content: entries[place].content.clone().into_bytes(),
            change: 0,
            index: place as u64,
            proof: proofs(&entries)[place].iter().map(|hash| hash.0.to_vec()).collect(),
        };
        RightsBundle {
            mesh: MESH.to_owned(),
            datasets: vec![dataset(entries[0])],
            rights: vec![right()],
            activations: Some(Activations {
                approvers: self.persons.iter().map(approver).collect(),
                changes: vec![ApprovedChange { statement, approvals }],
                entries: vec![activated(0)],
            }),
            ..RightsBundle::default()
        }
    }

    fn good(&self) -> RightsBundle {
        self.bundle(&[&self.persons[0], &self.persons[1]])
    }

    fn check(&self, bundle: &RightsBundle) -> Result<(), Unapproved> {
        let judge = self.judge();
        let check = |checker: &mut Checker, bundle: &RightsBundle| {
            checker.check(bundle, &|_, _, field| field == "muc_dong", &judge)
        };
        let verdict = check(&mut Checker::default(), bundle);
        // One that has seen a good bundle before says the same.
        let mut seasoned = Checker::default();
        let _ = check(&mut seasoned, &self.good());
        let words = |verdict: &Result<(), Unapproved>| verdict.as_ref().map_err(ToString::to_string).copied();
        assert_eq!(words(&check(&mut seasoned, bundle)), words(&verdict));
        verdict
    }

    fn refused(&self, change: impl FnOnce(&mut RightsBundle)) -> String {
        let mut bundle = self.good();
        change(&mut bundle);
        self.check(&bundle).unwrap_err().to_string()
    }
}

fn entry(number: u32, fields: &str) -> String {
    format!(
        r#"{{"approved_by":["a","b"],"calls_per_minute_max":60,"classification":{{"importance":"OTHER","personal":"BASIC","secrecy":"NONE","sharing":"SHARED"}},"dataset_id":"dancu.cong_dan","effective_from":"2025-11-01","effective_to":"2030-01-01","fields_by_purpose":{{"STATISTICS":["*"],"VERIFICATION":["{fields}"]}},"id":"CE-000{number}","legal_basis":[{{"instrument":"278/2025/NĐ-CP"}}],"mandatory_consumers":["H26.90"],"masked_fields_by_purpose":{{"VERIFICATION":["ngay_sinh"]}},"methods":["QUERY","SYNC_TO_NATIONAL_DB"],"min_security_level":3,"provider_code":"G01","purposes":["STATISTICS","VERIFICATION"],"status":"ACTIVE","version":2}}"#
    )
}

fn dataset(entry: &Entry) -> Dataset {
    Dataset {
        id: "dancu.cong_dan".to_owned(),
        provider: "G01".to_owned(),
        release_gate: ReleaseGate::Journal.into(),
        decision_mode: DecisionMode::Local.into(),
        min_security_level: 3,
        bundle_age_max: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        entry: entry.versioned_id(),
        ..Dataset::default()
    }
}

fn right() -> Right {
    Right {
        id: "CE-0001/H26.90/VERIFICATION".to_owned(),
        dataset: "dancu.cong_dan".to_owned(),
        provider: "G01".to_owned(),
        consumer: "H26.90".to_owned(),
        purpose: Purpose::Verification.into(),
        fields: vec!["ho_ten".to_owned()],
        masked_fields: vec!["ngay_sinh".to_owned()],
        methods: vec![MethodKind::Query.into()],
        calls_per_minute_max: 60,
        valid_from: Some(Timestamp { seconds: 1_761_930_000, nanos: 0 }),
        valid_to: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        origin: RightOrigin::CatalogMandatory.into(),
        ..Right::default()
    }
}

fn approver(issued: &Issued) -> Approver {
    let chain = files::certificates(&issued.certificate).unwrap();
    let leaf = PeerCertificate::read(&chain).unwrap();
    let bound = leaf.binding();
    Approver {
        subject: leaf.subject.text.clone(),
        certificate: Some(CertificateBinding {
            issuer: bound.issuer.clone(),
            serial: bound.serial.clone(),
            spki_sha256: bound.spki_sha256.to_vec(),
        }),
        chain: chain.iter().map(|der| der.to_vec()).collect(),
    }
}

#[test]
fn what_two_persons_signed_passes() {
    let world = World::new();
    world.check(&world.good()).unwrap();
    // Less than what was signed passes too, and rights that stand on no entry are not asked about.
    let mut bundle = world.good();
    bundle.rights[0].suspended = true;
    bundle.rights[0].masked_fields.clear();
    bundle.rights.push(Right { origin: RightOrigin::Default.into(), ..Right::default() });
    world.check(&bundle).unwrap();
    world.check(&RightsBundle { mesh: MESH.to_owned(), ..RightsBundle::default() }).unwrap();
}

#[test]
fn one_person_is_not_two() {
    let world = World::new();
    let [one, two] = [&world.persons[0], &world.persons[1]];
    let said = |signers: &[&Issued]| world.check(&world.bundle(signers)).unwrap_err().to_string();
    assert!(said(&[one, one]).contains("approved twice"));
    assert!(said(&[one]).contains("1 approvals"), "{}", said(&[one]));
    assert!(said(&[one, two, one]).contains("3 approvals"));
}

#[test]
fn a_signature_must_hold_and_be_of_a_bound_person() {
    let world = World::new();
    let said = world.refused(|bundle| {
        let activations = bundle.activations.as_mut().unwrap();
        activations.changes[0].approvals[1].signature[8] ^= 1;
    });
    assert!(said.contains("does not hold"), "{said}");
    let said = world.refused(|bundle| {
        let approval = &mut bundle.activations.as_mut().unwrap().changes[0].approvals[0];
        approval.time.as_mut().unwrap().seconds -= 1;
    });
    assert!(said.contains("does not hold"), "the time is signed too: {said}");
    let said = world.refused(|bundle| {
        bundle.activations.as_mut().unwrap().approvers.remove(1);
    });
    assert!(said.contains("another certificate"), "{said}");
    let said = world.refused(|bundle| {
        let approver = &mut bundle.activations.as_mut().unwrap().approvers[1];
        approver.certificate.as_mut().unwrap().serial = vec![1];
    });
    assert!(said.contains("another certificate"), "bound to another: {said}");
    let strangers = World::new();
    let bundle = strangers.good();
    let said = world.check(&bundle).unwrap_err().to_string();
    assert!(said.contains("not accepted"), "another mesh's authority: {said}");
    let said = world.refused(|bundle| bundle.mesh = "another".to_owned());
    assert!(said.contains("another mesh"), "{said}");
}

#[test]
fn a_certificate_that_was_compromised_counts_no_more_and_one_that_was_replaced_does() {
    for (reason, counts) in [
        (RevocationReason::Superseded, true),
        (RevocationReason::AffiliationChanged, true),
        (RevocationReason::KeyCompromise, false),
    ] {
        let world = World::new();
        // Signed well before it was revoked.
        let bundle = world.good();
        world.pki.revoke(&world.persons[0].binding, reason).unwrap();
        assert_eq!(world.check(&bundle).is_ok(), counts, "{reason:?}");
        let without =
            Judge::new(world.pki.anchors().unwrap(), RevocationLists::empty(), Profile::development());
        Checker::default().check(&bundle, &|_, _, _| true, &without.unwrap()).unwrap();
    }
}

#[test]
fn an_entry_must_be_the_one_that_was_signed() {
    let world = World::new();
    let said = world.refused(|bundle| {
        let activated = &mut bundle.activations.as_mut().unwrap().entries[0];
        activated.content = entry(1, "ho_ten\",\"muc_dong").into_bytes();
    });
    assert!(said.contains("not what the two persons signed"), "{said}");
    let said = world.refused(|bundle| bundle.activations.as_mut().unwrap().entries[0].index = 1);
    assert!(said.contains("not what the two persons signed"), "{said}");
    let said = world.refused(|bundle| bundle.activations.as_mut().unwrap().entries[0].change = 1);
    assert!(said.contains("its change is not there"), "{said}");
    let said = world
        .refused(|bundle| bundle.activations.as_mut().unwrap().entries[0].entry = "CE-0001@9".to_owned());
    assert!(said.contains("calls itself otherwise"), "{said}");
    let said = world.refused(|bundle| bundle.activations = None);
    assert!(said.contains("CE-0001") && said.contains("no two persons"), "{said}");
}

#[test]
fn a_right_must_not_go_beyond_its_entry() {
    type Change = fn(&mut Right);
    let world = World::new();
    let changes: [(&str, Change); 14] = [
        ("more fields", |right| right.fields.push("que_quan".to_owned())),
        ("more fields", |right| right.fields = vec!["*".to_owned()]),
        ("more masked fields", |right| right.masked_fields.push("que_quan".to_owned())),
        ("another purpose", |right| right.purpose = Purpose::AdminProcedure.into()),
        ("another method", |right| right.methods.push(MethodKind::SyncToConsumer.into())),
        ("another consumer", |right| right.consumer = "G24".to_owned()),
        ("every agency", |right| right.consumer.clear()),
        ("not open", |right| right.origin = RightOrigin::Open.into()),
        ("another dataset", |right| right.dataset = "bhxh.qua_trinh_dong".to_owned()),
        ("another dataset", |right| right.provider = "G24".to_owned()),
        ("more calls", |right| right.calls_per_minute_max = 0),
        ("an earlier beginning", |right| right.valid_from = None),
        ("a later end", |right| right.valid_to = None),
        ("CE-0002", |right| right.id = "CE-0002/H26.90/VERIFICATION".to_owned()),
    ];
    for (says, change) in changes {
        let said = world.refused(|bundle| change(&mut bundle.rights[0]));
        assert!(said.contains(says), "{says}: {said}");
    }
    // The National General Database synchronises, whoever else is named; and nobody else does so.
    let synchronises = |kinds: &[MethodKind]| {
        let mut bundle = world.good();
        bundle.rights[0] = Right {
            consumer: "G01.90".to_owned(),
            purpose: Purpose::NationalSync.into(),
            fields: vec!["*".to_owned()],
            masked_fields: Vec::new(),
            methods: kinds.iter().map(|kind| i32::from(*kind)).collect(),
            ..right()
        };
        world.check(&bundle)
    };
    synchronises(&[MethodKind::SyncToNationalDb]).unwrap();
    assert!(synchronises(&[MethodKind::SyncToNationalDb, MethodKind::Query]).is_err());
    let said = world.refused(|bundle| bundle.rights[0].methods.push(MethodKind::SyncToNationalDb.into()));
    assert!(said.contains("another method"), "{said}");
    // Everything that is not sensitive: by name too, but not the sensitive field.
    let with = |fields: &[&str]| {
        let mut bundle = world.good();
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        let right =
            Right { purpose: Purpose::Statistics.into(), fields, masked_fields: Vec::new(), ..right() };
        bundle.rights[0] = right;
        world.check(&bundle)
    };
    with(&["*"]).unwrap();
    with(&["que_quan"]).unwrap();
    assert!(with(&["muc_dong"]).unwrap_err().to_string().contains("more fields"));
    let said = world.refused(|bundle| bundle.datasets[0].min_security_level = 2);
    assert!(said.contains("a lower security level"), "{said}");
    let said = world.refused(|bundle| bundle.datasets[0].bundle_age_max.as_mut().unwrap().seconds += 1);
    assert!(said.contains("older rights"), "{said}");
}
