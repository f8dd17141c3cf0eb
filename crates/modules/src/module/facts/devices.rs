//! The block devices.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Facts, Gathering};
use crate::arguments::bytes_to_human;
use crate::python;

/// Names a device has besides its own, by the device.
type Links = BTreeMap<String, BTreeSet<String>>;

/// The kinds of such names.
const KINDS: [&str; 4] = ["ids", "uuids", "labels", "masters"];

pub(super) fn collect(gathering: &Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::from_iter([("devices".to_owned(), json!({}))]);
    let Some(blocks) = gathering.names("/sys/block") else {
        return facts;
    };
    let mut masters = Links::new();
    for block in &blocks {
        for slave in gathering
            .names(&format!("/sys/block/{block}/slaves"))
            .unwrap_or_default()
        {
            masters.entry(slave).or_default().insert(block.clone());
        }
    }
    let links = [
        links_in(gathering, "/dev/disk/by-id"),
        links_in(gathering, "/dev/disk/by-uuid"),
        links_in(gathering, "/dev/disk/by-label"),
        masters,
    ];
    let told: Map<String, Value> = KINDS
        .iter()
        .zip(&links)
        .map(|(kind, links)| ((*kind).to_owned(), json!(links)))
        .collect();
    facts.insert("device_links".to_owned(), told.into());
    let mut look = Look {
        gathering,
        links,
        inquiry: gathering.program("sg_inq"),
        pci: None,
    };
    let devices: Map<String, Value> = blocks
        .iter()
        .filter_map(|block| look.device(block))
        .collect();
    facts.insert("devices".to_owned(), devices.into());
    facts
}

fn links_in(gathering: &Gathering<'_, '_>, directory: &str) -> Links {
    let mut links = Links::new();
    for name in gathering.names(directory).unwrap_or_default() {
        if let Ok(target) = gathering.link(&format!("{directory}/{name}")) {
            links
                .entry(python::basename(&target).to_owned())
                .or_default()
                .insert(name);
        }
    }
    links
}

struct Look<'a, 'b, 'c> {
    gathering: &'a Gathering<'b, 'c>,
    links: [Links; 4],
    inquiry: Option<String>,
    /// What `lspci` says, once a device stands on that bus.
    pci: Option<String>,
}

impl Look<'_, '_, '_> {
    fn links_of(&self, device: &str) -> Value {
        KINDS
            .iter()
            .zip(&self.links)
            .map(|(kind, links)| {
                let names = links
                    .get(device)
                    .map_or_else(|| json!([]), |names| json!(names));
                ((*kind).to_owned(), names)
            })
            .collect::<Map<_, _>>()
            .into()
    }

    fn holders(&self, directory: &str) -> Value {
        let holders: Vec<String> = self
            .gathering
            .names(&format!("{directory}/holders"))
            .unwrap_or_default()
            .into_iter()
            .filter(|name| name.starts_with("dm-"))
            .map(|name| {
                self.gathering
                    .content(&format!("{directory}/holders/{name}/dm/name"))
                    .unwrap_or(name)
            })
            .collect();
        json!(holders)
    }

    fn device(&mut self, block: &str) -> Option<(String, Value)> {
        let gathering = self.gathering;
        let mut is_virtual = 1;
        let path = match gathering.link(&format!("/sys/block/{block}")) {
            Ok(path) => path,
            // Old kernels have directories there.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let there = gathering.names(&format!("/sys/block/{block}"));
                if there?.iter().any(|name| name.contains("device")) {
                    is_virtual = 0;
                }
                block.to_owned()
            }
            Err(_) => return None,
        };
        let directory = python::join("/sys/block", &path);
        let name = python::basename(&directory).to_owned();
        let read = |file: &str| gathering.content(&format!("{directory}/{file}"));
        let mut device = Map::new();
        let mut set = |key: &str, value: Value| device.insert(key.to_owned(), value);
        set("virtual", json!(is_virtual));
        set("links", self.links_of(block));
        for key in ["vendor", "model", "sas_address", "sas_device_handle"] {
            set(key, json!(read(&format!("device/{key}"))));
        }
        let serial = match &self.inquiry {
            Some(program) => inquired_serial(gathering, program, block),
            None => gathering.content(&format!("/sys/block/{block}/device/serial")),
        };
        if let Some(serial) = serial {
            set("serial", json!(serial));
        }
        set("removable", json!(read("removable")));
        set(
            "support_discard",
            if read("queue/discard_max_hw_bytes").as_deref() == Some("0") {
                json!("0")
            } else {
                json!(read("queue/discard_granularity"))
            },
        );
        let wide = self.links[0].get(&name).and_then(|names| {
            names
                .iter()
                .rev()
                .find_map(|name| name.strip_prefix("wwn-"))
        });
        if let Some(wide) = wide {
            set("wwn", json!(wide));
        }
        let mut partitions = Map::new();
        for folder in gathering.names(&directory).unwrap_or_default() {
            if let Some(partition) = partition_in(&folder, &name) {
                let told = self.partition(&directory, partition);
                partitions.insert(partition.to_owned(), told);
            }
        }
        set("partitions", partitions.into());
        set("rotational", json!(read("queue/rotational")));
        let scheduler = read("queue/scheduler").unwrap_or_default();
        let scheduler = scheduler
            .split_once('[')
            .and_then(|(_, rest)| rest.rsplit_once(']'))
            .map_or("", |(mode, _)| mode);
        set("scheduler_mode", json!(scheduler));
        let (shown, sector) = sector_size(gathering, &directory);
        set("sectorsize", shown);
        let sectors = whole(read("size")) * 512 / sector;
        set("sectors", json!(sectors));
        set(
            "size",
            json!(bytes_to_human(sectors as f64 * sector as f64)),
        );
        let host = match slot_in(&directory) {
            Some(slot) => self.host(slot),
            None => String::new(),
        };
        set("host", json!(host));
        set("holders", self.holders(&directory));
        Some((name, device.into()))
    }

    fn partition(&self, above: &str, name: &str) -> Value {
        let gathering = self.gathering;
        let directory = format!("{above}/{name}");
        let read = |file: &str| gathering.content(&format!("{directory}/{file}"));
        let (shown, sector) = sector_size(gathering, &directory);
        let sectors = whole(read("size")) * 512 / sector;
        json!({
            "links": self.links_of(name),
            "start": read("start").map_or_else(|| json!(0), |start| json!(start)),
            "sectorsize": shown,
            "sectors": sectors,
            "size": bytes_to_human(sectors as f64 * sector as f64),
            "uuid": uuid_of(gathering, name),
            "holders": self.holders(&directory),
        })
    }

    /// What stands in a slot of the PCI bus.
    fn host(&mut self, slot: &str) -> String {
        let gathering = self.gathering;
        let said = self.pci.get_or_insert_with(|| {
            gathering
                .program("lspci")
                .and_then(|program| gathering.run(&[&program, "-D"]))
                .map(|done| done.out())
                .unwrap_or_default()
        });
        said.lines()
            .find_map(|line| line.strip_prefix(slot)?.strip_prefix(char::is_whitespace))
            .unwrap_or("")
            .to_owned()
    }
}

fn whole(text: Option<String>) -> i64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The size of a sector as it is told, and as a number that can be divided by.
fn sector_size(gathering: &Gathering<'_, '_>, directory: &str) -> (Value, i64) {
    let told = gathering
        .content(&format!("{directory}/queue/logical_block_size"))
        .or_else(|| gathering.content(&format!("{directory}/queue/hw_sector_size")));
    let number = told
        .as_ref()
        .and_then(|size| size.parse().ok())
        .filter(|size| *size > 0)
        .unwrap_or(512);
    (told.map_or_else(|| json!(512), |size| json!(size)), number)
}

/// The UUID that leads to a partition under `/dev`.
fn uuid_of(gathering: &Gathering<'_, '_>, name: &str) -> Option<String> {
    const DIRECTORY: &str = "/dev/disk/by-uuid";
    gathering
        .names(DIRECTORY)?
        .into_iter()
        .find(|uuid| gathering.real(&format!("{DIRECTORY}/{uuid}")) == format!("/dev/{name}"))
}

/// The partition a directory of a disk is: the disk's name, perhaps a `p`, a number.
fn partition_in<'a>(folder: &'a str, disk: &str) -> Option<&'a str> {
    folder.match_indices(disk).find_map(|(at, _)| {
        let rest = &folder[at + disk.len()..];
        let number = rest.strip_prefix('p').unwrap_or(rest);
        let digits = number
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(number.len());
        let end = at + disk.len() + (rest.len() - number.len()) + digits;
        (digits > 0).then(|| &folder[at..end])
    })
}

/// The last slot of the PCI bus in a path: `0000:00:1f.2`.
fn slot_in(directory: &str) -> Option<&str> {
    let parts: Vec<&str> = directory.split('/').collect();
    let inner = parts.get(1..parts.len().checked_sub(1)?)?;
    inner.iter().rev().find(|part| is_slot(part)).copied()
}

fn is_slot(part: &str) -> bool {
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = part.split(':');
    let (Some(domain), Some(bus), Some(rest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Some((slot, function)) = rest.split_once('.') else {
        return false;
    };
    hex(domain, 4)
        && hex(bus, 2)
        && hex(slot, 2)
        && slot.starts_with(['0', '1'])
        && matches!(function.as_bytes(), [b'0'..=b'7'])
}

/// The serial number `sg_inq` tells.
fn inquired_serial(gathering: &Gathering<'_, '_>, program: &str, block: &str) -> Option<String> {
    let said = gathering.output(&[program, &format!("/dev/{block}")])?;
    let number = ["Unit serial number:", "Serial number:"]
        .iter()
        .filter_map(|label| said.find(label).map(|at| at + label.len()))
        .min()
        .map(|at| said[at..].trim_start())?;
    let end = number
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(number.len());
    (end > 0).then(|| number[..end].to_owned())
}
