//! Visiting every node of a graph when what it depends on is done.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::graph::{Graph, NodeId};

/// How a walk is run.
#[derive(Clone, Debug)]
pub struct WalkOptions {
    /// How many nodes are visited at once. At least one.
    pub parallelism: usize,
    /// How long one visit may take before it counts as failed by [`Ended::TimedOut`]; the visit's future is
    /// dropped then. None waits for ever.
    pub step_deadline: Option<Duration>,
    /// When cancelled, no further node is started; those under way are waited for.
    pub cancel: CancellationToken,
}

impl Default for WalkOptions {
    fn default() -> Self {
        WalkOptions {
            parallelism: 10,
            step_deadline: None,
            cancel: CancellationToken::new(),
        }
    }
}

/// What a visit of a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<E> {
    /// The node is done; its dependents may go.
    Done,
    /// The node failed; its dependents are skipped.
    Failed(E),
}

/// How it ended for one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended<E> {
    /// Visited, and done.
    Done,
    /// Visited, and failed.
    Failed(E),
    /// The visit took longer than the deadline for a step.
    TimedOut,
    /// Not visited: this node that it depends on, directly or not, did not get done.
    Skipped(NodeId),
    /// Not visited: the walk was cancelled before its turn.
    Cancelled,
}

/// How a walk ended, by node.
#[derive(Clone, Debug)]
pub struct Report<E> {
    /// One entry a node, by [`NodeId::index`].
    pub ended: Vec<Ended<E>>,
}

impl<E> Report<E> {
    /// Whether every node is done.
    pub fn is_complete(&self) -> bool {
        self.ended.iter().all(|ended| matches!(ended, Ended::Done))
    }
}

/// Visits each node of `graph` once, after all it depends on are done. Among nodes that are free to go, the one
/// that came free first goes first.
///
/// The visits are polled by the caller's task: evaluation costs no hand-over, and everything ends when the
/// returned future is dropped. The nodes of a cycle are never visited (check the graph first); they end as
/// [`Ended::Cancelled`].
///
/// Cost beside the visits: one pass over nodes and edges.
pub async fn walk<N, E, V, F>(graph: &Graph<N>, options: &WalkOptions, mut visit: V) -> Report<E>
where
    V: FnMut(NodeId) -> F,
    F: Future<Output = Outcome<E>>,
{
    let count = graph.len();
    let mut ended: Vec<Option<Ended<E>>> = (0..count).map(|_| None).collect();
    let mut waiting: Vec<u32> = Vec::with_capacity(count);
    let mut blamed: Vec<Option<NodeId>> = vec![None; count];
    let mut free = VecDeque::new();
    for (id, _) in graph.iter() {
        let dependencies = graph.dependencies(id).len() as u32;
        waiting.push(dependencies);
        if dependencies == 0 {
            free.push_back(id);
        }
    }
    let parallelism = options.parallelism.max(1);
    let mut under_way = FuturesUnordered::new();
    let mut cancelled = options.cancel.is_cancelled();
    loop {
        while under_way.len() < parallelism
            && !cancelled
            && let Some(id) = free.pop_front()
        {
            if let Some(cause) = blamed[id.index()] {
                settle(
                    graph,
                    id,
                    Ended::Skipped(cause),
                    &mut ended,
                    &mut waiting,
                    &mut blamed,
                    &mut free,
                );
                continue;
            }
            let work = visit(id);
            under_way.push(async move {
                let outcome = match options.step_deadline {
                    None => Some(work.await),
                    Some(deadline) => tokio::time::timeout(deadline, work).await.ok(),
                };
                (id, outcome)
            });
        }
        let finished = if cancelled || free.is_empty() && under_way.is_empty() {
            under_way.next().await
        } else {
            tokio::select! {
                biased;
                finished = under_way.next() => finished,
                () = options.cancel.cancelled() => {
                    cancelled = true;
                    continue;
                }
            }
        };
        let Some((id, outcome)) = finished else { break };
        let end = match outcome {
            Some(Outcome::Done) => Ended::Done,
            Some(Outcome::Failed(error)) => Ended::Failed(error),
            None => Ended::TimedOut,
        };
        settle(
            graph,
            id,
            end,
            &mut ended,
            &mut waiting,
            &mut blamed,
            &mut free,
        );
        cancelled = cancelled || options.cancel.is_cancelled();
    }
    Report {
        ended: ended
            .into_iter()
            .map(|end| end.unwrap_or(Ended::Cancelled))
            .collect(),
    }
}

fn settle<N, E>(
    graph: &Graph<N>,
    id: NodeId,
    end: Ended<E>,
    ended: &mut [Option<Ended<E>>],
    waiting: &mut [u32],
    blamed: &mut [Option<NodeId>],
    free: &mut VecDeque<NodeId>,
) {
    let blame = match &end {
        Ended::Done => None,
        Ended::Skipped(cause) => Some(*cause),
        Ended::Failed(_) | Ended::TimedOut | Ended::Cancelled => Some(id),
    };
    ended[id.index()] = Some(end);
    for dependent in graph.dependents(id) {
        let at = dependent.index();
        if blamed[at].is_none() {
            blamed[at] = blame;
        }
        waiting[at] = waiting[at].saturating_sub(1);
        if waiting[at] == 0 {
            free.push_back(*dependent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Edge;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_failed_step_stops_only_its_dependents() {
        let mut graph = Graph::new();
        let (a, b, c, d) = (
            graph.add("a"),
            graph.add("b"),
            graph.add("c"),
            graph.add("d"),
        );
        graph.connect(b, a, Edge::Value);
        graph.connect(c, b, Edge::Value);
        let report = walk(&graph, &WalkOptions::default(), |id| async move {
            if id == a {
                Outcome::Failed("broken")
            } else {
                Outcome::Done
            }
        })
        .await;
        assert_eq!(report.ended[a.index()], Ended::Failed("broken"));
        assert_eq!(report.ended[b.index()], Ended::Skipped(a));
        assert_eq!(report.ended[c.index()], Ended::Skipped(a));
        assert_eq!(report.ended[d.index()], Ended::Done);
    }

    #[tokio::test]
    async fn no_more_steps_run_at_once_than_the_limit_and_the_limit_is_reached() {
        let mut graph = Graph::new();
        for n in 0..50 {
            graph.add(n);
        }
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let options = WalkOptions {
            parallelism: 7,
            ..WalkOptions::default()
        };
        let report = walk(&graph, &options, |_| async {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Outcome::<()>::Done
        })
        .await;
        assert!(report.is_complete());
        assert_eq!(most.load(Ordering::SeqCst), 7);
    }

    #[tokio::test]
    async fn a_cancelled_walk_waits_for_what_is_under_way_and_starts_nothing_more() {
        let mut graph = Graph::new();
        let (a, b) = (graph.add("a"), graph.add("b"));
        graph.connect(b, a, Edge::Value);
        let options = WalkOptions::default();
        let cancel = options.cancel.clone();
        let finished = Mutex::new(Vec::new());
        let report = walk(&graph, &options, |id| {
            let (cancel, finished) = (cancel.clone(), &finished);
            async move {
                cancel.cancel();
                tokio::task::yield_now().await;
                finished.lock().unwrap().push(id);
                Outcome::<()>::Done
            }
        })
        .await;
        assert_eq!(*finished.lock().unwrap(), [a]);
        assert_eq!(report.ended[b.index()], Ended::Cancelled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_past_its_deadline_fails_and_frees_its_place() {
        let mut graph = Graph::new();
        let (slow, after, other) = (graph.add("slow"), graph.add("after"), graph.add("other"));
        graph.connect(after, slow, Edge::Order);
        let options = WalkOptions {
            parallelism: 1,
            step_deadline: Some(Duration::from_secs(5)),
            ..WalkOptions::default()
        };
        let report = walk(&graph, &options, |id| async move {
            if id == slow {
                std::future::pending::<()>().await;
            }
            Outcome::<()>::Done
        })
        .await;
        assert_eq!(report.ended[slow.index()], Ended::TimedOut);
        assert_eq!(report.ended[after.index()], Ended::Skipped(slow));
        assert_eq!(report.ended[other.index()], Ended::Done);
    }
}
