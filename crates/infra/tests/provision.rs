//! Provisioners beside OpenSSH's own server, on loopback.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use consort_hcl::{Type, Value};
use consort_infra::engine::{Provision, Provisioners as _};
use consort_infra::provisioner::Builtin;
use tokio_util::sync::CancellationToken;

/// A server of its own, with a host key of its own.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path, kind: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-t", kind, "-f"])
        .arg(path)
        .status();
    assert!(made.is_ok_and(|status| status.success()));
}

fn server(directory: &Path, name: &str, kind: &str) -> Server {
    // Where the server keeps what must not be root's; the package makes it when its service starts.
    std::fs::create_dir_all("/run/sshd").unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let host_key = directory.join(name);
    keygen(&host_key, kind);
    let config = directory.join(format!("{name}.conf"));
    let mut file = std::fs::File::create(&config).unwrap();
    write!(
        file,
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\n\
         PermitRootLogin yes\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
        host_key.display(),
        directory.join("authorized").display()
    )
    .unwrap();
    let child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .expect("sshd is installed by `cargo xtask setup`");
    let server = Server { child, port };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "sshd does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    server
}

async fn provision(
    kind: &str,
    config: Vec<(&str, Value)>,
    connection: &[(&str, Value)],
) -> (Result<(), String>, Vec<String>) {
    let said = Mutex::new(Vec::new());
    let output = |line: &str| said.lock().unwrap().push(line.to_owned());
    let cancel = CancellationToken::new();
    let done = Builtin
        .run(Provision {
            directory: None,
            kind,
            config: Value::object(config),
            connection: Value::object(connection.iter().cloned()),
            hidden: false,
            output: &output,
            cancel: &cancel,
        })
        .await;
    (done, said.into_inner().unwrap())
}

fn text(path: &Path) -> Value {
    Value::string(std::fs::read_to_string(path).unwrap())
}

#[tokio::test]
async fn scripts_and_files_reach_a_machine_through_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (name, kind) in [("rsa", "rsa"), ("ecdsa", "ecdsa")] {
        keygen(&root.join(name), kind);
    }
    let public = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let keys = format!("{}{}", public("rsa.pub"), public("ecdsa.pub"));
    std::fs::write(root.join("authorized"), keys).unwrap();
    let bastion = server(root, "bastion", "ed25519");
    let machine = server(root, "machine", "ecdsa");
    let port = |server: &Server| Value::number(i64::from(server.port));
    let connection = vec![
        ("host", Value::string("127.0.0.1")),
        ("port", port(&machine)),
        ("private_key", text(&root.join("rsa"))),
        ("host_key", text(&root.join("machine.pub"))),
        ("agent", Value::bool(false)),
        ("bastion_host", Value::string("127.0.0.1")),
        ("bastion_port", port(&bastion)),
        ("bastion_private_key", text(&root.join("ecdsa"))),
        ("bastion_host_key", text(&root.join("bastion.pub"))),
    ];

    let source = root.join("source");
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    std::fs::write(source.join("deep/er/big"), vec![7; 300_000]).unwrap();
    std::fs::write(source.join("empty"), "").unwrap();
    let target = root.join("target");
    std::fs::create_dir(&target).unwrap();
    for (slash, below) in [("", "source/"), ("/", "")] {
        let config = vec![
            (
                "source",
                Value::string(format!("{}{slash}", source.display())),
            ),
            ("destination", Value::string(target.display().to_string())),
        ];
        let (done, _) = provision("file", config, &connection).await;
        assert_eq!(done, Ok(()));
        let copy = target.join(format!("{below}deep/er/big"));
        assert_eq!(std::fs::read(copy).unwrap(), vec![7; 300_000]);
        assert_eq!(
            std::fs::read(target.join(format!("{below}empty"))).unwrap(),
            b""
        );
    }

    let lines = ["echo one; printf 'two\\r\\n'", "printf three", "exit 3"];
    let inline = lines.iter().map(Value::string).collect();
    let config = vec![("inline", Value::list(Type::String, inline))];
    let (done, said) = provision("remote-exec", config, &connection).await;
    assert_eq!(
        said.last_chunk(),
        Some(&["one", "two", "three"].map(str::to_owned))
    );
    assert!(said.iter().any(|line| line == "Connected!"), "{said:?}");
    let failed = done.unwrap_err();
    assert!(
        failed.starts_with("error executing \"/tmp/terraform_")
            && failed.ends_with(".sh\": Process exited with status 3"),
        "{failed}"
    );

    // Another machine than the one that is meant.
    let wrong = connection
        .iter()
        .filter(|(name, _)| *name != "host_key")
        .cloned()
        .chain([
            ("host_key", text(&root.join("bastion.pub"))),
            ("timeout", Value::string("1s")),
        ])
        .collect::<Vec<_>>();
    let config = vec![
        ("content", Value::string("x")),
        (
            "destination",
            Value::string(target.join("x").display().to_string()),
        ),
    ];
    let (done, _) = provision("file", config, &wrong).await;
    let failed = done.unwrap_err();
    assert!(
        failed.starts_with("timeout - last error: SSH authentication failed (root@127.0.0.1:"),
        "{failed}"
    );
    assert!(!target.join("x").exists());
}

#[tokio::test]
async fn a_command_on_this_machine_says_its_lines_in_order_and_why_it_failed() {
    let command = "echo out; echo err >&2; echo more; exit 7";
    let config = vec![("command", Value::string(command))];
    let (done, said) = provision("local-exec", config, &[]).await;
    assert_eq!(
        said,
        [
            "Executing: [\"/bin/sh\" \"-c\" \"echo out; echo err >&2; echo more; exit 7\"]",
            "out",
            "err",
            "more"
        ]
    );
    assert_eq!(
        done.unwrap_err(),
        format!("Error running command '{command}': exit status 7. Output: out\nerr\nmore\n")
    );
}
