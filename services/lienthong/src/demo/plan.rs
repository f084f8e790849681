//! Which mesh is laid out: the demo's is here, a sandbox has its own.

use lienthong_samples::{
    backend::{BackendKind, descriptor_set},
    catalog::CATALOG,
};

/// Id of the demo's mesh.
pub const MESH: &str = "demo";

/// Origin of the demo's log.
pub const LOG_ORIGIN: &str = "log.demo.invalid/lienthong";

/// The agency that operates the mesh.
pub const OPERATOR: (&str, &str) = ("G01.90", "Trung tâm Dữ liệu quốc gia");

/// Nodes of the demo: agency code, name.
pub const NODES: [(&str, &str); 5] = [
    ("G01", "Bộ Công an"),
    ("G12", "Bộ Tài chính"),
    ("G09", "Bộ Nội vụ"),
    ("G12.90", "Cục Thuế"),
    ("H26.90", "Trung tâm Phục vụ hành chính công TP Hà Nội"),
];

/// Information systems: agency code, system id.
const SYSTEMS: [(&str, &str); 2] = [("H26.90", "mot-cua"), ("G12.90", "thue")];

/// The witnesses of the demo's log: the three national data centres. Two of them must cosign.
pub const WITNESSES: [(&str, &str); 3] = [
    ("ttdl-1", "Trung tâm Dữ liệu quốc gia số 1"),
    ("ttdl-2", "Trung tâm Dữ liệu quốc gia số 2"),
    ("ttdl-3", "Trung tâm Dữ liệu quốc gia số 3"),
];

/// The enterprise that must be refused: code, name.
pub const OUTSIDER: (&str, &str) = ("9900000099", "Công ty CP Ví Dụ");

/// The agency that a plan may give a second node.
const SECOND_NODE: &str = "G09";

/// Which mesh is laid out.
pub struct Plan {
    /// Its id: every certificate is marked with it.
    pub mesh: String,
    /// Origin of its log.
    pub log_origin: String,
    /// The agency that operates it: code, name.
    pub operator: (String, String),
    /// Witnesses of its log: id, name. More than half of them must cosign.
    pub witnesses: Vec<(String, String)>,
    /// Agencies with a node: code, name. One that is named again has one node more, before the same backends.
    pub nodes: Vec<(String, String)>,
    /// Information systems that call: agency code, system id.
    pub systems: Vec<(String, String)>,
    /// An enterprise outside the political system, registered and entitled to nothing: code, name.
    pub outsider: Option<(String, String)>,
    /// Backends behind the nodes.
    pub backends: Vec<BackendPlan>,
    /// Catalog files: name, text.
    pub catalog: Vec<(String, String)>,
    /// Whether it has a gateway, with a console.
    pub gateway: bool,
}

/// One backend of a plan.
pub struct BackendPlan {
    /// Which, as `lienthong backend` takes it.
    pub kind: String,
    /// Its name: in files, in its server name.
    pub name: String,
    /// Code of its agency.
    pub agency: String,
    /// The information system that it is.
    pub system: String,
    /// True where the catalog knows that system, so that the registry binds its certificate.
    pub registered: bool,
    /// gRPC services that it serves.
    pub services: Vec<String>,
    /// Their contract, a serialized `FileDescriptorSet` with its imports.
    pub contract: Vec<u8>,
}

impl Plan {
    /// The demo's mesh.
    pub fn demo() -> Self {
        let pair = |(code, name): (&str, &str)| (code.to_owned(), name.to_owned());
        Self {
            mesh: MESH.to_owned(),
            log_origin: LOG_ORIGIN.to_owned(),
            operator: pair(OPERATOR),
            witnesses: WITNESSES.map(pair).into(),
            nodes: NODES.map(pair).into(),
            systems: SYSTEMS.map(pair).into(),
            outsider: Some(pair(OUTSIDER)),
            backends: BackendKind::ALL.map(sample_backend).into(),
            catalog: CATALOG.map(pair).into(),
            gateway: false,
        }
    }

    /// The same with a gateway.
    #[must_use]
    pub fn with_gateway(mut self) -> Self {
        self.gateway = true;
        self
    }

    /// The same with a second node of G09, so that the end of one is not the end of its answers.
    #[must_use]
    pub fn with_second_node(mut self) -> Self {
        let second = self.nodes.iter().find(|(code, _)| code == SECOND_NODE).cloned();
        self.nodes.extend(second);
        self
    }

    /// Name of an agency with a node; its code where it has none.
    pub fn name_of(&self, agency: &str) -> String {
        let known = self.nodes.iter().find(|(code, _)| code == agency);
        known.map_or_else(|| agency.to_owned(), |(_, name)| name.clone())
    }
}

fn sample_backend(kind: BackendKind) -> BackendPlan {
    let system = match kind {
        BackendKind::Dancu => "dan-cu",
        BackendKind::Dkdn => "dkdn",
        BackendKind::Danhmuc => "danh-muc",
        BackendKind::Thunghiem => "thu-nghiem",
    };
    BackendPlan {
        kind: kind.name().to_owned(),
        name: kind.name().to_owned(),
        agency: kind.agency_code().to_owned(),
        system: system.to_owned(),
        registered: true,
        services: vec![kind.service_name().to_owned()],
        contract: descriptor_set(kind).to_vec(),
    }
}
