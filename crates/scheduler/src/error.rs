//! What can go wrong while a placement is carried out.

/// Why a pod that was placed could not be bound, or its state not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binding was refused or did not arrive.
    #[error("binding pod {pod} to node {node}")]
    Bind {
        /// The pod, as `namespace/name`.
        pod: String,
        /// The node.
        node: String,
        /// The cause.
        source: kube::Error,
    },
    /// The condition `PodScheduled` could not be written.
    #[error("writing why pod {pod} is not placed")]
    Condition {
        /// The pod, as `namespace/name`.
        pod: String,
        /// The cause.
        source: kube::Error,
    },
}
