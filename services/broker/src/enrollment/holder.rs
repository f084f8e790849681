//! Who is enrolled: a node or an information system, by resource name.

use lienthong_catalog::catalog::{node_name, system_name};

/// Longest id of a node or system, bytes.
pub const ID_BYTES_MAX: usize = 63;

/// What kind of holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A node.
    Node,
    /// An information system.
    System,
}

/// A node or system of a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Code of its party.
    pub agency: String,
    /// Which kind.
    pub kind: Kind,
    /// Its id within the party.
    pub id: String,
}

impl Holder {
    /// Reads `agencies/<code>/nodes/<id>` or `agencies/<code>/systems/<id>`; `None` for anything else.
    pub fn read(name: &str) -> Option<Holder> {
        let mut parts = name.split('/');
        let (Some("agencies"), Some(agency), Some(kind), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let kind = match kind {
            "nodes" => Kind::Node,
            "systems" => Kind::System,
            _ => return None,
        };
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = !agency.is_empty() && (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain);
        good.then(|| Holder { agency: agency.to_owned(), kind, id: id.to_owned() })
    }

    /// Resource name.
    pub fn name(&self) -> String {
        match self.kind {
            Kind::Node => node_name(&self.agency, &self.id),
            Kind::System => system_name(&self.agency, &self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for name in ["agencies/H29/nodes/n1", "agencies/H26.90/systems/mot-cua"] {
            assert_eq!(Holder::read(name).map(|holder| holder.name()).as_deref(), Some(name));
        }
        for name in [
            "",
            "agencies/H29",
            "agencies/H29/nodes/",
            "agencies//nodes/n1",
            "agencies/H29/people/x",
            "x/H29/nodes/n1",
        ] {
            assert_eq!(Holder::read(name), None, "{name}");
        }
        for id in ["N1", "n 1", "n1/x", "ñ", &"n".repeat(64)] {
            assert_eq!(Holder::read(&format!("agencies/H29/nodes/{id}")), None, "{id}");
        }
    }
}
