//! What one system may call, as an OpenAPI 3.1 document a dataset, and as a page to read: generated from the contracts and
//! from the rights of this very reader. What he may not call does not stand there.
//!
//! Pure: descriptors and rights in, text out.
//!
//! | module | noun |
//! |---|---|
//! | [`document`] | the OpenAPI document |
//! | [`schema`] | a message as JSON Schema, as proto3's JSON mapping writes it |
//! | [`lines`] | a command that makes the call, for each tool |
//! | [`paths`] | paths that a contract declares |
//! | [`page`] | the same for people |

pub mod document;
pub mod lines;
pub mod page;
pub mod paths;
pub mod schema;

use std::collections::BTreeMap;

use lienthong_proto::{
    lienthong::{
        catalog::v1::{CallableMethod, PurposeFields},
        options::v1::{DatasetOptions, Purpose},
    },
    options,
};
use prost_reflect::{DescriptorPool, MethodDescriptor};

/// What one system may call now, and where.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Id of the mesh.
    pub mesh: String,
    /// Whether it lives on development certificates.
    pub development: bool,
    /// Resource name of the system.
    pub system: String,
    /// Code of its agency.
    pub agency: String,
    /// Address of the HTTP front, as the reader reached it, without a slash at the end.
    pub server: String,
    /// What it may call.
    pub methods: Vec<CallableMethod>,
    /// The contracts of that.
    pub contracts: DescriptorPool,
}

/// A dataset that the reader may call.
#[derive(Debug, Clone)]
pub struct Dataset<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its own words about itself.
    pub options: DatasetOptions,
    /// Its methods, by path and provider.
    pub methods: Vec<Listed<'a>>,
}

/// A method that the reader may call.
#[derive(Debug, Clone)]
pub struct Listed<'a> {
    /// As the node lists it.
    pub callable: &'a CallableMethod,
    /// As its contract declares it.
    pub declared: MethodDescriptor,
}

impl Reader {
    /// The datasets, by id. Each method and each message is looked at once: a system may call thousands.
    pub fn datasets(&self) -> Vec<Dataset<'_>> {
        let mut options = BTreeMap::new();
        for of in self.contracts.all_messages().filter_map(|message| options::dataset(&message)) {
            options.entry(of.id.clone()).or_insert(of);
        }
        let mut methods: BTreeMap<&str, Vec<Listed<'_>>> = BTreeMap::new();
        for callable in &self.methods {
            if let Some(declared) = self.declared(&callable.path) {
                methods.entry(&callable.dataset).or_default().push(Listed { callable, declared });
            }
        }
        let of = |(id, methods)| Dataset { id, options: options.remove(id).unwrap_or_default(), methods };
        methods.into_iter().map(of).collect()
    }

    /// The dataset of that id; without methods where the reader may call none.
    pub fn dataset<'a>(&'a self, id: &'a str) -> Dataset<'a> {
        let of_it = self.methods.iter().filter(|method| method.dataset == id);
        let methods =
            of_it.filter_map(|callable| Some(Listed { callable, declared: self.declared(&callable.path)? }));
        let named = |options: &DatasetOptions| options.id == id;
        let own = self.contracts.all_messages().find_map(|message| options::dataset(&message).filter(named));
        Dataset { id, options: own.unwrap_or_default(), methods: methods.collect() }
    }

    fn declared(&self, path: &str) -> Option<MethodDescriptor> {
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        self.contracts.get_service_by_name(service)?.methods().find(|method| method.name() == name)
    }
}

impl Listed<'_> {
    /// True where messages come or go in a stream.
    pub fn streams(&self) -> bool {
        self.declared.is_client_streaming() || self.declared.is_server_streaming()
    }

    /// Names of the purposes that the reader has it for; of open data all, for any will do.
    pub fn purposes(&self) -> Vec<String> {
        let named = |of: &PurposeFields| match of.purpose() {
            Purpose::Unspecified => {
                (1..).map_while(|number| Purpose::try_from(number).ok()).map(word).collect()
            }
            purpose => vec![word(purpose)],
        };
        let mut all = Vec::new();
        for name in self.callable.purposes.iter().flat_map(named) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }
}

/// The purpose as a caller states it; of open data, for which any will do, `ANY`.
pub fn word(purpose: Purpose) -> String {
    if purpose == Purpose::Unspecified {
        return "ANY".to_owned();
    }
    purpose.as_str_name().trim_start_matches("PURPOSE_").to_owned()
}
