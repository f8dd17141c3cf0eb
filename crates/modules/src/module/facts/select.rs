//! Which collectors a `gather_subset` asks for.

use std::collections::BTreeSet;

use super::{COLLECTORS, Collector};

/// The collectors of a subset, those that others need first. The error is Ansible's message for what is no subset.
pub(super) fn collectors(subset: &[String]) -> Result<Vec<&'static Collector>, String> {
    let mut valid: BTreeSet<&str> = BTreeSet::new();
    let mut minimal: BTreeSet<&str> = BTreeSet::new();
    for collector in COLLECTORS {
        valid.insert(collector.name);
        valid.extend(collector.ids);
        if collector.minimal {
            minimal.insert(collector.name);
        }
    }
    let mut wanted = minimal.clone();
    let mut unwanted: BTreeSet<&str> = BTreeSet::new();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let everything = ["all".to_owned()];
    let subset = if subset.is_empty() {
        &everything
    } else {
        subset
    };
    for name in subset {
        match name.as_str() {
            "min" => wanted.extend(&minimal),
            "all" => wanted.extend(&valid),
            "!min" => unwanted.extend(&minimal),
            "!all" => unwanted.extend(valid.difference(&minimal)),
            name => {
                if let Some(name) = name.strip_prefix('!') {
                    if let Some(collector) =
                        COLLECTORS.iter().find(|collector| collector.name == name)
                    {
                        unwanted.extend(collector.ids);
                    }
                    unwanted.insert(name);
                } else if valid.contains(name) {
                    named.insert(name);
                    wanted.insert(name);
                } else {
                    return Err(format!(
                        "Bad subset '{name}' given to Ansible. gather_subset options allowed: all, {}",
                        valid.iter().copied().collect::<Vec<_>>().join(", ")
                    ));
                }
            }
        }
    }
    wanted.retain(|name| !unwanted.contains(name) || named.contains(name));
    let mut chosen: BTreeSet<&str> = COLLECTORS
        .iter()
        .filter(|collector| {
            wanted.contains(collector.name) || collector.ids.iter().any(|id| wanted.contains(id))
        })
        .map(|collector| collector.name)
        .collect();
    // What one needs stands before it.
    for collector in COLLECTORS.iter().rev() {
        if chosen.contains(collector.name) {
            chosen.extend(collector.needs);
        }
    }
    Ok(COLLECTORS
        .iter()
        .filter(|collector| chosen.contains(collector.name))
        .collect())
}
