//! Which module gathers the facts of a network device (`CONNECTION_FACTS_MODULES`).

/// The systems of devices, and the collections their modules are in.
const COLLECTIONS: [(&str, &str); 12] = [
    ("asa", "cisco.asa"),
    ("eos", "arista.eos"),
    ("frr", "frr.frr"),
    ("ios", "cisco.ios"),
    ("iosxr", "cisco.iosxr"),
    ("junos", "junipernetworks.junos"),
    ("nxos", "cisco.nxos"),
    ("vyos", "vyos.vyos"),
    ("exos", "extreme.exos"),
    ("slxos", "extreme.slxos"),
    ("voss", "extreme.voss"),
    ("ironware", "community.network"),
];

/// The module for the system of a device, by its short name or that in its collection.
pub(super) fn of(network_os: &str) -> Option<String> {
    COLLECTIONS.iter().find_map(|(system, collection)| {
        if network_os == *system {
            // Those in `library/` come before others.
            return Some(format!("ansible.legacy.{system}_facts"));
        }
        (network_os.strip_suffix(system)?.strip_suffix('.')? == *collection)
            .then(|| format!("{collection}.{system}_facts"))
    })
}
