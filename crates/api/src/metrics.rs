//! Counters of the server, in Prometheus' text form.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// What distinguishes one counter from another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    /// The request's verb.
    pub verb: &'static str,
    /// The resource, empty for paths.
    pub resource: String,
    /// The answer's code.
    pub code: u16,
}

#[derive(Default)]
struct Series {
    count: AtomicU64,
    micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len()],
}

/// The server's counters.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Label, Arc<Series>>>,
    watches: Mutex<BTreeMap<String, Arc<AtomicI64>>>,
    watching: Arc<AtomicI64>,
}

/// A watch that is open; it is counted until this is dropped.
pub(crate) struct Open {
    of_resource: Arc<AtomicI64>,
    of_all: Arc<AtomicI64>,
}

impl Open {
    /// How many watches are open, of any resource.
    pub(crate) fn all(&self) -> u32 {
        u32::try_from(self.of_all.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.of_resource.fetch_sub(1, Ordering::Relaxed);
        self.of_all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Count an answered request.
    pub(crate) fn answered(&self, label: Label, took: Duration) {
        let series = self.requests.lock().entry(label).or_default().clone();
        series.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        series.micros.fetch_add(micros, Ordering::Relaxed);
        let seconds = took.as_secs_f64();
        if let Some(at) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            series.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Count a watch while it is open.
    pub(crate) fn watch_opened(&self, resource: &str) -> Open {
        let mut watches = self.watches.lock();
        let count = match watches.get(resource) {
            Some(count) => count.clone(),
            None => watches.entry(resource.to_owned()).or_default().clone(),
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.watching.fetch_add(1, Ordering::Relaxed);
        Open {
            of_resource: count,
            of_all: Arc::clone(&self.watching),
        }
    }

    /// Everything, in Prometheus' text form.
    pub(crate) fn text(&self, revision: u64) -> String {
        let mut out = String::new();
        out.push_str("# HELP apiserver_request_total Requests answered, by verb, resource and code.\n# TYPE apiserver_request_total counter\n");
        let requests: Vec<(Label, Arc<Series>)> = self
            .requests
            .lock()
            .iter()
            .map(|(label, series)| (label.clone(), series.clone()))
            .collect();
        for (label, series) in &requests {
            let count = series.count.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "apiserver_request_total{{verb=\"{}\",resource=\"{}\",code=\"{}\"}} {count}",
                label.verb, label.resource, label.code
            );
        }
        out.push_str("# HELP apiserver_request_duration_seconds How long requests took.\n# TYPE apiserver_request_duration_seconds histogram\n");
        for (label, series) in &requests {
            let name = format!(
                "verb=\"{}\",resource=\"{}\",code=\"{}\"",
                label.verb, label.resource, label.code
            );
            let mut sum = 0;
            for (bound, bucket) in BUCKETS.iter().zip(&series.buckets) {
                sum += bucket.load(Ordering::Relaxed);
                let _ = writeln!(
                    out,
                    "apiserver_request_duration_seconds_bucket{{{name},le=\"{bound}\"}} {sum}"
                );
            }
            let count = series.count.load(Ordering::Relaxed);
            let seconds = series.micros.load(Ordering::Relaxed) as f64 / 1e6;
            let _ = writeln!(
                out,
                "apiserver_request_duration_seconds_bucket{{{name},le=\"+Inf\"}} {count}\napiserver_request_duration_seconds_sum{{{name}}} {seconds}\napiserver_request_duration_seconds_count{{{name}}} {count}"
            );
        }
        out.push_str("# HELP apiserver_longrunning_requests Watches that are open.\n# TYPE apiserver_longrunning_requests gauge\n");
        for (resource, count) in self.watches.lock().iter() {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "apiserver_longrunning_requests{{verb=\"WATCH\",resource=\"{resource}\"}} {count}"
            );
        }
        let _ = writeln!(
            out,
            "# HELP consort_store_revision The store's present revision.\n# TYPE consort_store_revision gauge\nconsort_store_revision {revision}"
        );
        let lost = crate::audit::lost_events();
        let _ = writeln!(
            out,
            "# HELP apiserver_audit_error_total Audit events that could not be recorded.\n# TYPE apiserver_audit_error_total counter\napiserver_audit_error_total {lost}"
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_watches_are_counted_until_they_end() {
        let metrics = Metrics::default();
        let open = metrics.watch_opened("pods");
        let line = "apiserver_longrunning_requests{verb=\"WATCH\",resource=\"pods\"}";
        assert!(metrics.text(1).contains(&format!("{line} 1")));
        drop(open);
        assert!(metrics.text(1).contains(&format!("{line} 0")));
    }
}
