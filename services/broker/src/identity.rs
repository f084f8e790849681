//! Who a certificate is in the mesh: the registry's bindings, ready to be asked.

use std::collections::HashMap;
use std::fmt;

use lienthong_certs::CertificateBinding;

/// In which capacity somebody calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A node of a registered party.
    Node,
    /// An information system of a registered party.
    System,
    /// A person or tool of the mesh's operator.
    Operator,
    /// An auditor of the operator, who sees the whole log and changes nothing.
    Auditor,
    /// An agency's security officer, who sees the exchanges to which his agency is party.
    Officer,
    /// A steward of the operator's, who looks after the catalog and sees no log.
    Steward,
    /// The head of an agency, who sees how it keeps its duty.
    Head,
    /// A console, which may do nothing by itself and speaks for people (`console`).
    Console,
    /// A good certificate that the registry binds to nobody.
    Anonymous,
}

impl Role {
    /// Every role, in the order of the access table.
    pub const ALL: [Role; 9] = [
        Role::Node,
        Role::System,
        Role::Operator,
        Role::Auditor,
        Role::Officer,
        Role::Steward,
        Role::Head,
        Role::Console,
        Role::Anonymous,
    ];

    /// The role as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::System => "system",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
            Role::Officer => "officer",
            Role::Steward => "steward",
            Role::Head => "head",
            Role::Console => "console",
            Role::Anonymous => "anonymous",
        }
    }
}

/// What the registry says about the certificate of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A node.
    Node {
        /// Resource name, for example `agencies/G01/nodes/n1`.
        name: String,
        /// Code of its party.
        agency: String,
    },
    /// An information system.
    System {
        /// Resource name, for example `agencies/H26.90/systems/mot-cua`.
        name: String,
        /// Code of its party.
        agency: String,
    },
    /// An operator.
    Operator {
        /// Subject of the certificate.
        subject: String,
    },
    /// An auditor of the operator.
    Auditor {
        /// Subject of the certificate.
        subject: String,
    },
    /// An agency's security officer.
    Officer {
        /// Subject of the certificate.
        subject: String,
        /// Code of the agency.
        agency: String,
    },
    /// A steward of the operator.
    Steward {
        /// Subject of the certificate.
        subject: String,
    },
    /// The head of an agency.
    Head {
        /// Subject of the certificate.
        subject: String,
        /// Code of the agency.
        agency: String,
    },
    /// A console.
    Console {
        /// Subject of the certificate.
        subject: String,
    },
    /// Bound to nobody; what the certificate says about itself is kept for the refusal's text.
    Anonymous {
        /// Issuer, serial and key of the certificate.
        certificate: String,
    },
}

impl Caller {
    /// In which capacity the caller calls.
    pub const fn role(&self) -> Role {
        match self {
            Caller::Node { .. } => Role::Node,
            Caller::System { .. } => Role::System,
            Caller::Operator { .. } => Role::Operator,
            Caller::Auditor { .. } => Role::Auditor,
            Caller::Officer { .. } => Role::Officer,
            Caller::Steward { .. } => Role::Steward,
            Caller::Head { .. } => Role::Head,
            Caller::Console { .. } => Role::Console,
            Caller::Anonymous { .. } => Role::Anonymous,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Node { name, .. } => write!(f, "node {name}"),
            Caller::System { name, .. } => write!(f, "system {name}"),
            Caller::Operator { subject } => write!(f, "operator {subject}"),
            Caller::Auditor { subject } => write!(f, "auditor {subject}"),
            Caller::Officer { subject, agency } => write!(f, "officer {subject} of {agency}"),
            Caller::Steward { subject } => write!(f, "steward {subject}"),
            Caller::Head { subject, agency } => write!(f, "head {subject} of {agency}"),
            Caller::Console { subject } => write!(f, "console {subject}"),
            Caller::Anonymous { certificate } => {
                write!(f, "a certificate that the registry binds to nobody: {certificate}")
            }
        }
    }
}

/// The bindings of one generation of the registry.
#[derive(Debug, Default)]
pub struct Directory {
    callers: HashMap<CertificateBinding, Caller>,
}

impl Directory {
    /// The caller behind a certificate.
    pub fn caller(&self, binding: &CertificateBinding) -> Caller {
        self.callers
            .get(binding)
            .cloned()
            .unwrap_or_else(|| Caller::Anonymous { certificate: binding.to_string() })
    }

    /// Adds a binding.
    ///
    /// # Errors
    /// The caller to whom the certificate is bound already: one certificate stands for one party.
    pub fn bind(&mut self, binding: CertificateBinding, caller: Caller) -> Result<(), Caller> {
        match self.callers.get(&binding) {
            Some(present) if *present != caller => Err(present.clone()),
            _ => {
                self.callers.insert(binding, caller);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(serial: u8) -> CertificateBinding {
        CertificateBinding {
            issuer: "CN=DEMO – CA".to_owned(),
            serial: vec![serial],
            spki_sha256: [serial; 32],
        }
    }

    fn node(name: &str) -> Caller {
        Caller::Node { name: name.to_owned(), agency: "G01".to_owned() }
    }

    #[test]
    fn all_three_parts_of_a_binding_count() {
        let mut directory = Directory::default();
        directory.bind(binding(1), node("agencies/G01/nodes/n1")).unwrap();
        assert_eq!(directory.caller(&binding(1)).role(), Role::Node);
        for other in [
            CertificateBinding { issuer: "CN=other".to_owned(), ..binding(1) },
            CertificateBinding { serial: vec![2], ..binding(1) },
            CertificateBinding { spki_sha256: [2; 32], ..binding(1) },
        ] {
            assert_eq!(directory.caller(&other).role(), Role::Anonymous, "{other}");
        }
    }

    #[test]
    fn one_certificate_stands_for_one_party() {
        let mut directory = Directory::default();
        directory.bind(binding(1), node("agencies/G01/nodes/n1")).unwrap();
        directory.bind(binding(1), node("agencies/G01/nodes/n1")).unwrap();
        assert_eq!(
            directory.bind(binding(1), node("agencies/G01/nodes/n2")),
            Err(node("agencies/G01/nodes/n1"))
        );
    }
}
