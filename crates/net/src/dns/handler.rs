//! From a request to its response.

use std::pin::Pin;

use hickory_proto::op::{
    Edns, Header, HeaderCounts, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::{Name, Record, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::forward::Forwarder;
use super::records::{Answer, Records};

/// Largest UDP answer that is sent: what passes every path unfragmented (DNS flag day 2020).
const PAYLOAD: u16 = 1232;
/// Aliases followed within the cluster; a loop of aliases ends here.
const ALIASES: usize = 8;

/// Answers from [`Records`], or else through a [`Forwarder`].
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) records: Records,
    pub(super) forwarder: Forwarder,
}

/// The sections of a response.
#[derive(Debug)]
struct Response {
    metadata: Metadata,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Response {
    fn new(request: &Request, code: ResponseCode) -> Self {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = code;
        metadata.recursion_available = true;
        Self {
            metadata,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }
}

impl Handler {
    async fn respond(&self, request: &Request) -> Response {
        if request.metadata.op_code != OpCode::Query {
            return Response::new(request, ResponseCode::NotImp);
        }
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Response::new(request, ResponseCode::BADVERS);
        }
        let Ok(info) = request.request_info() else {
            return Response::new(request, ResponseCode::FormErr);
        };
        let question = info.query.original();
        match self
            .local(request, question.name(), question.query_type())
            .await
        {
            Some(response) => response,
            // Not the cluster's: passed on as it came.
            None => self.pass_on(request).await,
        }
    }

    /// Answers for the cluster's names; `None` for others.
    async fn local(&self, request: &Request, name: &Name, kind: RecordType) -> Option<Response> {
        let mut response = Response::new(request, ResponseCode::NoError);
        response.metadata.authoritative = true;
        let mut name = name.clone();
        for _ in 0..ALIASES {
            match self.records.answer(&name, kind) {
                Some(Answer::Found {
                    answers,
                    additionals,
                }) => {
                    response.answers.extend(answers);
                    response.additionals = additionals;
                    return Some(response);
                }
                Some(Answer::NoData(soa)) => {
                    response.authorities.push(soa);
                    return Some(response);
                }
                Some(Answer::NoName(soa)) => {
                    response.authorities.push(soa);
                    response.metadata.response_code = ResponseCode::NXDomain;
                    return Some(response);
                }
                Some(Answer::Alias { record, target }) => {
                    response.answers.push(record);
                    if kind == RecordType::CNAME {
                        return Some(response);
                    }
                    name = target;
                }
                None if response.answers.is_empty() => return None,
                None => {
                    self.follow(&mut response, &name, kind).await;
                    return Some(response);
                }
            }
        }
        response.metadata.response_code = ResponseCode::ServFail;
        Some(response)
    }

    /// Looks up where an alias leads outside the cluster.
    async fn follow(&self, response: &mut Response, name: &Name, kind: RecordType) {
        let mut question = Message::new(0, MessageType::Query, OpCode::Query);
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(name.clone(), kind));
        let Ok(bytes) = question.to_vec() else { return };
        match self.forwarder.ask(&bytes).await {
            Ok(Some(answer)) => {
                response.answers.extend(answer.answers);
                response.metadata.response_code = answer.metadata.response_code;
            }
            // The alias alone is still a true answer; the client may know better whom to ask.
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%name, %error, "no resolver answered");
                response.metadata.response_code = ResponseCode::ServFail;
            }
        }
    }

    async fn pass_on(&self, request: &Request) -> Response {
        match self.forwarder.ask(request.as_slice()).await {
            Ok(Some(answer)) => {
                let mut metadata = answer.metadata;
                metadata.id = request.metadata.id;
                Response {
                    metadata,
                    answers: answer.answers,
                    authorities: answer.authorities,
                    additionals: answer.additionals,
                }
            }
            Ok(None) => Response::new(request, ResponseCode::Refused),
            Err(error) => {
                tracing::debug!(%error, "no resolver answered");
                Response::new(request, ResponseCode::ServFail)
            }
        }
    }
}

impl RequestHandler for Handler {
    fn handle_request<'handler, 'request, 'call, R, T>(
        &'handler self,
        request: &'request Request,
        mut responder: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'call>>
    where
        R: ResponseHandler + 'call,
        T: Time + 'call,
        'handler: 'call,
        'request: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let response = self.respond(request).await;
            let edns = request.edns.as_ref().map(|asked| {
                let mut edns = Edns::new();
                edns.set_max_payload(asked.max_payload().clamp(512, PAYLOAD));
                edns.set_dnssec_ok(asked.flags().dnssec_ok);
                edns
            });
            let message = MessageResponseBuilder::new(&request.queries, edns.as_ref()).build(
                response.metadata,
                &response.answers,
                &response.authorities,
                [],
                &response.additionals,
            );
            responder
                .send_response(message)
                .await
                .unwrap_or_else(|error| {
                    tracing::debug!(client = %request.src(), %error, "answer not sent");
                    Header {
                        metadata: response.metadata,
                        counts: HeaderCounts::default(),
                    }
                    .into()
                })
        })
    }
}
