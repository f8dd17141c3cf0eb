//! Facts that are little more than a file, and those of other programs that gather facts.

use serde_json::{Map, Value, json};

use super::{Facts, Gathering};

pub(super) fn ssh_host_keys(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    for directory in ["/etc/ssh", "/etc/openssh", "/etc"] {
        for algorithm in ["dsa", "rsa", "ecdsa", "ed25519"] {
            let name = format!("ssh_host_key_{algorithm}_public");
            if facts.contains_key(&name) {
                return facts;
            }
            let text = gathering.content(&format!("{directory}/ssh_host_{algorithm}_key.pub"));
            let mut words = text.as_deref().unwrap_or("").split_whitespace();
            if let (Some(kind), Some(key)) = (words.next(), words.next()) {
                facts.insert(name.clone(), json!(key));
                facts.insert(format!("{name}_keytype"), json!(kind));
            }
        }
    }
    facts
}

pub(super) fn dns(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut dns = Map::new();
    for line in gathering.lines("/etc/resolv.conf") {
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else {
            continue;
        };
        let rest: Vec<Value> = words.clone().map(|word| json!(word)).collect();
        match first {
            "nameserver" => {
                if let Some(known) = dns
                    .entry("nameservers")
                    .or_insert_with(|| json!([]))
                    .as_array_mut()
                {
                    known.extend(rest);
                }
            }
            "domain" => {
                if let Some(domain) = rest.into_iter().next() {
                    dns.insert("domain".to_owned(), domain);
                }
            }
            "search" | "sortlist" => {
                dns.insert(first.to_owned(), rest.into());
            }
            "options" => {
                let options: Map<String, Value> = words
                    .map(|option| match option.split_once(':') {
                        Some((name, value)) if !value.is_empty() => (name.to_owned(), json!(value)),
                        Some((name, _)) => (name.to_owned(), json!(true)),
                        None => (option.to_owned(), json!(true)),
                    })
                    .collect();
                dns.insert("options".to_owned(), options.into());
            }
            _ => {}
        }
    }
    Facts::from_iter([("dns".to_owned(), dns.into())])
}

pub(super) fn fibre_channel(gathering: &mut Gathering<'_, '_>) -> Facts {
    const HOSTS: &str = "/sys/class/fc_host";
    let mut names = Vec::new();
    for host in gathering.names(HOSTS).unwrap_or_default() {
        for line in gathering.lines(&format!("{HOSTS}/{host}/port_name")) {
            names.push(line.trim_end().chars().skip(2).collect::<String>());
        }
    }
    Facts::from_iter([("fibre_channel_wwn".to_owned(), json!(names))])
}

/// The first line of a file of settings that begins so.
fn line_of(gathering: &Gathering<'_, '_>, path: &str, start: &str) -> Option<String> {
    gathering
        .lines(path)
        .into_iter()
        .find(|line| line.starts_with(start))
}

pub(super) fn iscsi(gathering: &mut Gathering<'_, '_>) -> Facts {
    const START: &str = "InitiatorName=";
    let name = line_of(gathering, "/etc/iscsi/initiatorname.iscsi", START)
        .map_or_else(String::new, |line| line[START.len()..].to_owned());
    Facts::from_iter([("iscsi_iqn".to_owned(), json!(name))])
}

pub(super) fn nvme(gathering: &mut Gathering<'_, '_>) -> Facts {
    let name = line_of(gathering, "/etc/nvme/hostnqn", "nqn.").unwrap_or_default();
    Facts::from_iter([("hostnqn".to_owned(), json!(name))])
}

/// What Puppet's `facter` knows, if it is there.
pub(super) fn facter(gathering: &mut Gathering<'_, '_>) -> Facts {
    let named = |name: &str| {
        let own = format!("/opt/puppetlabs/bin/{name}");
        if gathering.is_file(&own) {
            Some(own)
        } else {
            gathering.program(name)
        }
    };
    let Some(program) = named("cfacter").or_else(|| named("facter")) else {
        return Facts::new();
    };
    let said = gathering
        .output(&[&program, "--puppet", "--json"])
        .or_else(|| gathering.output(&[&program, "--json"]));
    told(gathering, said, "Failed to parse facter facts")
}

/// What Chef's `ohai` knows, if it is there.
pub(super) fn ohai(gathering: &mut Gathering<'_, '_>) -> Facts {
    let said = gathering
        .program("ohai")
        .and_then(|program| gathering.output(&[&program]));
    told(gathering, said, "Failed to gather ohai facts")
}

fn told(gathering: &mut Gathering<'_, '_>, said: Option<String>, wrong: &str) -> Facts {
    match said.map(|said| serde_json::from_str(&said)) {
        None => Facts::new(),
        Some(Ok(Value::Object(facts))) => facts,
        Some(_) => {
            gathering.context.warn(wrong);
            Facts::new()
        }
    }
}
