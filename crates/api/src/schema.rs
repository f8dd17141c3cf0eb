//! What a kind's objects look like, and what it takes to read one from a client.

use crate::aside;
use crate::custom::{Refused, Version};
use crate::encoding::{self, Decoded};
use crate::error::{Failure, Outcome, fail, internal};
use crate::negotiate::Encoding;
use crate::request::FieldValidation;
use consort_object::schema::shape::Shape;
use consort_object::schema::{self, DecodeError, Gvk, Message, Schema};
use consort_object::status::Status;
use serde_json::Value;
use std::sync::Arc;

/// Why a value is no object of a kind.
pub(crate) enum Misfit {
    /// It has not the kind's form. How that is told depends on where the value comes from.
    Unreadable(DecodeError),
    /// Anything else, as the client is to be told.
    Refused(Failure),
}

impl Misfit {
    /// The answer to a client that sent the value.
    pub(crate) fn sent(self, gvk: &Gvk) -> Failure {
        match self {
            Self::Unreadable(error) => Box::new(error.status(gvk)),
            Self::Refused(failure) => failure,
        }
    }
}

/// The schema of a kind, wherever it comes from. Cheap to clone.
#[derive(Clone)]
pub(crate) enum KindSchema {
    /// One of the messages that the server knows from the start.
    Builtin(&'static Message),
    /// The schema of a version of a custom resource's definition.
    Custom(Arc<Version>),
    /// There is none: objects of the kind cannot be read.
    Missing,
}

impl KindSchema {
    /// The built-in schema of a kind.
    pub(crate) fn of(gvk: &Gvk) -> Self {
        Schema::builtin()
            .kind(gvk)
            .map_or(Self::Missing, Self::Builtin)
    }

    /// Decode a body as an object of this kind: canonical, with unknown and duplicate fields refused or
    /// told as the client wishes.
    pub(crate) fn decode(
        &self,
        bytes: &[u8],
        encoding: Encoding,
        gvk: &Gvk,
        mode: FieldValidation,
    ) -> Outcome<Decoded> {
        let notes = |value: &mut Value, mut notes: Vec<String>| -> Outcome<_> {
            let doubles = !notes.is_empty();
            notes.extend(
                self.canonical(value, gvk)
                    .map_err(|misfit| misfit.sent(gvk))?,
            );
            // Upstream reads built-in kinds in one pass, and custom ones in two.
            if doubles && matches!((self, encoding), (Self::Builtin(_), Encoding::Json)) {
                notes = schema::in_document_order(bytes, notes);
            }
            Ok(notes)
        };
        let (value, notes) = aside::with_body(bytes.len(), || -> Outcome<_> {
            let (mut value, doubles) = encoding::open(bytes, encoding, gvk)?;
            let notes = notes(&mut value, doubles)?;
            Ok((value, notes))
        })?;
        Ok(Decoded {
            value,
            warnings: encoding::judge(notes, gvk, mode)?,
        })
    }

    /// Bring a value into canonical form; the answer is what had to be dropped.
    pub(crate) fn canonical(&self, value: &mut Value, gvk: &Gvk) -> Result<Vec<String>, Misfit> {
        match self {
            Self::Builtin(message) => schema::coerce_and_check(Schema::builtin(), message, value)
                .map_err(Misfit::Unreadable),
            Self::Custom(version) => version.canonical(value).map_err(|refused| match refused {
                Refused::Status(failure) => Misfit::Refused(failure),
                Refused::Field(error) => Misfit::Unreadable(DecodeError::Type(error.to_string())),
            }),
            Self::Missing => Err(Misfit::Refused(internal(format!("no schema for {gvk}")))),
        }
    }

    /// How the kind's objects merge.
    pub(crate) fn shape(&self) -> Shape<'_> {
        match self {
            Self::Builtin(message) => Shape::of_message(Schema::builtin(), message),
            Self::Custom(version) => version.parsed().map_or(Shape::UNTYPED, |parsed| {
                Shape::of_structural(&parsed.schema)
            }),
            Self::Missing => Shape::UNTYPED,
        }
    }

    /// What a strategic merge patch is merged by. Only built-in kinds know that.
    pub(crate) fn strategic(&self, supported: &[&str]) -> Outcome<&'static Message> {
        match self {
            Self::Builtin(message) => Ok(message),
            Self::Custom(_) | Self::Missing => fail(Status::unsupported_media_type(supported)),
        }
    }
}
