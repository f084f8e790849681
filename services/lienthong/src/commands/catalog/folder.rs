//! Catalog folders on their way to the broker and back.

use anyhow::{Context, Result};
use lienthong_approval::folder_hash;
use lienthong_broker::service::change::parts;
use lienthong_catalog::SourceFile;
use lienthong_proto::lienthong::catalog::v1::{
    ProposeChangeRequest, ReadFilesRequest,
    catalog_change_service_client::CatalogChangeServiceClient,
    propose_change_request::{Head, Part},
};
use lienthong_transport::Channel;

use crate::{
    client::{self, Client},
    commands::enroll::{BrokerArgs, show},
};

/// The service as this program calls it.
pub type Changes = CatalogChangeServiceClient<Channel<tonic::body::Body>>;

/// Bytes of an answer: a plan lists thousands of rights.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The broker's service.
pub fn service(broker: &BrokerArgs) -> Result<Changes> {
    let client = Client::new(&client::profile(&broker.profile)?)?;
    Ok(CatalogChangeServiceClient::new(client.channel()).max_decoding_message_size(ANSWER_BYTES_MAX))
}

/// The files of a change, or those in force; checked against the hash that came with them.
pub async fn fetch(service: &mut Changes, name: &str) -> Result<Vec<SourceFile>> {
    let request = ReadFilesRequest { name: name.to_owned() };
    let mut stream =
        service.read_files(request).await.map_err(|status| show::explained(&status))?.into_inner();
    let (mut hash, mut files): (Vec<u8>, Vec<(String, Vec<u8>)>) = (Vec::new(), Vec::new());
    while let Some(message) = stream.message().await.map_err(|status| show::explained(&status))? {
        if !message.content_hash.is_empty() {
            hash = message.content_hash;
        }
        let Some(part) = message.file else { continue };
        match files.last_mut() {
            Some((name, bytes)) if *name == part.name => bytes.extend(part.content),
            _ => files.push((part.name, part.content)),
        }
    }
    let text = |(name, bytes): (String, Vec<u8>)| {
        let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))?;
        Ok(SourceFile { name, text })
    };
    let files = files.into_iter().map(text).collect::<Result<Vec<_>>>()?;
    anyhow::ensure!(folder_hash(&files).0.as_slice() == hash, "the folder did not arrive whole; try again");
    Ok(files)
}

/// A folder as the broker takes it in.
pub fn upload(head: Head, files: &[SourceFile]) -> Vec<ProposeChangeRequest> {
    let head = ProposeChangeRequest { part: Some(Part::Head(head)) };
    let files = parts(files).map(|part| ProposeChangeRequest { part: Some(Part::File(part)) });
    std::iter::once(head).chain(files).collect()
}
