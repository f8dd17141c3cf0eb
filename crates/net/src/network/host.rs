//! What is made in the host's own namespace: the instance's link, routes and sysctls.

use std::fs;
use std::io;
use std::path::Path;

use ipnet::Ipv4Net;

use super::link::{Link, Links};
use super::{Error, kernel};

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// How the alias of every instance's link begins; behind it stands what `ip_forward` was before the
/// first instance. It is kept on the link because that lives exactly as long as the change does.
const ALIAS: &str = "consort, ip_forward was ";
/// MTU when there is no default route to learn from.
const ETHERNET: u32 = 1500;

/// Refuses addresses that another interface already uses, in whole or in part. A wider network around
/// them is fine: the more specific route wins.
pub(crate) fn check_free(
    links: &mut Links,
    is_ours: impl Fn(&str) -> bool,
    wanted: &[Ipv4Net],
) -> Result<(), Error> {
    let present = links.list().map_err(kernel("listing links"))?;
    let routes = links.routes().map_err(kernel("listing routes"))?;
    for route in routes {
        let interface = route
            .by
            .and_then(|index| present.iter().find(|link| link.index == index));
        let name = interface.map_or("", |link| link.name.as_str());
        if is_ours(name) || (interface.is_none() && route.ours) {
            continue;
        }
        if let Some(cidr) = wanted.iter().find(|cidr| cidr.contains(&route.to)) {
            return Err(Error::CidrInUse {
                cidr: *cidr,
                used: route.to,
                interface: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// MTU of the interface that the default route uses.
pub(crate) fn default_mtu(links: &mut Links) -> Result<u32, Error> {
    let routes = links.routes().map_err(kernel("listing routes"))?;
    let Some(index) = routes
        .iter()
        .find(|route| route.to.prefix_len() == 0)
        .and_then(|route| route.by)
    else {
        return Ok(ETHERNET);
    };
    let present = links.list().map_err(kernel("listing links"))?;
    Ok(present
        .iter()
        .find(|link| link.index == index)
        .map_or(ETHERNET, |link| link.mtu))
}

/// Makes the instance's link and switches forwarding on.
pub(crate) fn up(links: &mut Links, name: &str, mtu: u32) -> Result<Link, Error> {
    up_with(links, name, |links, alias| {
        links.add_bridge(name, mtu, alias)
    })
}

/// Makes a link that needs forwarding, if it is not there, and switches forwarding on.
pub(crate) fn up_with(
    links: &mut Links,
    name: &str,
    make: impl FnOnce(&mut Links, &str) -> io::Result<()>,
) -> Result<Link, Error> {
    let find = || kernel(format!("looking for link {name}"));
    if links.find(name).map_err(find())?.is_none() {
        let before = match others(links, name)?.first() {
            Some(other) => other.alias[ALIAS.len()..].to_owned(),
            None => read_forward()?,
        };
        make(links, &format!("{ALIAS}{before}")).map_err(kernel(format!("making link {name}")))?;
    }
    write_forward("1")?;
    links
        .find(name)
        .map_err(find())?
        .ok_or_else(|| kernel(format!("making link {name}"))(io::ErrorKind::NotFound.into()))
}

/// Removes a link made by [`up`]; the last one restores forwarding.
pub(crate) fn down(links: &mut Links, name: &str) -> Result<(), Error> {
    let Some(link) = links
        .find(name)
        .map_err(kernel(format!("looking for link {name}")))?
    else {
        return Ok(());
    };
    if others(links, name)?.is_empty()
        && let Some(before) = link.alias.strip_prefix(ALIAS)
    {
        write_forward(before)?;
    }
    links
        .delete(name)
        .map_err(kernel(format!("removing link {name}")))
}

/// The other links in this network namespace that need forwarding.
fn others(links: &mut Links, name: &str) -> Result<Vec<Link>, Error> {
    let present = links.list().map_err(kernel("listing links"))?;
    Ok(present
        .into_iter()
        .filter(|link| link.name != name && link.alias.starts_with(ALIAS))
        .collect())
}

fn read_forward() -> Result<String, Error> {
    let path = Path::new(IP_FORWARD);
    let text = fs::read_to_string(path).map_err(|source| Error::State {
        action: "reading",
        path: path.into(),
        source,
    })?;
    Ok(text.trim().to_owned())
}

fn write_forward(value: &str) -> Result<(), Error> {
    // Writing resets related settings of all interfaces, so only when it changes something.
    if read_forward()? == value {
        return Ok(());
    }
    let path = Path::new(IP_FORWARD);
    fs::write(path, value).map_err(|source| Error::State {
        action: "writing",
        path: path.into(),
        source,
    })
}

/// Lets packets of 127.0.0.0/8 be routed over a pod's interface: a process on the host that
/// connects to a node port on its loopback reaches the pod.
pub(crate) fn route_loopback(interface: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys/net/ipv4/conf")
        .join(interface)
        .join("route_localnet");
    fs::write(&path, "1").map_err(|source| Error::State {
        action: "writing",
        path,
        source,
    })
}
