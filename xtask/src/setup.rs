//! Installs the real peers that the tests run against.

mod kubectl;

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// A program the tests call, and the Debian package that brings it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    tool("busybox", "busybox-static"),
    tool("runc", "runc"),
    tool("docker-registry", "docker-registry"),
    tool("skopeo", "skopeo"),
    tool("umoci", "umoci"),
    tool("nft", "nftables"),
    tool("dig", "dnsutils"),
    tool("ip", "iproute2"),
    tool("ping", "iputils-ping"),
    tool("nsenter", "util-linux"),
    tool("unshare", "util-linux"),
    tool("zstd", "zstd"),
    tool("gzip", "gzip"),
    tool("script", "bsdutils"),
    tool("ps", "procps"),
    tool("python3", "python3"),
    tool("nginx", "nginx-light"),
    tool("redis-server", "redis-server"),
    tool("sshd", "openssh-server"),
    tool("ssh-keygen", "openssh-client"),
    tool("tar", "tar"),
    tool("curl", "curl"),
];

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// Installs what is missing; a second run does nothing.
pub(crate) fn run() -> anyhow::Result<()> {
    let old_kubectl = kubectl::minor_version().is_none_or(|minor| minor < kubectl::OLDEST);
    let mut missing: Vec<&str> = TOOLS
        .iter()
        .filter(|tool| !on_path(tool.program))
        .map(|tool| tool.package)
        .collect();
    if old_kubectl && !on_path("pip3") {
        missing.push("python3-pip");
    }
    missing.dedup();
    if !missing.is_empty() {
        println!("installing {}", missing.join(" "));
        apt(&["update", "-q"])?;
        let mut install = vec!["install", "-q", "-y", "--no-install-recommends"];
        install.extend(&missing);
        apt(&install)?;
    }
    if old_kubectl {
        kubectl::install()?;
    }
    Ok(())
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).to_owned()))
        .any(|dir| dir.join(program).exists())
}

fn apt(args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Debian starts a service it installs; the tests bring up their own.
        .env("RUNLEVEL", "1")
        .status()
        .context("starting apt-get: the tests need Debian or a system with its tools installed")?;
    if !status.success() {
        bail!("apt-get {} ended with {status}", args.join(" "));
    }
    Ok(())
}
