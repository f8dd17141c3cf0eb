//! `iptables`: rules, chains and policies of the packet filter.

use std::sync::LazyLock;

use serde_json::Value;

use crate::arguments::{Arguments, Kind, Spec, boolean, dict, list, text};
use crate::context::Context;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command};
use crate::registry::Module;

pub(crate) const MODULE: Module = Module {
    name: "iptables",
    act,
};

const LEVELS: [&str; 16] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "emerg", "alert", "crit", "error", "warning", "notice",
    "info", "debug",
];

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    let none: Vec<Value> = Vec::new();
    let flags = Spec::new()
        .with("flags", list(Kind::Text))
        .with("flags_set", list(Kind::Text));
    Spec::new()
        .with(
            "table",
            text()
                .default("filter")
                .choices(&["filter", "nat", "mangle", "raw", "security"]),
        )
        .with(
            "state",
            text().default("present").choices(&["absent", "present"]),
        )
        .with(
            "action",
            text().default("append").choices(&["append", "insert"]),
        )
        .with(
            "ip_version",
            text().default("ipv4").choices(&["ipv4", "ipv6", "both"]),
        )
        .with("chain", text())
        .with("rule_num", text())
        .with("protocol", text())
        .with("wait", text())
        .with("source", text())
        .with("to_source", text())
        .with("destination", text())
        .with("to_destination", text())
        .with("match", list(Kind::Text).default(none.clone()))
        .with("tcp_flags", dict().options(flags))
        .with("jump", text())
        .with("gateway", text())
        .with("log_prefix", text())
        .with("log_level", text().choices(&LEVELS))
        .with("goto", text())
        .with("in_interface", text())
        .with("out_interface", text())
        .with("fragment", text())
        .with("set_counters", text())
        .with("source_port", text())
        .with("destination_port", text())
        .with("destination_ports", list(Kind::Text).default(none.clone()))
        .with("to_ports", text())
        .with("set_dscp_mark", text())
        .with("set_dscp_mark_class", text())
        .with("comment", text())
        .with("ctstate", list(Kind::Text).default(none))
        .with("src_range", text())
        .with("dst_range", text())
        .with("match_set", text())
        .with(
            "match_set_flags",
            text().choices(&["src", "dst", "src,dst", "dst,src", "src,src", "dst,dst"]),
        )
        .with("limit", text())
        .with("limit_burst", text())
        .with("uid_owner", text())
        .with("gid_owner", text())
        .with("reject_with", text())
        .with("icmp_type", text())
        .with(
            "syn",
            text()
                .default("ignore")
                .choices(&["ignore", "match", "negate"]),
        )
        .with("flush", boolean().default(false))
        .with(
            "policy",
            text().choices(&["ACCEPT", "DROP", "QUEUE", "RETURN"]),
        )
        .with("chain_management", boolean().default(false))
        .with("numeric", boolean().default(false))
        .mutually_exclusive(&["set_dscp_mark", "set_dscp_mark_class"])
        .mutually_exclusive(&["flush", "policy"])
        .required_by("set_dscp_mark", &["jump"])
        .required_by("set_dscp_mark_class", &["jump"])
        .required_if("jump", "TEE", &["gateway"])
        .required_if("jump", "tee", &["gateway"])
        .required_if("flush", false, &["chain"])
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let mut arguments = context.arguments(&SPEC, invocation)?;
    let rule = rule(&arguments)?.join(" ");
    let mut report = Report::new();
    report.insert("changed".to_owned(), false.into());
    report.insert("failed".to_owned(), false.into());
    for name in ["ip_version", "table", "chain", "flush"] {
        report.insert(name.to_owned(), arguments.get(name).clone());
    }
    report.insert("rule".to_owned(), rule.as_str().into());
    for name in ["state", "chain_management", "wait"] {
        report.insert(name.to_owned(), arguments.get(name).clone());
    }
    let names: &[&str] = match arguments.text("ip_version") {
        Some("both") => &["iptables", "ip6tables"],
        Some("ipv6") => &["ip6tables"],
        _ => &["iptables"],
    };
    let programs = names
        .iter()
        .map(|name| process::required(context, name, &[]))
        .collect::<Result<Vec<_>, _>>()?;
    let mut changed = false;
    for program in programs {
        if arguments.filled("log_prefix").is_some() || arguments.filled("log_level").is_some() {
            match arguments.text("jump") {
                None => arguments.set("jump", "LOG"),
                Some("LOG") => {}
                Some(_) => {
                    return Err(Failure::new(
                        "Logging options can only be used with the LOG jump target.",
                    ));
                }
            }
        }
        match waiting(context, &program)? {
            Waiting::Seconds => {}
            Waiting::Without => arguments.set("wait", ""),
            Waiting::No => arguments.set("wait", Value::Null),
        }
        let filter = Filter {
            program: &program,
            arguments: &arguments,
        };
        changed |= filter.bring(context, rule.is_empty())?;
    }
    report.insert("changed".to_owned(), changed.into());
    Ok(report)
}

/// Whether a version can wait for others that hold its lock.
enum Waiting {
    No,
    /// It can, but not for a given time.
    Without,
    Seconds,
}

fn waiting(context: &Context<'_>, program: &str) -> Result<Waiting, Failure> {
    let out = Command::new([program, "--version"])
        .literal()
        .check()
        .run(context)?
        .out();
    let version = out
        .split('v')
        .nth(1)
        .ok_or_else(|| Failure::unhandled("list index out of range"))?;
    let numbers: Vec<u32> = version
        .split('.')
        .map_while(|part| {
            let end = part
                .find(|digit: char| !digit.is_ascii_digit())
                .unwrap_or(part.len());
            part[..end].parse().ok()
        })
        .collect();
    Ok(if numbers < vec![1, 4, 20] {
        Waiting::No
    } else if numbers < vec![1, 6, 0] {
        Waiting::Without
    } else {
        Waiting::Seconds
    })
}

/// The words of a rule.
#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// An option with a value; one that begins with `!` is negated.
    fn option(&mut self, value: Option<&str>, option: &str) -> Result<(), Failure> {
        match value {
            None => {}
            Some("") => return Err(Failure::unhandled("string index out of range")),
            Some(value) => match value.strip_prefix('!') {
                Some(value) => self.add(&["!", option, value]),
                None => self.add(&[option, value]),
            },
        }
        Ok(())
    }

    fn joined(&mut self, values: &[String], option: &str) {
        if !values.is_empty() {
            self.add(&[option, &values.join(",")]);
        }
    }

    /// An option that is set by the word `match`, and negated by `negate`.
    fn flag(&mut self, value: Option<&str>, option: &str) {
        match value {
            Some("match") => self.add(&[option]),
            Some("negate") => self.add(&["!", option]),
            _ => {}
        }
    }

    /// The extension an option needs, unless it was named.
    fn extension(&mut self, loaded: &mut Vec<String>, name: &str) {
        if !loaded.iter().any(|known| known == name) {
            self.add(&["-m", name]);
            loaded.push(name.to_owned());
        }
    }

    fn jump(&mut self, is_needed: bool, target: &str) {
        if is_needed {
            self.add(&["-j", target]);
        }
    }
}

/// The words of the rule that the arguments say.
fn rule(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let given = |name: &str| arguments.text(name);
    let filled = |name: &str| arguments.filled(name).is_some();
    let mut words = Words::default();
    for (name, option) in [("protocol", "-p"), ("source", "-s"), ("destination", "-d")] {
        words.option(given(name), option)?;
    }
    let named = arguments.texts("match");
    for extension in &named {
        words.option(Some(extension), "-m")?;
    }
    let mut loaded = named.clone();
    let has = |name: &str| named.iter().any(|known| known == name);
    if let Some(flags) = arguments
        .dict("tcp_flags")
        .filter(|flags| !flags.is_empty())
    {
        let part = |name: &str| -> Result<String, Failure> {
            flags
                .get(name)
                .and_then(Value::as_array)
                .map(|items| {
                    items
                        .iter()
                        .filter_map(Value::as_str)
                        .collect::<Vec<_>>()
                        .join(",")
                })
                .ok_or_else(|| Failure::unhandled("can only join an iterable"))
        };
        words.add(&["--tcp-flags", &part("flags")?, &part("flags_set")?]);
    }
    words.option(given("jump"), "-j")?;
    let jump = given("jump").map(str::to_lowercase);
    if jump.as_deref() == Some("tee") {
        words.option(given("gateway"), "--gateway")?;
    }
    for (name, option) in [
        ("log_prefix", "--log-prefix"),
        ("log_level", "--log-level"),
        ("to_destination", "--to-destination"),
    ] {
        words.option(given(name), option)?;
    }
    let ports = arguments.texts("destination_ports");
    if !ports.is_empty() {
        words.extension(&mut loaded, "multiport");
        words.joined(&ports, "--dports");
    }
    for (name, option) in [
        ("to_source", "--to-source"),
        ("goto", "-g"),
        ("in_interface", "-i"),
        ("out_interface", "-o"),
        ("fragment", "-f"),
        ("set_counters", "-c"),
        ("source_port", "--source-port"),
        ("destination_port", "--destination-port"),
        ("to_ports", "--to-ports"),
    ] {
        words.option(given(name), option)?;
    }
    let is_dscp = jump.as_deref() == Some("dscp");
    for (name, option) in [
        ("set_dscp_mark", "--set-dscp"),
        ("set_dscp_mark_class", "--set-dscp-class"),
    ] {
        words.option(given(name), option)?;
        words.jump(filled(name) && !is_dscp, "DSCP");
    }
    words.flag(given("syn"), "--syn");
    let states = arguments.texts("ctstate");
    if has("conntrack") {
        words.joined(&states, "--ctstate");
    } else if has("state") {
        words.joined(&states, "--state");
    } else if !states.is_empty() {
        words.extension(&mut loaded, "conntrack");
        words.joined(&states, "--ctstate");
    }
    let has_range = filled("src_range") || filled("dst_range");
    if has("iprange") || has_range {
        if !has("iprange") {
            words.extension(&mut loaded, "iprange");
        }
        words.option(given("src_range"), "--src-range")?;
        words.option(given("dst_range"), "--dst-range")?;
    }
    if has("set") || filled("match_set") {
        if !has("set") {
            words.extension(&mut loaded, "set");
        }
        words.option(given("match_set"), "--match-set")?;
        let flags = given("match_set_flags").ok_or_else(|| {
            Failure::unhandled(format!(
                "sequence item {}: expected str instance, NoneType found",
                words.0.len()
            ))
        })?;
        words.add(&[flags]);
    }
    if filled("limit") || filled("limit_burst") {
        words.extension(&mut loaded, "limit");
    }
    words.option(given("limit"), "--limit")?;
    words.option(given("limit_burst"), "--limit-burst")?;
    for (name, option) in [("uid_owner", "--uid-owner"), ("gid_owner", "--gid-owner")] {
        if filled(name) {
            words.extension(&mut loaded, "owner");
        }
        words.flag(given(name), option);
        words.option(given(name), option)?;
    }
    if jump.is_none() {
        words.jump(filled("reject_with"), "REJECT");
        words.jump(filled("set_dscp_mark_class"), "DSCP");
        words.jump(filled("set_dscp_mark"), "DSCP");
    }
    words.option(given("reject_with"), "--reject-with")?;
    let icmp = match given("ip_version") {
        Some("ipv6") => "--icmpv6-type",
        Some("both") => "--icmp-type --icmpv6-type",
        _ => "--icmp-type",
    };
    words.option(given("icmp_type"), icmp)?;
    if filled("comment") {
        words.extension(&mut loaded, "comment");
    }
    words.option(given("comment"), "--comment")?;
    Ok(words.0)
}

/// A program, and what is asked of it.
struct Filter<'a> {
    program: &'a str,
    arguments: &'a Arguments,
}

impl Filter<'_> {
    /// Brings it to what is asked. Gives whether something changed, or would.
    fn bring(&self, context: &Context<'_>, is_chain: bool) -> Result<bool, Failure> {
        let arguments = self.arguments;
        let acts = !context.settings.check;
        let manages = arguments.flag("chain_management");
        let is_wanted = arguments.text("state") == Some("present");
        if arguments.flag("flush") {
            if acts {
                self.command("-F", false)?.check().run(context)?;
            }
            return Ok(true);
        }
        if let Some(policy) = arguments.text("policy") {
            let current = self.policy(context)?;
            let changed = current != policy;
            if changed && acts {
                let mut words = self.words("-P", false)?;
                words.push(policy.to_owned());
                Command::new(words).check().run(context)?;
            }
            return Ok(changed);
        }
        if is_chain {
            let changed = self.has_chain(context)? != is_wanted;
            if changed && manages && acts {
                let action = if is_wanted { "-N" } else { "-X" };
                self.command(action, false)?.check().run(context)?;
            }
            return Ok(changed);
        }
        let is_there = self.command("-C", true)?.run(context)?.success();
        if is_there == is_wanted {
            return Ok(false);
        }
        if acts {
            let action = match (is_wanted, arguments.text("action")) {
                (false, _) => "-D",
                (true, Some("insert")) => "-I",
                (true, _) => "-A",
            };
            self.command(action, true)?.check().run(context)?;
        }
        Ok(true)
    }

    fn words(&self, action: &str, with_rule: bool) -> Result<Vec<String>, Failure> {
        let arguments = self.arguments;
        let mut words: Vec<String> = [self.program, "-t", arguments.required("table"), action]
            .map(str::to_owned)
            .to_vec();
        // Only a flush can be without a chain: of all of them.
        words.extend(arguments.text("chain").map(str::to_owned));
        if action == "-I"
            && let Some(number) = arguments.filled("rule_num")
        {
            words.push(number.to_owned());
        }
        if let Some(seconds) = arguments.filled("wait") {
            words.extend(["-w".to_owned(), seconds.to_owned()]);
        }
        if with_rule {
            words.extend(rule(arguments)?);
        }
        Ok(words)
    }

    fn command(&self, action: &str, with_rule: bool) -> Result<Command, Failure> {
        Ok(Command::new(self.words(action, with_rule)?))
    }

    fn list(&self) -> Result<Command, Failure> {
        let mut words = self.words("-L", false)?;
        if self.arguments.flag("numeric") {
            words.push("--numeric".to_owned());
        }
        Ok(Command::new(words))
    }

    fn has_chain(&self, context: &Context<'_>) -> Result<bool, Failure> {
        Ok(self.list()?.run(context)?.success())
    }

    fn policy(&self, context: &Context<'_>) -> Result<String, Failure> {
        let out = self.list()?.check().run(context)?.out();
        let head = out.split('\n').next().unwrap_or_default();
        head.split_once("(policy ")
            .map(|(_, rest)| {
                rest.chars()
                    .take_while(char::is_ascii_uppercase)
                    .collect::<String>()
            })
            .filter(|policy| !policy.is_empty())
            .ok_or_else(|| Failure::new("Can't detect current policy"))
    }
}
