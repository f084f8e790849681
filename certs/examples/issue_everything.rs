//! Issues one of everything that this house issues, for a linter: `cargo run -p lienthong-certs --example issue_everything DIR`.
//!
//! `DIR/pki` is the PKI with its authorities, lists and leaves: of every holder, with every kind of key, under every branch.
//! `DIR/requests` holds the signing requests. `tests/pkilint` looks at all of it.
#![allow(clippy::unwrap_used, clippy::panic)] // a tool of the tests: a panic is how it fails

use std::fs;
use std::path::Path;

use lienthong_certs::judge::{Branch, RevocationReason};
use lienthong_certs::pki::{Holder, KeyKind, Request};
use lienthong_certs::{DevPki, request};

const AGENCY: &str = "Bộ Công an (DEMO)";
const KINDS: [(KeyKind, &str); 5] = [
    (KeyKind::EcdsaP256, "p256"),
    (KeyKind::EcdsaP384, "p384"),
    (KeyKind::Ed25519, "ed25519"),
    (KeyKind::Rsa2048, "rsa2048"),
    (KeyKind::Rsa3072, "rsa3072"),
];
const REASONS: [RevocationReason; 8] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::AuthorityCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::Hold,
    RevocationReason::PrivilegeWithdrawn,
];

fn main() {
    let dir = std::env::args_os().nth(1).unwrap();
    let dir = Path::new(&dir);
    let pki = DevPki::create(&dir.join("pki"), "vn-lint").unwrap();
    for (kind, name) in KINDS {
        for (holder, dns_names) in holders(name) {
            pki.issue(&Request::new(holder).with_dns_names(dns_names).with_key(kind)).unwrap();
        }
    }
    let of_the_party = Request::new(node("d01", "G01"));
    pki.issue(&of_the_party.with_dns_names(&["d01.g01.example", "127.0.0.1"]).with_branch(Branch::Party))
        .unwrap();

    let retired = REASONS.iter().enumerate().map(|(number, reason)| (format!("cu-{number}"), reason));
    for (id, reason) in retired {
        let issued = pki.issue_system("G01", AGENCY, &id).unwrap();
        pki.revoke(&issued.binding, *reason).unwrap();
    }

    let requests = dir.join("requests");
    fs::create_dir(&requests).unwrap();
    for (number, (holder, dns_names)) in holders("yeu-cau").into_iter().enumerate() {
        let prepared =
            request::prepare(holder.clone(), dns_names, &requests.join(format!("{number}.key"))).unwrap();
        fs::write(requests.join(format!("{number}.csr")), prepared.pem).unwrap();
        // As an authority answers it: only the public half was ever sent.
        let chain = pki.certify(&Request::new(holder).with_dns_names(dns_names), &prepared.spki_der).unwrap();
        fs::write(dir.join(format!("pki/issued/certified-{number}.crt")), chain).unwrap();
    }
}

fn node(id: &str, agency_code: &str) -> Holder {
    Holder::Node {
        agency_code: agency_code.to_owned(),
        agency_name: AGENCY.to_owned(),
        node_id: id.to_owned(),
    }
}

/// One of each kind of holder, with the names that its certificate speaks for.
fn holders(id: &str) -> Vec<(Holder, &'static [&'static str])> {
    let agency_code = "H26.90".to_owned();
    vec![
        (node(&format!("nut-{id}"), "H26.90"), &["nut.h26-90.example", "127.0.0.1"]),
        (
            Holder::System {
                agency_code: agency_code.clone(),
                agency_name: AGENCY.to_owned(),
                system_id: format!("mot-cua-{id}"),
            },
            &["mot-cua.h26-90.example"],
        ),
        (
            Holder::Person {
                agency_code, name: "Nguyễn Văn Mẫu".to_owned(), role: format!("operator.{id}")
            },
            &[],
        ),
        (
            Holder::Enterprise {
                enterprise_code: format!("99-{id}"),
                name: "Công ty Thử Nghiệm (DEMO)".to_owned(),
            },
            &["api.cong-ty.example"],
        ),
    ]
}
