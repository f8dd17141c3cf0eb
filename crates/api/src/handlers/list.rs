//! Lists: pages consistent at one revision, made of the stored bytes while they are sent.

use super::list_body::{Items, MANY, Source, send};
use super::read::{prefix, reached, store_failure};
use super::selection::Selection;
use crate::api::Inner;
use crate::body::Body;
use crate::call::Call;
use crate::error::{Failure, Outcome, bad_request, internal};
use crate::form::Form;
use crate::kind::Kind;
use crate::negotiate::Encoding;
use crate::request::{ListOptions, VersionMatch};
use crate::table::Include;
use crate::{custom, form, respond};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use consort_object::status::Status;
use consort_object::{Object, Revision, Selectable};
use consort_store::{Filter, Key, Scan, Store};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// Where the next page begins. Opaque to clients, in upstream's form.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
    /// How many objects are left after the page before, where that is known: beyond some number they
    /// are not counted again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

impl Token {
    fn encode(revision: i64, start: &str, left: Option<u64>) -> String {
        let token = Self {
            v: "meta.k8s.io/v1".into(),
            rv: revision,
            // The first key after the last one of the page.
            start: format!("{start}\0"),
            left,
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn decode(text: &str) -> Outcome<Self> {
        let invalid = |why: &str| bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| invalid("illegal base64 data"))?;
        let mut token: Self = serde_json::from_slice(&bytes)
            .map_err(|_| invalid("it was not made by this server"))?;
        if token.v != "meta.k8s.io/v1" {
            return Err(invalid(&format!(
                "server does not recognize this encoded version {}",
                token.v
            )));
        }
        if token.rv == 0 {
            return Err(invalid(
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ));
        }
        if token.start.is_empty() {
            return Err(invalid("encoded start key empty (version meta.k8s.io/v1)"));
        }
        if token.start.ends_with('\0') {
            token.start.pop();
        }
        Ok(token)
    }
}

/// A page of a list, not read yet.
pub(crate) struct Page {
    /// Its objects.
    pub scan: Scan,
    /// The token of the next page.
    pub next: Option<String>,
    /// How many objects follow, if the selectors let that be told.
    pub remaining: Option<u64>,
}

impl Page {
    /// The metadata of the list.
    pub(crate) fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.scan.revision.to_string()});
        if let Some(next) = &self.next {
            metadata["continue"] = next.clone().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

/// The keys a selection can be among, as narrow as can be told.
pub(crate) fn selected_prefix(
    kind: &Kind,
    namespace: Option<&str>,
    selection: &Selection,
) -> String {
    let namespace = namespace.or(selection.namespace.as_deref());
    let mut prefix = prefix(kind, namespace);
    if (namespace.is_some() || !kind.namespaced)
        && let Some(name) = &selection.name
    {
        prefix.push_str(name);
    }
    prefix
}

/// Where a list begins, how long it is at most, and of which revision.
type Bounds = (Option<Key>, Option<usize>, Option<Revision>);

fn choose(
    store: &Store,
    prefix: &str,
    (after, limit, at): Bounds,
    selection: &Selection,
) -> Result<Scan, consort_store::Error> {
    let mut wanted = |head: &dyn Selectable| selection.matches(head);
    let filter: Option<Filter<'_>> = if selection.looks() {
        Some(&mut wanted)
    } else {
        None
    };
    store.scan(prefix, after.as_ref(), limit, at, filter)
}

/// Choose the objects of a list, off the reactor if there is much to look at.
pub(crate) async fn scan(
    store: &Store,
    kind: &Kind,
    prefix: &str,
    bounds: Bounds,
    selection: &Selection,
) -> Result<Scan, consort_store::Error> {
    let (group, plural) = &kind.storage;
    let all = store.count(&Key::prefix(group, plural, None));
    let named = !prefix.ends_with('/');
    // Where no object is looked at only the index is.
    let few = if selection.looks() { MANY } else { MANY * 25 };
    if all <= few || named || (!selection.looks() && bounds.1.is_some_and(|limit| limit <= few)) {
        return choose(store, prefix, bounds, selection);
    }
    let (store, prefix, selection) = (store.clone(), prefix.to_owned(), selection.clone());
    tokio::task::spawn_blocking(move || choose(&store, &prefix, bounds, &selection))
        .await
        .map_err(|_| consort_store::Error::Closed)?
}

/// Choose one page, consistent at one revision.
pub(crate) async fn page(
    call: &Call,
    kind: &Kind,
    namespace: Option<&str>,
    options: &ListOptions,
    selection: &Selection,
) -> Outcome<Page> {
    let store = &call.inner.store;
    let prefix = selected_prefix(kind, namespace, selection);
    let collection = super::read::prefix(kind, namespace);
    let mut after = None;
    let mut at = None;
    let mut left = None;
    if let Some(text) = &options.page {
        if options.revision.is_some_and(|revision| revision != 0) {
            return Err(bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::decode(text)?;
        let start = format!("{collection}{}", token.start);
        after = Some(
            Key::parse(&start)
                .map_err(|_| bad_request(format!("continue key is not valid: {}", token.start)))?,
        );
        at = u64::try_from(token.rv).ok().map(Revision);
        left = token.left;
    } else if let Some(revision) = options.revision.filter(|revision| *revision != 0) {
        let exact = match options.version_match {
            Some(VersionMatch::Exact) => true,
            Some(VersionMatch::NotOlderThan) => false,
            // Without a match a limited list is exact, as it always was.
            None => options.limit.is_some(),
        };
        reached(store, Some(revision)).await?;
        at = exact.then_some(Revision(revision));
    }
    let paged = options.page.is_some();
    let start = after
        .as_ref()
        .map(|key| key.as_str()[collection.len()..].to_owned());
    let bounds = (after, options.limit, at);
    let scan = scan(store, kind, &prefix, bounds, selection)
        .await
        .map_err(|error| match error {
            consort_store::Error::Compacted { .. } if paged => {
                expired_page(start.as_deref().unwrap_or_default())
            }
            consort_store::Error::Compacted { .. } => Box::new(Status::expired(
                "The resourceVersion for the provided list is too old.",
            )),
            other => store_failure(other),
        })?;
    let mut page = Page {
        next: None,
        remaining: None,
        scan,
    };
    if let Some(last) = &page.scan.next {
        if selection.all() {
            page.remaining = match (left, page.scan.remaining) {
                (Some(left), _) => Some(left.saturating_sub(page.scan.len() as u64)),
                (None, Some(count)) => Some(count as u64),
                (None, None) => store
                    .following(&prefix, last, page.scan.revision)
                    .map_err(store_failure)?
                    .map(|count| count as u64),
            };
        }
        let revision = i64::try_from(page.scan.revision.0).unwrap_or(-1);
        let start = last.as_str().get(collection.len()..).unwrap_or_default();
        page.next = Some(Token::encode(revision, start, page.remaining));
    }
    Ok(page)
}

/// The objects of a list.
pub(crate) enum Chosen {
    /// They are shown as they are stored, and read when they are sent.
    Stored(Scan),
    /// They are shown in another form than they are stored in.
    Shown(Vec<Object>),
}

impl Chosen {
    /// Bring what was scanned into the form it is shown in, where that is another one.
    pub(crate) async fn new(
        inner: &Inner,
        kind: &Kind,
        scan: Scan,
        selection: &Selection,
    ) -> Outcome<Self> {
        if !selection.found_stale() {
            return Ok(Self::Stored(scan));
        }
        let read = tokio::task::spawn_blocking(move || {
            (0..scan.len())
                .map(|at| scan.object(at).map_err(store_failure))
                .collect::<Outcome<Vec<Object>>>()
        });
        let objects = read.await.map_err(internal)??;
        let mut objects = custom::shown_all(inner, kind, objects).await?;
        objects.retain(|object| selection.matches_shown(&*object.head));
        Ok(Self::Shown(objects))
    }

    /// Number of objects.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Stored(scan) => scan.len(),
            Self::Shown(objects) => objects.len(),
        }
    }

    /// Whether the values of these objects can be had without reading the disk.
    pub(crate) fn resident(&self, range: std::ops::Range<usize>) -> bool {
        match self {
            Self::Stored(scan) => scan.resident(range),
            Self::Shown(_) => true,
        }
    }

    /// The JSON of an object. Reads the disk if need be.
    pub(crate) fn json(&self, at: usize) -> Outcome<Bytes> {
        match self {
            Self::Stored(scan) => scan.json(at).map_err(store_failure),
            Self::Shown(objects) => Ok(objects[at].json.clone()),
        }
    }

    /// An object. Reads the disk if need be.
    pub(crate) fn object(&self, at: usize) -> Outcome<Object> {
        match self {
            Self::Stored(scan) => scan.object(at).map_err(store_failure),
            Self::Shown(objects) => Ok(objects[at].clone()),
        }
    }

    /// Namespace and name of an object.
    pub(crate) fn place(&self, at: usize) -> (Option<&str>, &str) {
        match self {
            Self::Stored(scan) => (scan.key(at).namespace(), scan.key(at).name()),
            Self::Shown(objects) => {
                let head = &objects[at].head;
                (head.namespace.as_deref(), &head.name)
            }
        }
    }
}

/// A page was asked for at a revision that is no longer kept; the token in the answer goes on at the
/// present one.
fn expired_page(start: &str) -> Failure {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.metadata.continue_token = Token::encode(-1, start, None);
    Box::new(status)
}

/// `GET` of a collection.
pub(crate) async fn list(
    call: &Call,
    kind: &Arc<Kind>,
    namespace: Option<&str>,
    options: &ListOptions,
    name: Option<&str>,
) -> Outcome<Response<Body>> {
    let accept = call.accept()?;
    let include = Include::parse(call.query.text("includeObject"))?;
    let selection = Selection::parse(kind, options, name)?;
    let page = page(call, kind, namespace, options, &selection).await?;
    let form = Form::new(kind.clone(), accept, include);
    let metadata = page.metadata();
    let chosen = Chosen::new(&call.inner, kind, page.scan, &selection).await?;
    match accept.encoding {
        Encoding::Json => {
            let (head, tail) = form.around(&metadata);
            let items = Items {
                source: Source::Chosen(chosen, form),
                head: Some(head),
                tail: Bytes::from_static(tail),
                comma: true,
                at: 0,
            };
            send(call, accept.encoding, items).await
        }
        Encoding::Protobuf => {
            // The lengths come first on the wire: everything is encoded before anything is sent.
            let items = tokio::task::spawn_blocking(move || -> Outcome<Items> {
                let mut encoded = Vec::with_capacity(chosen.len());
                for at in 0..chosen.len() {
                    let object = chosen.object(at)?;
                    encoded.push(form.item(&object)?);
                }
                let frame = form::proto_list(&form, &metadata, &encoded)?;
                Ok(Items {
                    source: Source::Made(encoded),
                    head: Some(frame.head.into()),
                    tail: frame.tail.into(),
                    comma: false,
                    at: 0,
                })
            });
            let items = items.await.map_err(internal)??;
            send(call, accept.encoding, items).await
        }
        Encoding::Yaml => {
            let whole = tokio::task::spawn_blocking(move || -> Outcome<Bytes> {
                let values = (0..chosen.len())
                    .map(|at| {
                        let object = chosen.object(at)?;
                        form.value(&object)
                    })
                    .collect::<Outcome<Vec<Value>>>()?;
                crate::encoding::encode_value(&form.list(&metadata, &values), Encoding::Yaml)
            });
            let whole = whole.await.map_err(internal)??;
            respond::compressed(call, StatusCode::OK, accept.encoding, whole).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_comes_back_as_it_was_and_nonsense_is_refused() {
        let token = Token::decode(&Token::encode(7, "default/web", Some(3))).unwrap();
        assert_eq!(
            (token.rv, token.start.as_str(), token.left),
            (7, "default/web", Some(3))
        );
        let zero = Token::encode(0, "default/web", None);
        let other = URL_SAFE_NO_PAD.encode(r#"{"v":"v2","rv":1,"start":"a"}"#);
        for text in ["", "abc", "e30", "!!", &zero, &other] {
            let refused = Token::decode(text).err().unwrap();
            assert_eq!(refused.code, 400, "{text}");
            assert!(refused.message.contains("continue key is not valid"));
        }
    }
}
