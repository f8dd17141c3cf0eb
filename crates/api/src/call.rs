//! One request on its way through the server.

use crate::api::Inner;
use crate::audit::Trail;
use crate::body::{self, Body, ReadError};
use crate::error::{Outcome, bad_request, fail};
use crate::identity::User;
use crate::negotiate::{self, Accept, Encoding};
use crate::pulse::{Cut, Near};
use crate::registry::Registry;
use crate::request::Query;
use bytes::Bytes;
use consort_object::status::Status;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use std::sync::Arc;

/// A request whose sender is known and may do what it asks.
pub(crate) struct Call {
    /// The server.
    pub inner: Arc<Inner>,
    /// The kinds, as they stood when the request came.
    pub registry: Arc<Registry>,
    /// Who asks.
    pub user: Arc<User>,
    /// It is about objects of a custom kind, which have no protobuf form.
    pub custom: bool,
    /// Method, URI, headers, extensions.
    pub parts: Parts,
    /// The query string.
    pub query: Query,
    /// What is recorded of the request, if anything is.
    pub trail: Option<Arc<Trail>>,
}

/// The media types of bodies and answers.
pub(crate) const MEDIA_TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

impl Call {
    /// The text of a header.
    pub(crate) fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// The form of the answer the client wants.
    pub(crate) fn accept(&self) -> Outcome<Accept> {
        match negotiate::accept_of(self.header(ACCEPT), !self.custom) {
            Some(accept) => Ok(accept),
            None => fail(Status::not_acceptable(self.media_types())),
        }
    }

    /// The form of a list that is sent as a stream of events.
    pub(crate) fn accept_streamed(&self) -> Outcome<Accept> {
        match negotiate::accept_streamed(self.header(ACCEPT), !self.custom) {
            Some(accept) => Ok(accept),
            None => fail(Status::not_acceptable(self.media_types())),
        }
    }

    /// Does the client take gzip, and is it worth it?
    pub(crate) fn gzip(&self) -> bool {
        self.parts.extensions.get::<Near>().is_none()
            && negotiate::accepts_gzip(self.header(ACCEPT_ENCODING))
    }

    /// Did the request come by a connection, and not from within the process?
    pub(crate) fn connected(&self) -> bool {
        self.parts.extensions.get::<Cut>().is_some()
    }

    /// The media type of the request's body.
    pub(crate) fn content_type(&self) -> String {
        negotiate::content_type(self.header(CONTENT_TYPE))
    }

    /// The encoding of the request's body.
    pub(crate) fn body_encoding(&self) -> Outcome<Encoding> {
        match negotiate::body_encoding(&self.content_type()) {
            Some(encoding) if !self.custom || encoding != Encoding::Protobuf => Ok(encoding),
            _ => fail(Status::unsupported_media_type(self.media_types())),
        }
    }

    pub(crate) fn media_types(&self) -> &'static [&'static str] {
        if self.custom {
            &MEDIA_TYPES[..2]
        } else {
            MEDIA_TYPES
        }
    }

    /// Read the body whole.
    pub(crate) async fn read(&self, body: Body) -> Outcome<Bytes> {
        let limit = self.inner.limits.body_bytes;
        match body::read(body, limit).await {
            Ok(bytes) => {
                if let Some(trail) = &self.trail {
                    trail.request(&bytes, &self.content_type());
                }
                Ok(bytes)
            }
            Err(ReadError::TooLarge { limit }) => fail(Status::request_entity_too_large(format!(
                "limit is {limit}"
            ))),
            Err(error @ ReadError::Broken(_)) => Err(bad_request(error.to_string())),
        }
    }
}
