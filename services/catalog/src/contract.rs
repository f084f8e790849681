//! A provider's contract: what its descriptor set declares to share.
//!
//! A contract is untrusted until it is linted: [`ContractModel::read`] refuses only what cannot be read at all,
//! and leaves the rest to [`ContractModel::findings`], so that a provider sees all mistakes at once. What the catalog
//! says about a contract that cannot be changed ([`Beside`]) is put into it first; from then on it is like any other.

mod annotate;
mod beside;
mod fields;
mod lint;
mod metadata;
mod values;

use lienthong_filter::Annotations;
use lienthong_proto::descriptors::{self, DESCRIPTOR_SET_BYTES_MAX, DescriptorSetError};
use lienthong_proto::lienthong::options::v1::{DatasetOptions, Importance, MethodKind, Personal, Secrecy};
use lienthong_proto::options;
use prost::Message;
use prost_reflect::{FieldDescriptor, MessageDescriptor, MethodDescriptor};
use prost_types::FileDescriptorSet;

use crate::finding::{Finding, Severity};
use crate::source::Dictionary;

pub use beside::Beside;
pub(crate) use beside::{Element, Given, Setting};
pub use fields::{ContractField, FieldsError, GrantedFields};
pub use metadata::{ApplicationMetadata, METADATA_KEY_BYTES_MAX, METADATA_KEYS_MAX, STATUS_DETAILS_MAX};

/// Fields that the record of one dataset may have, those of messages inside it included.
pub const RECORD_FIELDS_MAX: usize = 1024;

/// Why a contract could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// Not a descriptor set.
    #[error("the descriptor set cannot be read: {0}; build it with its imports")]
    Malformed(#[from] prost::DecodeError),
    /// Too large, or its references do not resolve.
    #[error(transparent)]
    DescriptorSet(#[from] DescriptorSetError),
    /// A file of a syntax that is not read, such as an edition.
    #[error("the file {file} is written in syntax {syntax:?}; write it in proto3 or proto2")]
    Syntax {
        /// Name of the file.
        file: String,
        /// Its syntax.
        syntax: String,
    },
    /// The record of a dataset has more fields than are followed.
    #[error(
        "the record {record} has more than {RECORD_FIELDS_MAX} fields, those inside it included; make it flatter"
    )]
    TooManyFields {
        /// Full name of the record message.
        record: String,
    },
}

/// What a descriptor set declares to share.
#[derive(Debug)]
pub struct ContractModel {
    datasets: Vec<ContractDataset>,
    methods: Vec<ContractMethod>,
    findings: Vec<Finding>,
}

impl ContractModel {
    /// Reads a serialized `FileDescriptorSet` with its imports, and lints it.
    pub fn read(descriptor_set: &[u8]) -> Result<Self, ContractError> {
        check_syntax(descriptor_set)?;
        let pool = descriptors::pool(descriptor_set)?;
        let mut datasets = Vec::new();
        for message in pool.all_messages() {
            if let Some(options) = options::dataset(&message) {
                datasets.push(ContractDataset::read(options, message)?);
            }
        }
        datasets.sort_by(|a, b| a.id().cmp(b.id()));
        let mut methods = Vec::new();
        let mut findings = Vec::new();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            match ContractMethod::read(&method) {
                Some(method) => methods.push(method),
                None if is_mesh_or_import(&method) => {}
                None => findings.push(lint::not_shared(&method)),
            }
        }
        methods.sort_by(|a, b| a.path.cmp(&b.path));
        findings.extend(lint::lint(&datasets, &methods));
        findings.sort();
        Ok(Self { datasets, methods, findings })
    }

    /// Reads what a provider published, with the options that the catalog gives beside it. Gives the descriptor set with
    /// those options in it, as nodes carry it, and what it declares. Of an option for something that is not there, or
    /// that the descriptor set has already, the findings tell.
    pub fn read_with(published: &[u8], beside: &Beside) -> Result<(Vec<u8>, Self), ContractError> {
        check_syntax(published)?;
        let (annotated, findings) = annotate::annotate(published, beside)?;
        let mut model = Self::read(&annotated)?;
        model.findings.extend(findings);
        model.findings.sort();
        Ok((annotated, model))
    }

    /// The datasets, by id.
    pub fn datasets(&self) -> &[ContractDataset] {
        &self.datasets
    }

    /// The dataset with this id.
    pub fn dataset(&self, id: &str) -> Option<&ContractDataset> {
        self.datasets.iter().find(|dataset| dataset.id() == id)
    }

    /// The methods that exchange a dataset, by path.
    pub fn methods(&self) -> &[ContractMethod] {
        &self.methods
    }

    /// What the lint found, errors first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// True where a finding forbids publication.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The first error that makes decisions about this contract impossible. A state secret is none: the decision
    /// about it is a denial with a name of its own.
    pub(crate) fn first_undecidable(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.severity == Severity::Error && finding.rule != "R-21")
    }

    /// Warnings for code lists that `is_listed` does not know as datasets.
    pub fn check_code_lists(&self, is_listed: &dyn Fn(&str) -> bool) -> Vec<Finding> {
        values::code_lists(&self.datasets, is_listed)
    }

    /// Warnings for references that the shared data dictionary does not know.
    pub fn check_dictionary(&self, dictionary: &Dictionary) -> Vec<Finding> {
        lint::dictionary(&self.datasets, dictionary)
    }
}

/// A dataset as its contract declares it.
#[derive(Debug, Clone)]
pub struct ContractDataset {
    options: DatasetOptions,
    record: MessageDescriptor,
    fields: Vec<ContractField>,
}

impl ContractDataset {
    fn read(options: DatasetOptions, record: MessageDescriptor) -> Result<Self, ContractError> {
        let fields = fields::walk(&record, options.personal())
            .ok_or_else(|| ContractError::TooManyFields { record: record.full_name().to_owned() })?;
        Ok(Self { options, record, fields })
    }

    /// Dataset id.
    pub fn id(&self) -> &str {
        &self.options.id
    }

    /// The options, as declared.
    pub fn options(&self) -> &DatasetOptions {
        &self.options
    }

    /// The record message.
    pub fn record(&self) -> &MessageDescriptor {
        &self.record
    }

    /// Every field of the record, in the order of declaration; those of a message follow it with dotted ids.
    pub fn fields(&self) -> &[ContractField] {
        &self.fields
    }

    /// True unless dataset and fields are all declared not to be state secrets.
    pub fn is_secret(&self) -> bool {
        self.options.secrecy() != Secrecy::None || self.fields.iter().any(ContractField::is_secret)
    }

    /// True where a field of the record is sensitive personal data.
    pub fn has_sensitive_fields(&self) -> bool {
        self.fields.iter().any(ContractField::is_sensitive)
    }

    /// True where a call may have its system's default purpose: the data is neither personal, in no field, nor core or
    /// important (design: local hops).
    pub fn takes_default_purpose(&self) -> bool {
        self.options.importance() == Importance::Other
            && self.options.personal() == Personal::None
            && self.fields.iter().all(|field| field.personal == Personal::None)
    }

    /// What may pass beside the dataset's messages.
    pub fn application_metadata(&self) -> ApplicationMetadata {
        self.options.application_metadata.as_ref().map(ApplicationMetadata::from).unwrap_or_default()
    }

    /// The fields that an entry's list grants: `*` stands for every field that is not sensitive; a sensitive
    /// one must be named itself. `masked` ones are granted with the masking that the contract declares.
    pub fn grant(&self, granted: &[String], masked: &[String]) -> Result<GrantedFields, FieldsError> {
        fields::grant(self, granted, masked)
    }
}

/// A method that exchanges records of a dataset.
#[derive(Debug)]
pub struct ContractMethod {
    /// gRPC path, for example `/vn.dancu.v1.CitizenService/GetCitizen`.
    pub path: String,
    /// Dataset whose records it carries.
    pub dataset: String,
    /// How it exchanges them.
    pub kind: MethodKind,
    /// Request message.
    pub request: MessageDescriptor,
    /// Response message.
    pub response: MessageDescriptor,
    /// True where the consumer streams.
    pub request_streaming: bool,
    /// True where the provider streams.
    pub response_streaming: bool,
    /// True where the method declares `idempotency_level = NO_SIDE_EFFECTS`.
    pub no_side_effects: bool,
}

impl ContractMethod {
    fn read(method: &MethodDescriptor) -> Option<Self> {
        let exchange = options::exchange(method)?;
        Some(Self {
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            kind: exchange.kind(),
            dataset: exchange.dataset,
            request: method.input(),
            response: method.output(),
            request_streaming: method.is_client_streaming(),
            response_streaming: method.is_server_streaming(),
            no_side_effects: options::has_no_side_effects(method),
        })
    }
}

/// Where records and subjects sit, read from the contract's own options.
#[derive(Debug, Clone, Copy)]
pub struct DeclaredAnnotations;

impl Annotations for DeclaredAnnotations {
    fn is_record(&self, field: &FieldDescriptor) -> bool {
        options::is_record(field)
    }

    fn is_record_message(&self, message: &MessageDescriptor) -> bool {
        options::dataset(message).is_some()
    }

    fn is_subject(&self, field: &FieldDescriptor) -> bool {
        options::field(field).is_some_and(|options| options.subject)
    }
}

/// Refuses what is neither proto2 nor proto3 before the descriptor pool sees it, which panics on the rest.
fn check_syntax(descriptor_set: &[u8]) -> Result<(), ContractError> {
    if descriptor_set.len() > DESCRIPTOR_SET_BYTES_MAX {
        return Err(DescriptorSetError::TooLarge(descriptor_set.len()).into());
    }
    for file in FileDescriptorSet::decode(descriptor_set)?.file {
        if !matches!(file.syntax.as_deref(), None | Some("proto2" | "proto3")) {
            return Err(ContractError::Syntax {
                file: file.name().to_owned(),
                syntax: file.syntax().to_owned(),
            });
        }
    }
    Ok(())
}

/// Services of the mesh itself, or of Google's common files, are nobody's shared data.
fn is_mesh_or_import(method: &MethodDescriptor) -> bool {
    let package = method.parent_service().package_name().to_owned();
    package.starts_with("lienthong.") || package.starts_with("google.") || package.starts_with("grpc.")
}
