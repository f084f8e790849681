//! A client of one's own node, as `lienthong call` and the demo use it: typed calls from descriptors, without
//! generated code.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use lienthong_certs::{
    Credentials, KeySource,
    judge::{Branch, Judge, Profile, RevocationLists, TrustAnchors},
};
use lienthong_proto::{
    descriptors,
    dynamic::DynamicCodec,
    lienthong::{
        audit::v1::search_service_client::SearchServiceClient,
        catalog::v1::{GetContractRequest, node_catalog_service_client::NodeCatalogServiceClient},
        registry::v1::enrollment_service_client::EnrollmentServiceClient,
    },
};
use lienthong_transport::{Channel, ChannelOptions, Connections, Endpoint, SharedMaterial, TlsMaterial};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde::{Deserialize, Serialize};
use tonic::{Request, Status, Streaming, metadata::MetadataMap};

/// Largest answer of a search, bytes.
pub const SEARCH_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a client waits for a contract where it states no timeout, seconds.
pub const CONTRACT_TIMEOUT_S: u64 = 30;

/// Where a client calls, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientProfile {
    /// Host and port of the node.
    pub node: String,
    /// DNS name that its certificate must carry.
    pub server_name: String,
    /// The system's certificate, PEM, leaf first.
    pub certificate: PathBuf,
    /// Its private key: a PEM file of mode 0600, or a token: { pkcs11 = { module, token, key, id, pin_file } }.
    pub key: KeySource,
    /// Authorities of state agencies, PEM.
    pub trust: Vec<PathBuf>,
    /// Accept certificates made for development.
    #[serde(default)]
    pub development: bool,
}

/// A client of one node.
#[derive(Clone)]
pub struct Client {
    channel: Channel<tonic::body::Body>,
}

/// What a call states beside its message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// `mesh-purpose`.
    pub purpose: Option<String>,
    /// `mesh-dossier`.
    pub dossier: Option<String>,
    /// `mesh-user`.
    pub user: Option<String>,
    /// `mesh-provider`.
    pub provider: Option<String>,
    /// `mesh-fields`.
    pub fields: Vec<String>,
    /// Deadline.
    pub timeout: Option<Duration>,
}

/// An answer, message by message.
pub struct Answer {
    /// Headers of the answer.
    pub metadata: MetadataMap,
    /// Its messages; trailers follow the last.
    pub messages: Streaming<DynamicMessage>,
}

impl Client {
    /// Reads the profile's files; connects when first used.
    pub fn new(profile: &ClientProfile) -> Result<Self> {
        let files: Vec<_> = profile.trust.iter().map(|path| (Branch::State, path.clone())).collect();
        Self::trusting(profile, TrustAnchors::load(&files)?)
    }

    /// The same with other authorities than the profile's.
    pub fn trusting(profile: &ClientProfile, anchors: TrustAnchors) -> Result<Self> {
        let credentials = Credentials::open(&profile.certificate, &profile.key)?;
        let trusted = if profile.development { Profile::development() } else { Profile::default() };
        let judge = Judge::new(anchors, RevocationLists::empty(), trusted)?;
        let endpoint = Endpoint::Mesh {
            address: profile.node.clone(),
            server_name: Some(profile.server_name.clone()),
            material: SharedMaterial::new(TlsMaterial::new(&credentials, judge)?),
        };
        Ok(Self { channel: Channel::new(endpoint, ChannelOptions::new(Connections::new())) })
    }

    /// The connection, for the generated clients of any service that the node offers.
    pub fn channel(&self) -> Channel<tonic::body::Body> {
        self.channel.clone()
    }

    /// The catalog service of the node; `mesh-provider` on a request asks another agency's node through it.
    pub fn catalog(&self) -> NodeCatalogServiceClient<Channel<tonic::body::Body>> {
        NodeCatalogServiceClient::new(self.channel())
    }

    /// The enrollment service, where the profile leads to the broker.
    pub fn enrollments(&self) -> EnrollmentServiceClient<Channel<tonic::body::Body>> {
        EnrollmentServiceClient::new(self.channel())
    }

    /// Questions to the log, where the profile leads to the broker.
    pub fn search(&self) -> SearchServiceClient<Channel<tonic::body::Body>> {
        SearchServiceClient::new(self.channel()).max_decoding_message_size(SEARCH_ANSWER_BYTES_MAX)
    }

    /// The contract that holds a method, as far as one may call it; of the stated provider, within the stated timeout
    /// or [`CONTRACT_TIMEOUT_S`].
    pub async fn contract(&self, method: &str, stated: &Stated) -> Result<DescriptorPool> {
        let request = GetContractRequest {
            symbol: method.to_owned(),
            provider: stated.provider.clone().unwrap_or_default(),
            ..GetContractRequest::default()
        };
        let timeout = stated.timeout.unwrap_or(Duration::from_secs(CONTRACT_TIMEOUT_S));
        let contract = within(timeout, self.catalog().get_contract(request)).await?.into_inner();
        Ok(descriptors::pool(&contract.descriptor_set)?)
    }

    /// Calls a method with one request message; streams its answer.
    pub async fn call(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        stated: &Stated,
    ) -> Result<Answer, Status> {
        let path =
            path_of(method).parse().map_err(|_| Status::invalid_argument("the method has no valid path"))?;
        self.call_path(path, request, method.output(), stated).await
    }

    /// Calls a path with any message; for what no contract has.
    pub async fn call_path(
        &self,
        path: http::uri::PathAndQuery,
        message: DynamicMessage,
        output: MessageDescriptor,
        stated: &Stated,
    ) -> Result<Answer, Status> {
        let mut request = Request::new(message);
        stated.write(&mut request)?;
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let response = grpc.server_streaming(request, path, DynamicCodec::decoding(output)).await?;
        let (metadata, messages, _) = response.into_parts();
        Ok(Answer { metadata, messages })
    }
}

impl Answer {
    /// Every message, and the metadata of head and trailers together.
    pub async fn collect(mut self) -> Result<(Vec<DynamicMessage>, MetadataMap), Status> {
        let mut messages = Vec::new();
        while let Some(message) = self.messages.message().await? {
            messages.push(message);
        }
        let mut headers = self.metadata.into_headers();
        if let Some(trailers) = self.messages.trailers().await? {
            headers.extend(trailers.into_headers());
        }
        Ok((messages, MetadataMap::from_headers(headers)))
    }
}

impl Stated {
    /// Puts the statements on a request.
    pub fn write<T>(&self, request: &mut Request<T>) -> Result<(), Status> {
        let fields = self.fields.join(",");
        let texts = [
            ("mesh-purpose", self.purpose.as_deref()),
            ("mesh-dossier", self.dossier.as_deref()),
            ("mesh-user", self.user.as_deref()),
            ("mesh-provider", self.provider.as_deref()),
            ("mesh-fields", (!fields.is_empty()).then_some(fields.as_str())),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                let value = text.parse().map_err(|_| {
                    Status::invalid_argument(format!("{name} can hold visible ASCII characters only"))
                })?;
                request.metadata_mut().insert(name, value);
            }
        }
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        Ok(())
    }
}

/// The method of a gRPC path.
pub fn method_of(pool: &DescriptorPool, path: &str) -> Result<MethodDescriptor> {
    let (service, method) = path
        .trim_start_matches('/')
        .split_once('/')
        .context("a method is written /package.Service/Method")?;
    let service = pool
        .get_service_by_name(service)
        .with_context(|| format!("the contract has no service {service}"))?;
    let found = service.methods().find(|candidate| candidate.name() == method);
    found.with_context(|| {
        let names: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
        format!("{} has no method {method}; it has {}", service.full_name(), names.join(", "))
    })
}

/// The gRPC path of a method.
pub fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// An answer of the node, within a time.
pub async fn within<T>(
    timeout: Duration,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<tonic::Response<T>, Status> {
    tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded(format!("the node did not answer within {} s", timeout.as_secs_f32())))
    })
}

/// Reads a JSON request (protobuf's canonical JSON mapping).
pub fn message_from_json(descriptor: MessageDescriptor, json: &str) -> Result<DynamicMessage> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let name = descriptor.full_name().to_owned();
    let message = DynamicMessage::deserialize(descriptor, &mut deserializer)
        .with_context(|| format!("the request is not a {name} in JSON"))?;
    deserializer.end().context("something follows the JSON request")?;
    Ok(message)
}

/// The canonical JSON of a message.
pub fn message_to_json(message: &DynamicMessage) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(message)?)
}

/// A profile file.
pub fn profile(path: &std::path::Path) -> Result<ClientProfile> {
    Ok(lienthong_telemetry::load(path)?)
}
