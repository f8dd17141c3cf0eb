//! Probing by opening a connection.

use std::time::Duration;

use tokio::net::TcpStream;

use super::Answer;

pub(super) async fn ask(host: &str, port: u16, timeout: Duration) -> Answer {
    let shown = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Answer::Success,
        Ok(Err(error)) => Answer::Failure(format!("dial tcp {shown}: {}", reason(&error))),
        Err(_) => Answer::Failure(format!("dial tcp {shown}: i/o timeout")),
    }
}

/// The system's words without the number that the standard library adds.
pub(super) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text
        .split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_lowercase();
    if error.raw_os_error().is_some() {
        format!("connect: {text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_port_is_well_and_a_closed_one_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let second = Duration::from_secs(1);
        assert_eq!(ask("127.0.0.1", port, second).await, Answer::Success);
        drop(listener);
        assert_eq!(
            ask("127.0.0.1", port, second).await,
            Answer::Failure(format!(
                "dial tcp 127.0.0.1:{port}: connect: connection refused"
            ))
        );
    }
}
