//! Telling somebody who deleted or changed an object: an object itself does not know.

use crate::api::Inner;
use crate::call::Call;
use crate::handlers::update::{Change, Part};
use crate::identity::User;
use consort_object::{Head, Object};
use http::header::USER_AGENT;

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is gone, or will be when what holds it is.
    Deleted,
    /// Something else than its status was written.
    Changed,
}

/// A deed: what somebody did to an object.
#[derive(Debug)]
pub struct Deed<'a> {
    /// What.
    pub verb: Verb,
    /// Who; after impersonation.
    pub user: &'a User,
    /// The program, as it calls itself (`User-Agent`).
    pub client: Option<&'a str>,
    /// Under which name the program writes, if it gave one.
    pub manager: Option<&'a str>,
    /// The object: before it was deleted, or as it is after the change.
    pub object: &'a Head,
}

/// Is told of deeds to objects after they are done.
pub trait Witness: Send + Sync {
    /// Whether deeds to this object are of interest. Asked for every object that is deleted or changed: cheap.
    fn cares(&self, object: &Head) -> bool;

    /// A deed was done. Called on the reactor: must not block.
    fn saw(&self, deed: &Deed<'_>);
}

/// Tells of an object that a request has deleted or marked.
pub(crate) fn deleted(call: &Call, object: &Object) {
    if let Some(witness) = &call.inner.witness
        && witness.cares(&object.head)
    {
        witness.saw(&Deed {
            verb: Verb::Deleted,
            user: &call.user,
            client: client(call),
            manager: None,
            object: &object.head,
        });
    }
}

/// The program that sends a request, as it calls itself.
pub(crate) fn client(call: &Call) -> Option<&str> {
    call.header(USER_AGENT).filter(|name| !name.is_empty())
}

impl Change<'_> {
    /// Tells of what was written.
    pub(crate) fn witnessed(&self, inner: &Inner, object: &Object) {
        if self.part == Part::Main
            && let Some(witness) = &inner.witness
            && witness.cares(&object.head)
        {
            witness.saw(&Deed {
                verb: Verb::Changed,
                user: self.user,
                client: self.client,
                manager: self.named.as_deref(),
                object: &object.head,
            });
        }
    }
}
