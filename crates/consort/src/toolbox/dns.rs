//! `dns`: what a pod's resolver configuration makes of a name.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// Looks a name up and prints `name ttl type data`, a record a line. Search domains, ndots and
/// name servers come from the resolver configuration, as for any program in the container. Names
/// without any record are a failure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The name; ending in a dot, no search domain is added
    name: String,
    /// Record type, as A, AAAA, SRV, TXT, CNAME, PTR or NS; A and AAAA by default
    #[arg(short, long = "type", value_name = "TYPE")]
    types: Vec<RecordType>,
    /// Ask this server, an address with an optional port, instead of the configured ones
    #[arg(short, long, value_parser = server)]
    server: Option<SocketAddr>,
    /// Resolver configuration
    #[arg(long, default_value = "/etc/resolv.conf")]
    config: PathBuf,
    /// How long to wait for one answer
    #[arg(long, default_value = "3s", value_parser = super::duration)]
    timeout: Duration,
    /// Print only the data
    #[arg(long)]
    short: bool,
}

fn server(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|address| (address, 53).into()))
        .map_err(|_| format!("{text:?} is not an address, nor one with a port"))
}

/// What of `/etc/resolv.conf` decides about names (resolv.conf(5)).
#[derive(Debug, Default, PartialEq, Eq)]
struct Config {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
}

impl Config {
    fn parse(text: &str) -> Self {
        let mut config = Self {
            ndots: 1,
            ..Self::default()
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    config
                        .servers
                        .extend(address.map(|address| SocketAddr::from((address, 53))));
                }
                Some("search" | "domain") => {
                    config.search = words.map(str::to_owned).collect();
                }
                Some("options") => {
                    let ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    config.ndots = ndots.fold(config.ndots, |_, last| last).min(15);
                }
                _ => {}
            }
        }
        config
    }

    /// The full names to try, in the resolver's order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let searched = self.search.iter().map(|domain| {
            let domain = domain.trim_matches('.');
            if domain.is_empty() {
                format!("{name}.")
            } else {
                format!("{name}.{domain}.")
            }
        });
        let as_is = std::iter::once(format!("{name}."));
        if name.matches('.').count() >= self.ndots {
            as_is.chain(searched).collect()
        } else {
            searched.chain(as_is).collect()
        }
    }
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<u8> {
    let mut config = match std::fs::read_to_string(&args.config) {
        Ok(text) => Config::parse(&text),
        Err(_) if args.server.is_some() => Config::parse(""),
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", args.config.display()));
        }
    };
    if let Some(server) = args.server {
        config.servers = vec![server];
    }
    ensure!(
        !config.servers.is_empty(),
        "{} names no server",
        args.config.display()
    );
    let types: &[RecordType] = match args.types.as_slice() {
        [] => &[RecordType::A, RecordType::AAAA],
        types => types,
    };
    let started = Instant::now();
    let mut exists = false;
    for candidate in config.candidates(&args.name) {
        let name = Name::from_ascii(&candidate)
            .with_context(|| format!("{candidate:?} is not a domain name"))?;
        let mut found = 0;
        for kind in types {
            let (server, answer) = ask_any(&config.servers, &name, *kind, args.timeout).await?;
            match answer.metadata.response_code {
                ResponseCode::NoError => exists = true,
                ResponseCode::NXDomain => {}
                code => bail!("{server} answered {code} for {candidate} {kind}"),
            }
            found += answer.answers.len();
            for record in &answer.answers {
                if args.short {
                    println!("{}", record.data);
                } else {
                    let (name, ttl, kind) = (&record.name, record.ttl, record.record_type());
                    println!("{name} {ttl} {kind} {}", record.data);
                }
            }
        }
        if found > 0 {
            let millis = started.elapsed().as_secs_f64() * 1e3;
            if !args.short {
                eprintln!("{found} records, {millis:.1} ms");
            }
            return Ok(0);
        }
    }
    if exists {
        bail!("{} has no records of this type", args.name);
    }
    bail!("{} does not exist", args.name)
}

/// Asks one server after the other until one answers.
async fn ask_any(
    servers: &[SocketAddr],
    name: &Name,
    kind: RecordType,
    timeout: Duration,
) -> anyhow::Result<(SocketAddr, Message)> {
    let mut failure = None;
    for server in servers {
        match tokio::time::timeout(timeout, ask(*server, name, kind)).await {
            Ok(Ok(answer)) => return Ok((*server, answer)),
            Ok(Err(error)) => failure = Some(error.context(format!("asking {server}"))),
            Err(_) => failure = Some(anyhow::anyhow!("{server} did not answer in {timeout:?}")),
        }
    }
    Err(failure.unwrap_or_else(|| anyhow::anyhow!("there is no server to ask")))
}

async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> anyhow::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let id = question.metadata.id;
    let bytes = question.to_vec()?;
    let local: SocketAddr = if server.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0; 16], 0).into()
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; 65_535];
    let answer = loop {
        let length = socket.recv(&mut buffer).await?;
        // What is not the answer to this question is someone else's, or a forgery.
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if answer.metadata.id == id => break answer,
            _ => {}
        }
    };
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(u16::try_from(bytes.len())?).await?;
    stream.write_all(&bytes).await?;
    let length = usize::from(stream.read_u16().await?);
    stream.read_exact(&mut buffer[..length]).await?;
    let answer = Message::from_vec(&buffer[..length])?;
    ensure!(
        answer.metadata.id == id,
        "the answer is to another question"
    );
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "nameserver 10.96.0.10\n\
        search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

    #[test]
    fn short_names_are_searched_first_and_full_ones_are_not_searched() {
        let config = Config::parse(POD);
        assert_eq!(config.servers, ["10.96.0.10:53".parse().unwrap()]);
        let candidates = config.candidates("backend");
        assert_eq!(candidates[0], "backend.shop.svc.cluster.local.");
        assert_eq!(candidates[3], "backend.");
        assert_eq!(config.candidates("a.b."), ["a.b."]);
        let many_dots = config.candidates("a.b.c.d.e.f");
        assert_eq!(many_dots[0], "a.b.c.d.e.f.");
    }

    #[test]
    fn lines_that_are_not_understood_are_passed_over() {
        let config = Config::parse("# x\nnameserver nonsense\noptions rotate ndots:99\nsearch .\n");
        assert_eq!((config.servers.len(), config.ndots), (0, 15));
        assert_eq!(config.candidates("a"), ["a.", "a."]);
    }
}
