//! How long requests are kept: an hour once they are decided, a day while they wait.

use super::{has, is_signed};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use x509_parser::pem::parse_x509_pem;

const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const WAITING: SignedDuration = SignedDuration::from_hours(24);

/// How much longer a request is kept.
#[derive(Debug, PartialEq)]
pub(super) enum Left {
    /// It goes now.
    Over,
    /// This long.
    Wait(Duration),
}

pub(super) fn left(request: &CertificateSigningRequest, now: Timestamp) -> Left {
    let end = end(request);
    let end = match expiry(request) {
        Some(expiry) => end.min(expiry),
        None => end,
    };
    match Duration::try_from(end.duration_since(now)) {
        Ok(left) if !left.is_zero() => Left::Wait(left),
        _ => Left::Over,
    }
}

fn end(request: &CertificateSigningRequest) -> Timestamp {
    let since = |kind: &str| {
        let conditions = request.status.iter().flat_map(|status| &status.conditions);
        conditions
            .flatten()
            .filter(|condition| condition.type_ == kind)
            .find_map(|condition| condition.last_update_time.as_ref())
            .map(|time| time.0)
    };
    let created = request.metadata.creation_timestamp.as_ref();
    let created = created.map_or(Timestamp::MAX - WAITING, |time| time.0);
    let decided = if has(request, "Denied") {
        since("Denied").or(Some(created))
    } else if has(request, "Failed") {
        since("Failed").or(Some(created))
    } else if is_signed(request) {
        since("Approved").or(Some(created))
    } else {
        None
    };
    match decided {
        Some(decided) => decided + DECIDED,
        // Waiting for approval, or for a signer that is not ours.
        None => since("Approved").unwrap_or(created) + WAITING,
    }
}

/// When the certificate that was signed ends.
fn expiry(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let pem = request.status.as_ref()?.certificate.as_ref()?;
    let (_, block) = parse_x509_pem(&pem.0).ok()?;
    let certificate = block.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decided_requests_go_after_an_hour_and_waiting_ones_after_a_day() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let ask = |created: &str, kind: Option<&str>, at: &str| {
            let conditions: Vec<_> = kind
                .iter()
                .map(|kind| json!({"type": kind, "status": "True", "lastUpdateTime": at}))
                .collect();
            let request: CertificateSigningRequest = serde_json::from_value(json!({
                "metadata": {"creationTimestamp": created},
                "spec": {"request": "", "signerName": "a/b"},
                "status": {"conditions": conditions},
            }))
            .unwrap();
            left(&request, now)
        };
        let (long, lately) = ("2026-01-01T01:00:00Z", "2026-01-01T23:30:00Z");
        assert_eq!(ask(long, None, long), Left::Wait(Duration::from_secs(3600)));
        assert_eq!(ask("2025-12-31T23:00:00Z", None, long), Left::Over);
        assert_eq!(ask(long, Some("Denied"), long), Left::Over);
        assert_eq!(
            ask(long, Some("Failed"), lately),
            Left::Wait(Duration::from_secs(1800))
        );
        assert_eq!(
            ask(long, Some("Approved"), long),
            Left::Wait(Duration::from_secs(3600))
        );
    }
}
