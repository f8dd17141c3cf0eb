//! Taking over a client's connection.

use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{Body, Error, empty};

/// The header in which SPDY clients and servers name their protocol.
pub(super) const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// A message holds what a terminal or a copy sends at once; more is not one of ours.
const LONGEST_MESSAGE: usize = 16 << 20;

/// A client's connection after the upgrade.
pub(super) type Connection = TokioIo<Upgraded>;

/// What a client wants its connection to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    WebSocket,
    Spdy,
}

/// Which upgrade the request asks for.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Wanted, Error> {
    let upgrade = headers
        .get(UPGRADE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if upgrade.eq_ignore_ascii_case("websocket") {
        Ok(Wanted::WebSocket)
    } else if upgrade.eq_ignore_ascii_case("SPDY/3.1") {
        Ok(Wanted::Spdy)
    } else {
        Err(Error::BadRequest("Upgrade request required".into()))
    }
}

/// Takes the promise of the connection out of the request.
pub(super) fn take(request: &mut Request<Body>) -> Result<OnUpgrade, Error> {
    if request.extensions().get::<OnUpgrade>().is_none() {
        return Err(Error::BadRequest(
            "this connection cannot be upgraded".into(),
        ));
    }
    Ok(hyper::upgrade::on(request))
}

fn switching(upgrade: &'static str) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
    response
}

/// The answer that makes the connection a WebSocket (RFC 6455, section 4.2.2).
pub(super) fn to_web_socket(
    headers: &HeaderMap,
    protocol: Option<&'static str>,
) -> Result<Response<Body>, Error> {
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Error::BadRequest("the header Sec-WebSocket-Key is missing".into()))?;
    let mut response = switching("websocket");
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|error| Error::Internal(error.to_string()))?;
    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(response)
}

/// The answer that makes the connection a SPDY session.
pub(super) fn to_spdy(protocol: &'static str) -> Response<Body> {
    let mut response = switching("SPDY/3.1");
    response
        .headers_mut()
        .insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    response
}

/// The end of a session that went as it should. Clients take any other code, or none, for a
/// connection that broke.
pub(super) fn goodbye() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from_static(""),
    }))
}

/// The connection as a WebSocket.
pub(super) async fn web_socket(connection: Connection) -> WebSocketStream<Connection> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await
}
