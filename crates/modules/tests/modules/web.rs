//! What is fetched from servers, which are here.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use serde_json::json;

use super::run;

/// Answers so many requests, each by what is made of its head; gives the heads.
fn serve(
    listener: TcpListener,
    requests: usize,
    answer: impl Fn(&str) -> String + Send + 'static,
) -> JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut heads = Vec::new();
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            stream.write_all(answer(&head).as_bytes()).unwrap();
            heads.push(head);
        }
        heads
    })
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn a_password_is_told_to_the_server_it_is_for_and_to_nobody_it_leads_to() {
    const WANTS: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
    let (other, there) = listen();
    let (own, here) = listen();
    let other = serve(other, 1, |_| WANTS.to_owned());
    let own = serve(own, 2, move |head| {
        if head.contains("Authorization: Basic dTpw") {
            format!(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{there}/\r\nContent-Length: 0\r\n\r\n"
            )
        } else {
            WANTS.to_owned()
        }
    });
    let told = run(
        "uri",
        json!({
            "url": format!("http://127.0.0.1:{here}/"),
            "url_username": "u",
            "url_password": "p",
            "follow_redirects": "all",
            "use_proxy": false,
        }),
    );
    assert_eq!(told["status"], 401, "{told}");
    let heads = own.join().unwrap();
    assert!(heads[1].contains("Authorization: Basic dTpw"), "{heads:?}");
    let heads = other.join().unwrap();
    assert!(!heads[0].contains("Authorization"), "{heads:?}");
}
