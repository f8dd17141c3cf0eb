//! The line by which a plugin says where and how it can be reached.
//!
//! `1|5|unix|/tmp/plugin123|grpc|<certificate>`: version of the handshake, version of the protocol, network,
//! address, transport, and the plugin's certificate in base64 without padding. Later fields are ignored.

use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine;

/// Where a plugin listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// A Unix domain socket.
    Unix(PathBuf),
    /// A TCP socket.
    Tcp(SocketAddr),
}

/// What the line said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Handshake {
    pub(crate) address: Address,
    /// 5 or 6.
    pub(crate) protocol: u8,
    /// DER; absent if the plugin speaks without TLS.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// Why a line is no handshake.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadHandshake {
    /// Not a line of fields at all: the program is no plugin, or it failed and said why.
    #[error("it wrote {line:?} instead of the line by which a plugin says where it listens")]
    NotAHandshake {
        /// What was read.
        line: String,
    },
    /// A version of the handshake that nobody knows.
    #[error("it uses version {version:?} of the plugin handshake; only version 1 is known")]
    CoreVersion {
        /// What it said.
        version: String,
    },
    /// Neither 5 nor 6.
    #[error(
        "it speaks version {version:?} of the plugin protocol; versions 5 and 6 can be used (Terraform 0.12 and later)"
    )]
    Protocol {
        /// What it said.
        version: String,
    },
    /// An address that cannot be used.
    #[error("it listens on {network:?} at {address:?}, which is no usable address")]
    Address {
        /// `unix` or `tcp`, or what it said.
        network: String,
        /// Path or host and port.
        address: String,
    },
    /// An address that is not on this host.
    #[error("it listens at {address}, which is not on this host's loopback")]
    NotLoopback {
        /// What it said.
        address: SocketAddr,
    },
    /// The old transport of plugins made before Terraform 0.12.
    #[error("it speaks {transport:?}; only gRPC can be used (Terraform 0.12 and later)")]
    Transport {
        /// What it said.
        transport: String,
    },
    /// A certificate that is not base64.
    #[error("its certificate is not base64")]
    Certificate,
}

/// Reads the line.
pub(crate) fn parse(line: &str) -> Result<Handshake, BadHandshake> {
    let line = line.trim();
    let fields: Vec<&str> = line.split('|').collect();
    let [core, protocol, network, address, rest @ ..] = fields.as_slice() else {
        return Err(BadHandshake::NotAHandshake {
            line: line.chars().take(400).collect(),
        });
    };
    if core.parse::<u32>().is_err() {
        return Err(BadHandshake::NotAHandshake {
            line: line.chars().take(400).collect(),
        });
    }
    if *core != "1" {
        return Err(BadHandshake::CoreVersion {
            version: (*core).to_owned(),
        });
    }
    let protocol = match *protocol {
        "5" => 5,
        "6" => 6,
        other => {
            return Err(BadHandshake::Protocol {
                version: other.to_owned(),
            });
        }
    };
    let address = parse_address(network, address)?;
    // A plugin that names no transport speaks the old one.
    match rest.first().copied().unwrap_or("netrpc") {
        "grpc" => {}
        other => {
            return Err(BadHandshake::Transport {
                transport: other.to_owned(),
            });
        }
    }
    let certificate = match rest.get(1).copied().unwrap_or_default() {
        "" => None,
        text => Some(
            base64::engine::general_purpose::STANDARD_NO_PAD
                .decode(text.trim_end_matches('='))
                .map_err(|_| BadHandshake::Certificate)?,
        ),
    };
    Ok(Handshake {
        address,
        protocol,
        certificate,
    })
}

/// Reads a network and an address as Go writes them.
pub(crate) fn parse_address(network: &str, address: &str) -> Result<Address, BadHandshake> {
    let bad = || BadHandshake::Address {
        network: network.to_owned(),
        address: address.to_owned(),
    };
    match network {
        "unix" if !address.is_empty() => Ok(Address::Unix(PathBuf::from(address))),
        "tcp" => {
            let address: SocketAddr = address.parse().map_err(|_| bad())?;
            // Some listen on every address of the host; they are reached over the loopback all the same.
            let address = match address {
                SocketAddr::V4(a) if a.ip().is_unspecified() => {
                    SocketAddr::from(([127, 0, 0, 1], a.port()))
                }
                SocketAddr::V6(a) if a.ip().is_unspecified() => {
                    SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, a.port()))
                }
                other => other,
            };
            if address.ip().is_loopback() {
                Ok(Address::Tcp(address))
            } else {
                Err(BadHandshake::NotLoopback { address })
            }
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_real_providers_are_read() {
        assert_eq!(
            parse("1|5|unix|/tmp/plugin2840|grpc|AQID\n"),
            Ok(Handshake {
                address: Address::Unix("/tmp/plugin2840".into()),
                protocol: 5,
                certificate: Some(vec![1, 2, 3])
            })
        );
        assert_eq!(
            parse("1|6|tcp|127.0.0.1:10000|grpc|"),
            Ok(Handshake {
                address: Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 10000))),
                protocol: 6,
                certificate: None
            })
        );
        assert_eq!(
            parse("1|6|unix|/s|grpc|AQI=|true").map(|h| h.certificate),
            Ok(Some(vec![1, 2]))
        );
    }

    #[test]
    fn what_is_no_handshake_is_said_to_be_none() {
        for (line, part) in [
            ("This binary is a plugin.", "instead of the line"),
            ("panic|runtime|error|x|y", "instead of the line"),
            ("2|5|unix|/s|grpc", "version \"2\""),
            ("1|4|unix|/s|grpc", "plugin protocol"),
            ("1|5|unix|/s", "netrpc"),
            ("1|5|udp|/s|grpc", "no usable address"),
            ("1|5|tcp|example.com:1|grpc", "no usable address"),
            ("1|5|tcp|192.0.2.7:1|grpc", "loopback"),
            ("1|5|unix|/s|grpc|&&", "base64"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
