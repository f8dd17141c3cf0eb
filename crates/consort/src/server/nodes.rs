//! The way from the API to the agents of nodes. There is one, in this process.

use std::sync::Arc;

use consort_api::{Body, ConnectError, NodeConnector};
use consort_node::streaming::Streaming;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};

/// Reaches this machine's own agent by a call.
pub(super) struct Local {
    /// The node's name.
    pub(super) name: String,
    /// Its agent.
    pub(super) streaming: Streaming,
}

impl NodeConnector for Local {
    fn send(
        &self,
        node: &str,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, ConnectError>> {
        if node != self.name {
            let error = ConnectError::Unknown(node.to_owned());
            return std::future::ready(Err(error)).boxed();
        }
        let streaming = self.streaming.clone();
        async move { Ok(streaming.handle(request).await) }.boxed()
    }
}

impl Local {
    /// As the API holds it.
    pub(super) fn shared(self) -> Arc<dyn NodeConnector> {
        Arc::new(self)
    }
}
