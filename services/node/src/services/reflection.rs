//! `grpc.reflection.v1.ServerReflection`: contracts for generic clients (grpcurl, `buf curl`, graphical ones), exactly
//! what this caller may call. Each question is answered by the rights of its moment.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use lienthong_schema::file_of;
use prost_reflect::{DescriptorPool, FileDescriptor};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, ExtensionRequest, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    server_reflection_server::ServerReflection,
};

use crate::{
    limits::{QUESTIONS_PER_STREAM_MAX, REFLECTION_IDLE_MS_MAX},
    services::asker::Asker,
};

/// Contracts as one caller sees them.
pub struct Reflection(pub Asker);

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let stopping = self.0.core.node.stopping.clone();
        let conversation = Conversation { asker: self.0.clone(), questions: request.into_inner(), stopping };
        let answers = stream::unfold(conversation, Conversation::next).take(QUESTIONS_PER_STREAM_MAX);
        Ok(Response::new(Box::pin(answers)))
    }
}

struct Conversation {
    asker: Asker,
    questions: Streaming<ServerReflectionRequest>,
    stopping: CancellationToken,
}

impl Conversation {
    async fn next(mut self) -> Option<(Result<ServerReflectionResponse, Status>, Self)> {
        let question = tokio::select! {
            question = self.questions.message() => question,
            () = self.stopping.cancelled() => return None,
            () = tokio::time::sleep(Duration::from_millis(REFLECTION_IDLE_MS_MAX)) => return None,
        };
        // A broken question is the end: what follows cannot be read either.
        let question = question.ok().flatten()?;
        let answer = self.asker.view().await.map(|view| answer(&view, question));
        Some((answer, self))
    }
}

/// Answers one question. Pure.
fn answer(view: &DescriptorPool, question: ServerReflectionRequest) -> ServerReflectionResponse {
    let answered = match &question.message_request {
        Some(MessageRequest::ListServices(_)) => {
            Ok(MessageResponse::ListServicesResponse(list_services(view)))
        }
        Some(MessageRequest::FileByFilename(name)) => {
            found(view.get_file_by_name(name), || format!("no file is called {name:?}"))
        }
        Some(MessageRequest::FileContainingSymbol(symbol)) => {
            found(file_of(view, symbol), || format!("nothing is called {symbol:?}"))
        }
        Some(MessageRequest::FileContainingExtension(extension)) => {
            found(file_of_extension(view, extension), || {
                format!("no extension {} of {:?}", extension.extension_number, extension.containing_type)
            })
        }
        Some(MessageRequest::AllExtensionNumbersOfType(name)) => extension_numbers(view, name),
        None => Err((Code::InvalidArgument, "the request asks nothing".to_owned())),
    };
    let answered = answered.unwrap_or_else(|(code, error_message)| {
        MessageResponse::ErrorResponse(ErrorResponse { error_code: code.into(), error_message })
    });
    ServerReflectionResponse {
        valid_host: question.host.clone(),
        original_request: Some(question),
        message_response: Some(answered),
    }
}

type Answered = Result<MessageResponse, (Code, String)>;

fn list_services(view: &DescriptorPool) -> ListServiceResponse {
    let mut names: Vec<String> = view.services().map(|service| service.full_name().to_owned()).collect();
    names.sort();
    ListServiceResponse { service: names.into_iter().map(|name| ServiceResponse { name }).collect() }
}

/// The file, followed by everything that it imports: a client needs to ask but once.
fn found(file: Option<FileDescriptor>, not_found: impl FnOnce() -> String) -> Answered {
    let file = file.ok_or_else(|| (Code::NotFound, not_found()))?;
    let mut files = vec![file];
    let mut next = 0;
    while let Some(file) = files.get(next).cloned() {
        for import in file.dependencies() {
            if !files.contains(&import) {
                files.push(import);
            }
        }
        next += 1;
    }
    let file_descriptor_proto = files.iter().map(FileDescriptor::encode_to_vec).collect();
    Ok(MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }))
}

fn file_of_extension(view: &DescriptorPool, wanted: &ExtensionRequest) -> Option<FileDescriptor> {
    let extended = view.get_message_by_name(&wanted.containing_type)?;
    let number = u32::try_from(wanted.extension_number).ok()?;
    extended.get_extension(number).map(|extension| extension.parent_file())
}

fn extension_numbers(view: &DescriptorPool, name: &str) -> Answered {
    let extended = view
        .get_message_by_name(name)
        .ok_or_else(|| (Code::NotFound, format!("no message is called {name:?}")))?;
    let mut numbers: Vec<i32> =
        extended.extensions().filter_map(|extension| i32::try_from(extension.number()).ok()).collect();
    numbers.sort_unstable();
    Ok(MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
        base_type_name: name.to_owned(),
        extension_number: numbers,
    }))
}

#[cfg(test)]
mod tests {
    use lienthong_proto::descriptors;
    use prost::Message;
    use prost_types::FileDescriptorProto;

    use super::*;

    fn ask(question: MessageRequest) -> MessageResponse {
        let view = descriptors::pool(descriptors::DANCU).unwrap();
        let question = ServerReflectionRequest { host: "node".to_owned(), message_request: Some(question) };
        let answer = answer(&view, question.clone());
        assert_eq!((answer.valid_host.as_str(), answer.original_request), ("node", Some(question)));
        answer.message_response.unwrap()
    }

    fn files(answer: MessageResponse) -> Vec<String> {
        match answer {
            MessageResponse::FileDescriptorResponse(answer) => answer
                .file_descriptor_proto
                .iter()
                .map(|bytes| FileDescriptorProto::decode(bytes.as_slice()).unwrap().name().to_owned())
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_comes_with_its_imports_however_it_is_asked_for() {
        let extension = |number| ExtensionRequest {
            containing_type: "google.protobuf.MethodOptions".to_owned(),
            extension_number: number,
        };
        let citizen = "vn/dancu/v1/citizen.proto";
        let options = "lienthong/options/v1/options.proto";
        for (question, first) in [
            (MessageRequest::FileByFilename(citizen.to_owned()), citizen),
            (MessageRequest::FileContainingSymbol("vn.dancu.v1.CitizenService".to_owned()), citizen),
            (
                MessageRequest::FileContainingSymbol("vn.dancu.v1.CitizenService.GetCitizen".to_owned()),
                citizen,
            ),
            (MessageRequest::FileContainingExtension(extension(51751)), options),
        ] {
            let files = files(ask(question));
            assert_eq!(files[0], first);
            assert!(files.iter().any(|file| file == "google/protobuf/descriptor.proto"), "{files:?}");
            let mut once = files.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), files.len());
        }
    }

    #[test]
    fn extension_numbers_are_those_of_the_type() {
        match ask(MessageRequest::AllExtensionNumbersOfType("google.protobuf.FieldOptions".to_owned())) {
            MessageResponse::AllExtensionNumbersResponse(answer) => {
                assert_eq!(answer.extension_number, [51751, 51752]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let extension = ExtensionRequest { containing_type: "a.B".to_owned(), extension_number: -1 };
        for question in [
            MessageRequest::FileByFilename("vn/secret.proto".to_owned()),
            MessageRequest::FileContainingSymbol("vn.secret.Service".to_owned()),
            MessageRequest::FileContainingExtension(extension),
            MessageRequest::AllExtensionNumbersOfType("vn.secret.Message".to_owned()),
        ] {
            match ask(question.clone()) {
                MessageResponse::ErrorResponse(error) => assert_eq!(error.error_code, 5, "{question:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
