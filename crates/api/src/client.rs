//! The server in process: a service, and a `kube::Client` over it.

use crate::api::Api;
use crate::body::{Body, BodyError};
use crate::identity::User;
use crate::service::respond_to;
use futures::future::BoxFuture;
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, Response};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The server as a tower service.
#[derive(Clone)]
pub struct ApiService {
    api: Api,
    user: Option<Arc<User>>,
}

impl Api {
    /// The server as a service. Requests are those of whoever their headers and extensions prove.
    pub fn service(&self) -> ApiService {
        ApiService {
            api: self.clone(),
            user: None,
        }
    }

    /// A client over the server in this process: no socket, no TLS. Its requests are `user`'s.
    pub fn client(&self, user: User) -> kube::Client {
        let service = ApiService {
            api: self.clone(),
            user: Some(Arc::new(user)),
        };
        kube::Client::new(service, "default")
    }
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = self.api.inner.clone();
        let user = self.user.clone();
        // The client has one worker that calls: everything is done in the future.
        Box::pin(async move {
            let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            if let Some(user) = user {
                name_itself(&mut request, &user);
                request.extensions_mut().insert(user);
            }
            Ok(respond_to(inner, request).await)
        })
    }
}

/// A client in this process says who it is as others do: a reconciler by its account's name.
fn name_itself(request: &mut Request<Body>, user: &User) {
    if request.headers().contains_key(USER_AGENT) {
        return;
    }
    let name = user
        .name
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.rsplit(':').next())
        .unwrap_or("consort");
    if let Ok(value) = HeaderValue::from_str(name) {
        request.headers_mut().insert(USER_AGENT, value);
    }
}
