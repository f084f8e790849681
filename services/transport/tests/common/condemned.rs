//! Every certificate that must not come in, made with the authorities' own keys; what its holder is told (RFC 8446
//! §6.2), and as what it is counted.

use std::path::{Path, PathBuf};
use std::process::Command;

use lienthong_certs::judge::RevocationReason;
use lienthong_certs::pki::{DevAuthority, Holder, Request};
use lienthong_certs::{CertificateBinding, PeerCertificate, Usage};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};
use unicode_normalization::UnicodeNormalization;

use super::Mesh;

/// One of them, on disk.
pub struct Condemned {
    /// What is wrong with it, as the table in `docs/refused-handshakes.md` says it.
    pub what: &'static str,
    /// The alert by rustls' name, and its number.
    pub alert: (&'static str, u8),
    /// As what it is counted.
    pub fault: &'static str,
    /// Leaf first, PEM.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// False for what our own client does not even load.
    pub loads: bool,
}

pub const BAD_CERTIFICATE: (&str, u8) = ("BadCertificate", 42);
pub const UNSUPPORTED_CERTIFICATE: (&str, u8) = ("UnsupportedCertificate", 43);
pub const CERTIFICATE_REVOKED: (&str, u8) = ("CertificateRevoked", 44);
pub const CERTIFICATE_EXPIRED: (&str, u8) = ("CertificateExpired", 45);
pub const UNKNOWN_CA: (&str, u8) = ("UnknownCA", 48);
pub const ACCESS_DENIED: (&str, u8) = ("AccessDenied", 49);
pub const DECRYPT_ERROR: (&str, u8) = ("DecryptError", 51);

/// All of them, of an agency whose name is [`NAME`]. Revokes what must be revoked: judge with the lists of afterwards.
pub fn condemned(mesh: &Mesh) -> Vec<Condemned> {
    let maker = Maker { mesh };
    let (now, day) = (OffsetDateTime::now_utc(), Duration::DAY);
    let mut all = vec![
        maker
            .issued("expired", CERTIFICATE_EXPIRED, "EXPIRED", |r| r.with_validity(now - day * 9, now - day)),
        maker.issued("not yet valid", CERTIFICATE_EXPIRED, "NOT_YET_VALID", |r| {
            r.with_validity(now + day, now + day * 9)
        }),
        maker.issued("issued for another purpose", UNSUPPORTED_CERTIFICATE, "WRONG_USAGE", |mut r| {
            r.usages.remove(&Usage::Client);
            r
        }),
        maker.issued("valid for more than five years", ACCESS_DENIED, "LIFETIME_TOO_LONG", |r| {
            r.with_validity(now - day, now + day * 366 * 6)
        }),
        maker.revoked_leaf(),
        maker.of_unknown_authority(),
        maker.of_an_authority_of_the_same_name(),
        maker.self_signed(),
        maker.by_hand("names two agencies", ACCESS_DENIED, "BAD_SAN", |params| {
            params.subject_alt_names = vec![uri("urn:vn-mesh:agency:G01"), uri("urn:vn-mesh:agency:G12")];
        }),
        maker.by_hand(
            "the twin of an agency's name, not in NFC",
            ACCESS_DENIED,
            "NAME_NOT_NORMALISED",
            |params| {
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(DnType::OrganizationName, NAME.nfd().collect::<String>());
                params.distinguished_name.push(DnType::CommonName, "nut-1");
            },
        ),
        maker.by_hand(
            "an unknown critical extension",
            BAD_CERTIFICATE,
            "UNKNOWN_CRITICAL_EXTENSION",
            |params| {
                let mut odd =
                    rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 7], vec![5, 0]);
                odd.set_criticality(true);
                params.custom_extensions.push(odd);
            },
        ),
        maker.too_long(),
        maker.weak_key(),
        maker.unlisted_key(),
        maker.anothers(),
    ];
    for one in &mut all {
        one.loads &= !["UNKNOWN_CRITICAL_EXTENSION", "CHAIN_TOO_LONG", "BAD_SAN"].contains(&one.fault);
    }
    all.sort_by_key(|one| one.what);
    all
}

/// A leaf whose intermediate is revoked: it takes all of its branch with it, so it has a mesh of its own.
pub fn below_a_revoked_intermediate(mesh: &Mesh) -> Condemned {
    let condemned =
        Maker { mesh }.issued("below a revoked intermediate", CERTIFICATE_REVOKED, "REVOKED", |r| r);
    let state: CertificateBinding = mesh.pki.authority_binding(DevAuthority::State).unwrap();
    mesh.pki.revoke(&state, RevocationReason::AuthorityCompromise).unwrap();
    condemned
}

/// The name of the agency, in NFC.
const NAME: &str = "DEMO – Bộ Thử nghiệm";

struct Maker<'a> {
    mesh: &'a Mesh,
}

impl Maker<'_> {
    fn issued(
        &self,
        what: &'static str,
        alert: (&'static str, u8),
        fault: &'static str,
        change: impl FnOnce(Request) -> Request,
    ) -> Condemned {
        let node_id = what.replace(' ', "-").replace(',', "");
        let holder = Holder::Node { agency_code: "H26".to_owned(), agency_name: NAME.to_owned(), node_id };
        let issued = self.mesh.pki.issue(&change(Request::new(holder))).unwrap();
        Condemned { what, alert, fault, certificate: issued.certificate, key: issued.key, loads: true }
    }

    fn revoked_leaf(&self) -> Condemned {
        let revoked = self.issued("revoked", CERTIFICATE_REVOKED, "REVOKED", |r| r);
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(&revoked.certificate).unwrap().map(|one| one.unwrap()).collect();
        let binding = PeerCertificate::read(&chain).unwrap().binding().clone();
        self.mesh.pki.revoke(&binding, RevocationReason::KeyCompromise).unwrap();
        revoked
    }

    /// A leaf of the State authority, spoiled in one place.
    fn by_hand(
        &self,
        what: &'static str,
        alert: (&'static str, u8),
        fault: &'static str,
        spoil: impl FnOnce(&mut CertificateParams),
    ) -> Condemned {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params();
        spoil(&mut params);
        let leaf = params.signed_by(&key, &self.state()).unwrap();
        self.write(what, alert, fault, &[leaf.pem(), self.state_pem()], &key.serialize_pem())
    }

    fn of_unknown_authority(&self) -> Condemned {
        let (authority, certificate) = authority("DEMO – Không ai biết", 0);
        let key = KeyPair::generate().unwrap();
        let leaf = leaf_params().signed_by(&key, &authority).unwrap();
        let chain = [leaf.pem(), certificate];
        self.write("of an unknown authority", UNKNOWN_CA, "UNKNOWN_AUTHORITY", &chain, &key.serialize_pem())
    }

    fn of_an_authority_of_the_same_name(&self) -> Condemned {
        let stranger = Mesh::new();
        let issued = stranger.node("H26", "la");
        let chain = std::fs::read_to_string(issued.certificate).unwrap();
        let key = std::fs::read_to_string(issued.key).unwrap();
        self.write("of an authority of the same name", DECRYPT_ERROR, "BAD_SIGNATURE", &[chain], &key)
    }

    fn self_signed(&self) -> Condemned {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf_params().self_signed(&key).unwrap();
        self.write("self-signed", UNKNOWN_CA, "SELF_SIGNED", &[certificate.pem()], &key.serialize_pem())
    }

    /// More certificates than any honest chain has.
    fn too_long(&self) -> Condemned {
        let key = KeyPair::generate().unwrap();
        let leaf = leaf_params().signed_by(&key, &self.state()).unwrap();
        let mut chain = vec![leaf.pem()];
        chain.extend(std::iter::repeat_n(self.state_pem(), 5));
        self.write(
            "in a chain that is too long",
            ACCESS_DENIED,
            "CHAIN_TOO_LONG",
            &chain,
            &key.serialize_pem(),
        )
    }

    fn weak_key(&self) -> Condemned {
        let key = self.path("rsa-1024.key");
        openssl(&["genrsa", "-traditional", "-out", text(&key), "1024"]);
        let spki = self.path("rsa-1024.spki");
        openssl(&["rsa", "-in", text(&key), "-pubout", "-outform", "DER", "-out", text(&spki)]);
        let public = SubjectPublicKeyInfo::from_der(&std::fs::read(&spki).unwrap()).unwrap();
        let leaf = leaf_params().signed_by(&public, &self.state()).unwrap();
        let pem = std::fs::read_to_string(&key).unwrap();
        let chain = [leaf.pem(), self.state_pem()];
        let weak =
            self.write("with a key that is too weak (RSA-1024)", ACCESS_DENIED, "KEY_TOO_WEAK", &chain, &pem);
        Condemned { loads: false, ..weak }
    }

    fn unlisted_key(&self) -> Condemned {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let leaf = leaf_params().signed_by(&key, &self.state()).unwrap();
        let chain = [leaf.pem(), self.state_pem()];
        let pem = key.serialize_pem();
        let unlisted = self.write(
            "with a key that no profile lists (P-521)",
            ACCESS_DENIED,
            "KEY_TOO_WEAK",
            &chain,
            &pem,
        );
        Condemned { loads: false, ..unlisted }
    }

    /// A leaf that issues: the oldest trick there is.
    fn anothers(&self) -> Condemned {
        let issued = self.mesh.node("H26", "phat-hanh");
        let own = std::fs::read_to_string(&issued.certificate).unwrap();
        let key = KeyPair::from_pem(&std::fs::read_to_string(&issued.key).unwrap()).unwrap();
        let first = CertificateDer::from_pem_slice(own.as_bytes()).unwrap();
        let node = Issuer::from_ca_cert_der(&first, key).unwrap();
        let key = KeyPair::generate().unwrap();
        let forged = leaf_params().signed_by(&key, &node).unwrap();
        let chain = [forged.pem(), own];
        self.write("issued by a leaf", ACCESS_DENIED, "WRONG_PLACE", &chain, &key.serialize_pem())
    }

    fn state(&self) -> Issuer<'static, KeyPair> {
        let key = std::fs::read_to_string(self.path("pki/ca/state.key")).unwrap();
        Issuer::from_ca_cert_pem(&self.state_pem(), KeyPair::from_pem(&key).unwrap()).unwrap()
    }

    fn state_pem(&self) -> String {
        std::fs::read_to_string(self.path("pki/ca/state.crt")).unwrap()
    }

    fn write(
        &self,
        what: &'static str,
        alert: (&'static str, u8),
        fault: &'static str,
        chain: &[String],
        key: &str,
    ) -> Condemned {
        let name: String = what.chars().filter(char::is_ascii_alphanumeric).collect();
        let (certificate, key_file) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        std::fs::write(&certificate, chain.concat()).unwrap();
        let _ = std::fs::remove_file(&key_file);
        lienthong_certs::files::create_private(&key_file, key.as_bytes()).unwrap();
        Condemned { what, alert, fault, certificate, key: key_file, loads: true }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.mesh.folder.path().join(relative)
    }
}

fn authority(name: &str, below: u8) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(below));
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), certificate)
}

/// A leaf that any judge accepts, before one thing of it is spoiled.
fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let today = OffsetDateTime::now_utc();
    params.not_before = today - Duration::days(1);
    params.not_after = today + Duration::days(100);
    params.distinguished_name.push(DnType::CommonName, "nut-1");
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// Runs `openssl`, which every Debian has; what it says is shown where it fails.
pub fn openssl(arguments: &[&str]) -> String {
    let ran = Command::new("openssl").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "openssl {arguments:?}: {said}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
