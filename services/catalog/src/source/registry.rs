//! The registry: the nodes of the parties, and the certificates that stand for nodes and systems (R-34).
//!
//! ```yaml
//! nodes:
//!   - agency: G01
//!     id: n1
//!     address: 127.0.0.1:7101
//!     server_name: n1.g01.demo.invalid
//!     certificates:
//!       - file: certs/g01-n1.pem
//!       - {issuer: "CN=DEMO – CA", serial: "1a2b", spki_sha256: "<64 hexadecimal digits>"}
//! systems:
//!   - {agency: H26.90, id: mot-cua, certificates: [{file: certs/h26-90-mot-cua.pem}]}
//! ```
//!
//! Which file holds which certificate is for the caller to find out: this crate opens none.

use std::collections::{BTreeMap, BTreeSet};

use lienthong_proto::lienthong::control::v1::{CertificateBinding, Node, System};

use super::agencies::is_id;
use super::object::{Object, Reader};
use super::tree::{Located, Place};
use super::{Mistake, SourceFile, tree};
use crate::catalog::{Catalog, node_name, system_name};

/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;
/// Longest serial number, bytes (RFC 5280 §4.1.2.2).
const SERIAL_BYTES_MAX: usize = 20;

impl Catalog {
    /// The same catalog with the nodes and certificates of a registry. `resolve` tells the binding of a certificate
    /// file, or why there is none. On failure: every mistake, sorted by place.
    pub fn with_registry(
        &self,
        file: &SourceFile,
        resolve: &mut dyn FnMut(&str) -> Result<CertificateBinding, String>,
    ) -> Result<Self, Vec<Mistake>> {
        let tree = tree::parse(file).map_err(|mistake| vec![mistake])?;
        let mut mistakes = tree::not_nfc(&file.name, &tree);
        let read = Registry::new(self, resolve).read(Reader::new(&file.name, &mut mistakes), &tree);
        if mistakes.is_empty() {
            return Ok(self.clone().bound(read.0, read.1));
        }
        mistakes.sort();
        mistakes.dedup();
        Err(mistakes)
    }
}

struct Registry<'c> {
    catalog: &'c Catalog,
    resolve: &'c mut dyn FnMut(&str) -> Result<CertificateBinding, String>,
    /// Owner of each certificate.
    owners: BTreeMap<(String, Vec<u8>, Vec<u8>), String>,
    names: BTreeSet<String>,
}

impl<'c> Registry<'c> {
    fn new(
        catalog: &'c Catalog,
        resolve: &'c mut dyn FnMut(&str) -> Result<CertificateBinding, String>,
    ) -> Self {
        Self { catalog, resolve, owners: BTreeMap::new(), names: BTreeSet::new() }
    }

    /// Nodes, and systems with their certificates; what has a mistake is left out.
    fn read(mut self, mut reader: Reader<'_>, tree: &Located) -> (Vec<Node>, Vec<System>) {
        let Some(mut root) = reader.object(tree, "the registry") else {
            return (Vec::new(), Vec::new());
        };
        let (node_items, system_items) = (root.items("nodes"), root.items("systems"));
        root.finish();
        let nodes = node_items.into_iter().filter_map(|node| self.node(&mut reader, node)).collect();
        let mut systems = self.catalog.systems().to_vec();
        for item in system_items {
            if let Some(bound) = self.system(&mut reader, item)
                && let Some(system) = systems.iter_mut().find(|system| system.name == bound.0)
            {
                system.certificates = bound.1;
            }
        }
        (nodes, systems)
    }

    fn node(&mut self, reader: &mut Reader<'_>, item: &Located) -> Option<Node> {
        let mut object = reader.object(item, "the node")?;
        let agency = self.party(&mut object);
        let id = object.formatted("id", is_id, "[a-z0-9-]");
        let name = node_name(&agency, &id);
        self.once(&mut object, &name);
        let address = object.formatted("address", is_address, "host:port");
        let server_name = object.formatted("server_name", is_dns_name, "a DNS name");
        let items = object.items("certificates");
        if items.is_empty() {
            let message = format!("{name} has no certificate");
            object.wrong(
                item.place,
                "R-34",
                message,
                "bind at least one: file, or issuer, serial and spki_sha256",
            );
        }
        let sound = object.finish();
        let certificates = self.certificates(reader, &name, &items)?;
        sound.then_some(Node { name, agency, address, server_name, certificates })
    }

    fn system(
        &mut self,
        reader: &mut Reader<'_>,
        item: &Located,
    ) -> Option<(String, Vec<CertificateBinding>)> {
        let mut object = reader.object(item, "the system")?;
        let agency = self.party(&mut object);
        let id = object.formatted("id", is_id, "[a-z0-9-]");
        let name = system_name(&agency, &id);
        self.once(&mut object, &name);
        if !self.catalog.systems().iter().any(|system| system.name == name) {
            let message = format!("{name} is no system of the catalog");
            object.wrong(
                item.place,
                "R-31",
                message,
                "have it approved and listed under its agency, with its security level",
            );
        }
        let items = object.items("certificates");
        let sound = object.finish();
        let certificates = self.certificates(reader, &name, &items)?;
        sound.then_some((name, certificates))
    }

    /// The party that a node or system belongs to: an active agency, or a registered outside party.
    fn party(&self, object: &mut Object<'_, '_, '_>) -> String {
        let code = object.text("agency");
        let outside = self.catalog.outside_parties().iter().any(|party| party.code == code);
        let active = self.catalog.agency(&code).map(|agency| agency.is_active);
        let place = object.optional("agency").map_or(object.node.place, |node| node.place);
        match active {
            Some(false) => {
                object.wrong(
                    place,
                    "R-36",
                    format!("{code} was merged or dissolved"),
                    "bind the successor's own certificates",
                );
            }
            None if !outside && !code.is_empty() => {
                object.wrong(
                    place,
                    "reference",
                    format!("{code:?} is no party of the catalog"),
                    "register it, or correct the code",
                );
            }
            _ => {}
        }
        code
    }

    fn once(&mut self, object: &mut Object<'_, '_, '_>, name: &str) {
        if !self.names.insert(name.to_owned()) {
            let place = object.node.place;
            object.wrong(
                place,
                "id",
                format!("{name} comes twice"),
                "list it once, with all its certificates",
            );
        }
    }

    fn certificates(
        &mut self,
        reader: &mut Reader<'_>,
        owner: &str,
        items: &[&Located],
    ) -> Option<Vec<CertificateBinding>> {
        let mut bindings = Vec::new();
        for item in items {
            let Some(binding) = self.binding(reader, item) else {
                continue;
            };
            let key = (binding.issuer.clone(), binding.serial.clone(), binding.spki_sha256.clone());
            match self.owners.insert(key, owner.to_owned()) {
                Some(other) if other != owner => {
                    let message = format!("the certificate of {owner} is bound to {other} too");
                    reader.note(item.place, "R-34", message, "a certificate stands for one node or system");
                }
                _ => bindings.push(binding),
            }
        }
        (bindings.len() == items.len()).then_some(bindings)
    }

    fn binding(&mut self, reader: &mut Reader<'_>, item: &Located) -> Option<CertificateBinding> {
        let mut object = reader.object(item, "the certificate")?;
        if let Some(node) = object.optional("file") {
            let path = object.text("file");
            let binding = if path.is_empty() { None } else { Some((self.resolve)(&path)) };
            return match binding {
                Some(Err(why)) => {
                    object.wrong(
                        node.place,
                        "R-34",
                        format!("{path}: {why}"),
                        "name a readable PEM certificate",
                    );
                    object.finish();
                    None
                }
                Some(Ok(binding)) => object.finish().then_some(binding),
                None => {
                    object.finish();
                    None
                }
            };
        }
        let issuer = object.text("issuer");
        let serial = hexadecimal(&mut object, "serial", 1..=SERIAL_BYTES_MAX);
        let spki_sha256 = hexadecimal(&mut object, "spki_sha256", SHA256_BYTES..=SHA256_BYTES);
        object.finish().then_some(CertificateBinding { issuer, serial, spki_sha256 })
    }
}

/// Bytes as hexadecimal digits.
fn hexadecimal(
    object: &mut Object<'_, '_, '_>,
    key: &'static str,
    length: std::ops::RangeInclusive<usize>,
) -> Vec<u8> {
    let place = object.optional(key).map(|node: &Located| -> Place { node.place });
    let text = object.text(key);
    match (hex::decode(&text).ok().filter(|bytes| length.contains(&bytes.len())), place) {
        (Some(bytes), _) => bytes,
        (None, Some(place)) if !text.is_empty() => {
            let wanted = format!("{} to {} bytes as hexadecimal digits", length.start(), length.end());
            object.wrong(
                place,
                "format",
                format!("{key} {text:?} is not {wanted}"),
                "read it from the certificate",
            );
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}
