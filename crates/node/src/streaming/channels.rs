//! The channel protocols of remote commands over WebSocket, as the API server's `wsstream` and
//! `remotecommand` packages define them: each message starts with the number of its channel.
//!
//! | protocol | differs in |
//! |---|---|
//! | `v5.channel.k8s.io` | the client can close a channel with the message `[255, channel]` |
//! | `v4.channel.k8s.io` | the end is a `Status` on the error channel |
//! | `channel.k8s.io`, none | the end is text on the error channel, only if it failed |

use http::HeaderMap;
use http::header::SEC_WEBSOCKET_PROTOCOL;

/// The channel of the process's input.
pub(super) const STDIN: u8 = 0;
/// The channel of its output.
pub(super) const STDOUT: u8 = 1;
/// The channel of its error output.
pub(super) const STDERR: u8 = 2;
/// The channel that tells how it ended.
pub(super) const ERROR: u8 = 3;
/// The channel of terminal sizes, as JSON `{"Width":80,"Height":24}`.
pub(super) const RESIZE: u8 = 4;
/// Closes the channel that the next byte names (from v5 on).
pub(super) const CLOSE: u8 = 255;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V5,
    V4,
    V1,
}

impl Version {
    /// What the process's end is told as.
    pub(super) fn tells_status(self) -> bool {
        self != Self::V1
    }

    /// The name in the handshake; the oldest may go unnamed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V5 => "v5.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
            Self::V1 => "channel.k8s.io",
        }
    }
}

/// The first protocol a client offers that is in `known`, in the client's order.
pub(super) fn offered<'a>(headers: &HeaderMap, known: &[&'a str]) -> Option<&'a str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let names = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','));
    names
        .map(str::trim)
        .find_map(|name| known.iter().find(|own| **own == name).copied())
}

/// Picks the version of a handshake; `Err` names what was offered if none of it is known.
pub(super) fn negotiate(headers: &HeaderMap) -> Result<(Version, Option<&'static str>), String> {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok((Version::V1, None));
    }
    for version in [Version::V5, Version::V4, Version::V1] {
        if offered(headers, &[version.name()]).is_some() {
            return Ok((version, Some(version.name())));
        }
    }
    let all: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    Err(all.join(", "))
}

/// A size from the resize channel.
pub(super) fn parse_size(text: &[u8]) -> Option<(u16, u16)> {
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    let number = |key: &str| u16::try_from(value.get(key)?.as_u64()?).ok();
    Some((number("Width")?, number("Height")?))
}

/// The `Status` that tells how a process ended.
pub(super) fn status(outcome: &Result<i32, String>) -> serde_json::Value {
    match outcome {
        Ok(0) => serde_json::json!({"metadata": {}, "status": "Success"}),
        Ok(code) => serde_json::json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(message) => serde_json::json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: {message}"),
            "details": {"causes": [{"message": message}]},
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, http::HeaderValue::from_static(text));
        headers
    }

    #[test]
    fn the_newest_known_protocol_is_spoken() {
        let (version, name) = negotiate(&headers("v4.channel.k8s.io, v5.channel.k8s.io")).unwrap();
        assert_eq!((version, name), (Version::V5, Some("v5.channel.k8s.io")));
        assert_eq!(negotiate(&HeaderMap::new()).unwrap(), (Version::V1, None));
        assert!(negotiate(&headers("v9.channel.k8s.io")).is_err());
    }

    #[test]
    fn an_exit_code_is_told_where_clients_look_for_it() {
        let status = status(&Ok(42));
        assert_eq!(status["details"]["causes"][0]["reason"], "ExitCode");
        assert_eq!(status["details"]["causes"][0]["message"], "42");
        assert_eq!(parse_size(br#"{"Width":80,"Height":24}"#), Some((80, 24)));
        assert_eq!(parse_size(b"x"), None);
    }
}
