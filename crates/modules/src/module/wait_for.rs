//! `wait_for`: until a port, a file or a connection is as it is wanted.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::arguments::{Arguments, Kind, Spec, integer, list, path, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::names;
use crate::python;
use crate::python_re::{BytesPattern, Flags};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "wait_for",
    act,
};

const STATES: [(&str, &str); 6] = [
    ("ESTABLISHED", "01"),
    ("SYN_SENT", "02"),
    ("SYN_RECV", "03"),
    ("FIN_WAIT1", "04"),
    ("FIN_WAIT2", "05"),
    ("TIME_WAIT", "06"),
];

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("host", text().default("127.0.0.1"))
        .with("timeout", integer().default(300))
        .with("connect_timeout", integer().default(5))
        .with("delay", integer().default(0))
        .with("port", integer())
        .with(
            "active_connection_states",
            list(Kind::Text).default(json!([
                "ESTABLISHED",
                "FIN_WAIT1",
                "FIN_WAIT2",
                "SYN_RECV",
                "SYN_SENT",
                "TIME_WAIT"
            ])),
        )
        .with("path", path())
        .with("search_regex", text())
        .with(
            "state",
            text()
                .default("started")
                .choices(&["absent", "drained", "present", "started", "stopped"]),
        )
        .with("exclude_hosts", list(Kind::Text))
        .with("sleep", integer().default(1))
        .with("msg", text())
});

fn seconds(arguments: &Arguments, name: &str) -> Duration {
    Duration::from_secs(arguments.integer(name).unwrap_or(0).max(0).unsigned_abs())
}

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let pattern = match arguments.text("search_regex") {
        None => None,
        Some(expression) => Some(
            BytesPattern::with(
                expression,
                Flags {
                    multi_line: true,
                    ..Flags::default()
                },
            )
            .map_err(|error| Failure::new(format!("Invalid regular expression: {error}")))?,
        ),
    };
    refuse(&arguments)?;
    let wait = Wait {
        arguments: &arguments,
        pattern,
        begin: Instant::now(),
        host: arguments.required("host"),
        port: arguments.integer("port").filter(|port| *port != 0),
        path: arguments.filled("path"),
    };
    wait.sleep(context, seconds(&arguments, "delay"))?;
    let state = arguments.required("state");
    let found = if wait.port.is_none() && wait.path.is_none() && state != "drained" {
        wait.sleep(context, seconds(&arguments, "timeout"))?;
        Found::default()
    } else {
        match state {
            "absent" | "stopped" => wait.stopped(context),
            "drained" => wait.drained(context),
            _ => wait.started(context),
        }?
    };
    Ok(Report::from_iter([
        ("state".to_owned(), json!(state)),
        ("port".to_owned(), arguments.get("port").clone()),
        (
            "search_regex".to_owned(),
            arguments.get("search_regex").clone(),
        ),
        ("match_groups".to_owned(), found.groups.into()),
        ("match_groupdict".to_owned(), found.names.into()),
        ("path".to_owned(), arguments.get("path").clone()),
        ("elapsed".to_owned(), wait.begin.elapsed().as_secs().into()),
    ]))
}

/// Refuses what does not go together.
fn refuse(arguments: &Arguments) -> Result<(), Failure> {
    let port = arguments.integer("port").is_some_and(|port| port != 0);
    let path = arguments.filled("path").is_some();
    let state = arguments.required("state");
    let wrong = if port && path {
        Some("port and path parameter can not both be passed to wait_for".to_owned())
    } else if path && matches!(state, "stopped" | "drained") {
        Some(format!(
            "state={state} should only be used for checking a port in the wait_for module"
        ))
    } else if arguments.has("exclude_hosts") && state != "drained" {
        Some("exclude_hosts should only be with state=drained".to_owned())
    } else {
        arguments
            .texts("active_connection_states")
            .into_iter()
            .find(|state| !STATES.iter().any(|(known, _)| known == state))
            .map(|state| format!("unknown active_connection_state ({state}) defined"))
    };
    wrong.map_or(Ok(()), |message| {
        Err(Failure::new(message).with("elapsed", 0))
    })
}

/// What a search found.
#[derive(Default)]
struct Found {
    groups: Vec<Value>,
    names: Map<String, Value>,
}

struct Wait<'a> {
    arguments: &'a Arguments,
    pattern: Option<BytesPattern>,
    begin: Instant,
    host: &'a str,
    port: Option<i64>,
    path: Option<&'a str>,
}

impl Wait<'_> {
    /// Waits, unless the run is ended meanwhile.
    fn sleep(&self, context: &Context<'_>, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        loop {
            if context
                .cancel
                .as_ref()
                .is_some_and(crate::process::Cancel::is_cancelled)
            {
                return Err(self.failure("cancelled".to_owned()));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(200)));
        }
    }

    /// The time that is left, if any is.
    fn left(&self) -> Option<Duration> {
        seconds(self.arguments, "timeout")
            .checked_sub(self.begin.elapsed())
            .filter(|left| !left.is_zero())
    }

    fn failure(&self, usual: String) -> Failure {
        Failure::new(self.arguments.filled("msg").map_or(usual, str::to_owned))
            .with("elapsed", self.begin.elapsed().as_secs())
    }

    fn connect(&self, port: i64) -> std::io::Result<TcpStream> {
        let port = u16::try_from(port)
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        let patience = seconds(self.arguments, "connect_timeout")
            .min(self.left().unwrap_or(Duration::from_secs(1)))
            .max(Duration::from_millis(1));
        let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
        for address in names::addresses(self.host, port)? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn stopped(&self, context: &Context<'_>) -> Result<Found, Failure> {
        while self.left().is_some() {
            let gone = match (self.path, self.port) {
                (Some(path), _) => !context.path(path).exists(),
                (None, Some(port)) => match self.connect(port) {
                    // A connection that cannot be shut down is as good as none.
                    Ok(stream) => stream.shutdown(Shutdown::Both).is_err(),
                    Err(_) => true,
                },
                (None, None) => false,
            };
            if gone {
                return Ok(Found::default());
            }
            self.sleep(context, seconds(self.arguments, "sleep"))?;
        }
        Err(self.failure(match (self.port, self.path) {
            (Some(port), _) => {
                format!("Timeout when waiting for {}:{port} to stop.", self.host)
            }
            (None, path) => format!(
                "Timeout when waiting for {} to be absent.",
                path.unwrap_or("")
            ),
        }))
    }

    fn started(&self, context: &Context<'_>) -> Result<Found, Failure> {
        while self.left().is_some() {
            let found = match (self.path, self.port) {
                (Some(path), _) => self.in_file(context, path)?,
                (None, Some(port)) => self.at_port(context, port),
                (None, None) => None,
            };
            if let Some(found) = found {
                return Ok(found);
            }
            self.sleep(context, seconds(self.arguments, "sleep"))?;
        }
        let (host, search) = (self.host, self.arguments.filled("search_regex"));
        Err(self.failure(match (self.port, search, self.path) {
            (Some(port), Some(search), _) => {
                format!("Timeout when waiting for search string {search} in {host}:{port}")
            }
            (Some(port), None, _) => format!("Timeout when waiting for {host}:{port}"),
            (None, Some(search), path) => format!(
                "Timeout when waiting for search string {search} in {}",
                path.unwrap_or("")
            ),
            (None, None, path) => {
                format!("Timeout when waiting for file {}", path.unwrap_or(""))
            }
        }))
    }

    fn in_file(&self, context: &Context<'_>, shown: &str) -> Result<Option<Found>, Failure> {
        let path = context.path(shown);
        if let Err(error) = std::fs::metadata(&path) {
            if error.kind() == std::io::ErrorKind::NotFound {
                return Ok(None);
            }
            let reason = error.raw_os_error().map_or("", python::strerror);
            return Err(self.failure(format!("Failed to stat {shown}, {reason}")));
        }
        let Some(pattern) = &self.pattern else {
            return Ok(Some(Found::default()));
        };
        let Ok(contents) = std::fs::read(&path) else {
            return Ok(None);
        };
        Ok(pattern.search(&contents, 0).ok().flatten().map(|found| {
            let text = |group: usize| {
                found
                    .group_bytes(&contents, group)
                    .map_or(Value::Null, |bytes| {
                        String::from_utf8_lossy(bytes).into_owned().into()
                    })
            };
            Found {
                groups: (1..=pattern.groups()).map(text).collect(),
                names: pattern
                    .names()
                    .iter()
                    .map(|(name, group)| (name.clone(), text(*group)))
                    .collect(),
            }
        }))
    }

    fn at_port(&self, context: &Context<'_>, port: i64) -> Option<Found> {
        let mut stream = self.connect(port).ok()?;
        let mut matched = self.pattern.is_none();
        if let Some(pattern) = &self.pattern {
            let mut data = Vec::new();
            let mut chunk = [0; 1024];
            while let Some(left) = self.left() {
                if context
                    .cancel
                    .as_ref()
                    .is_some_and(crate::process::Cancel::is_cancelled)
                {
                    return None;
                }
                // A limit of nothing would mean none.
                let patience = left
                    .min(Duration::from_secs(1))
                    .max(Duration::from_millis(1));
                stream.set_read_timeout(Some(patience)).ok()?;
                match stream.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(length) => {
                        data.extend_from_slice(&chunk[..length]);
                        if pattern.search(&data, 0).ok().flatten().is_some() {
                            matched = true;
                            break;
                        }
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            std::io::ErrorKind::WouldBlock
                                | std::io::ErrorKind::TimedOut
                                | std::io::ErrorKind::Interrupted
                        ) => {}
                    Err(_) => break,
                }
            }
        }
        let _ = stream.flush();
        // A server that has hung up already is not ready; with something found it does not matter.
        let broken = stream
            .shutdown(Shutdown::Both)
            .is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN));
        (matched && (self.pattern.is_some() || !broken)).then(Found::default)
    }

    fn drained(&self, context: &Context<'_>) -> Result<Found, Failure> {
        let unresolved = |host: &str| {
            Failure::unhandled(format!("[Errno -2] Name or service not known: {host}"))
        };
        let own = addresses(self.host).ok_or_else(|| unresolved(self.host))?;
        let mut excluded = Vec::new();
        for host in self.arguments.texts("exclude_hosts") {
            excluded.extend(addresses(&host).ok_or_else(|| unresolved(&host))?);
        }
        let Some(port) = self.port else {
            return Err(Failure::unhandled(
                "int() argument must be a string, a bytes-like object or a real number, not 'NoneType'",
            ));
        };
        let states: Vec<&str> = self
            .arguments
            .texts("active_connection_states")
            .iter()
            .filter_map(|state| STATES.iter().find(|(known, _)| known == state))
            .map(|(_, code)| *code)
            .collect();
        while self.left().is_some() {
            if active(&own, &excluded, port, &states) == 0 {
                return Ok(Found::default());
            }
            self.sleep(context, seconds(self.arguments, "sleep"))?;
        }
        Err(self.failure(format!(
            "Timeout when waiting for {}:{port} to drain",
            self.host
        )))
    }
}

/// The addresses of a host as `/proc/net/tcp` writes them.
fn addresses(host: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for address in names::addresses(host, 80).ok()? {
        let ip = SocketAddr::ip(&address);
        found.push(written(ip));
        if let IpAddr::V4(ip) = ip {
            found.push(written(IpAddr::V6(ip.to_ipv6_mapped())));
        }
    }
    Some(found)
}

/// An address in hexadecimal, each four bytes of it as a number of this machine.
fn written(ip: IpAddr) -> String {
    let bytes = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes
        .chunks_exact(4)
        .map(|four| {
            let number = u32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
            format!("{number:08X}")
        })
        .collect()
}

/// How many connections there are to a port of the addresses.
fn active(own: &[String], excluded: &[String], port: i64, states: &[&str]) -> usize {
    let any = written(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let any6 = written(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let mapped = written(IpAddr::V6(std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()));
    let port = format!("{port:04X}");
    let mut count = 0;
    for (table, all) in [("/proc/net/tcp", &any), ("/proc/net/tcp6", &any6)] {
        let Ok(lines) = std::fs::read_to_string(table) else {
            continue;
        };
        for line in lines.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(remote), Some(state)) =
                (fields.get(1), fields.get(2), fields.get(3))
            else {
                continue;
            };
            let (Some((address, local_port)), Some((remote, _))) =
                (local.split_once(':'), remote.split_once(':'))
            else {
                continue;
            };
            if !states.contains(state)
                || local_port != port
                || excluded.iter().any(|known| known == remote)
            {
                continue;
            }
            let is_own = own.iter().any(|known| known == address)
                || own.contains(all)
                || (address.starts_with(&mapped[..24.min(mapped.len())]) && own.contains(&mapped));
            if is_own {
                count += 1;
            }
        }
    }
    count
}
