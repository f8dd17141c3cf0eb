//! Memory, firmware, load: what the machine is made of.

use serde_json::{Map, Value, json};

use super::{Facts, Gathering, devices, mounts, processor, storage};

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = processor::collect(gathering);
    facts.extend(memory(gathering));
    facts.extend(firmware(gathering));
    facts.extend(main_frame(gathering));
    facts.extend(devices::collect(gathering));
    if let Some(seconds) = gathering
        .content("/proc/uptime")
        .and_then(|text| text.split('.').next()?.parse::<i64>().ok())
    {
        facts.insert("uptime_seconds".to_owned(), json!(seconds));
    }
    facts.insert("lvm".to_owned(), storage::lvm(gathering));
    facts.insert("mounts".to_owned(), mounts::collect(gathering));
    facts
}

pub(super) fn load_average(gathering: &mut Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    let told = if gathering.live {
        nix::sys::sysinfo::sysinfo()
            .ok()
            .map(|told| told.load_average())
    } else {
        None
    };
    let told = told.or_else(|| {
        let text = gathering.content("/proc/loadavg")?;
        let mut words = text.split(' ').map(str::parse::<f64>);
        Some((
            words.next()?.ok()?,
            words.next()?.ok()?,
            words.next()?.ok()?,
        ))
    });
    if let Some((one, five, fifteen)) = told {
        facts.insert(
            "loadavg".to_owned(),
            json!({"1m": one, "5m": five, "15m": fifteen}),
        );
    }
    facts
}

/// The memory in MiB.
fn memory(gathering: &Gathering<'_, '_>) -> Facts {
    let mut facts = Facts::new();
    if !gathering.is_file("/proc/meminfo") {
        return facts;
    }
    let lines = gathering.lines("/proc/meminfo");
    let told = |name: &str| -> Option<i64> {
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let number: i64 = line.trim().split(' ').next()?.parse().ok()?;
        Some(number / 1024)
    };
    for name in ["MemTotal", "MemFree", "SwapTotal", "SwapFree"] {
        if let Some(size) = told(name) {
            facts.insert(format!("{}_mb", name.to_lowercase()), json!(size));
        }
    }
    let less = |one: Option<i64>, other: Option<i64>| Some(one? - other?);
    let (total, free) = (told("MemTotal"), told("MemFree"));
    let unused = (|| Some(told("Cached")? + free? + told("Buffers")?))();
    facts.insert(
        "memory_mb".to_owned(),
        json!({
            "real": {"total": total, "used": less(total, free), "free": free},
            "nocache": {"free": unused, "used": less(total, unused)},
            "swap": {
                "total": told("SwapTotal"),
                "free": told("SwapFree"),
                "used": less(told("SwapTotal"), told("SwapFree")),
                "cached": told("SwapCached"),
            },
        }),
    );
    facts
}

/// What the firmware tells: the fact, the file of the kernel, and the name `dmidecode` has for it.
const FIRMWARE: [(&str, &str, &str); 18] = [
    ("bios_date", "bios_date", "bios-release-date"),
    ("bios_vendor", "bios_vendor", "bios-vendor"),
    ("bios_version", "bios_version", "bios-version"),
    ("board_asset_tag", "board_asset_tag", "baseboard-asset-tag"),
    ("board_name", "board_name", "baseboard-product-name"),
    ("board_serial", "board_serial", "baseboard-serial-number"),
    ("board_vendor", "board_vendor", "baseboard-manufacturer"),
    ("board_version", "board_version", "baseboard-version"),
    (
        "chassis_asset_tag",
        "chassis_asset_tag",
        "chassis-asset-tag",
    ),
    ("chassis_serial", "chassis_serial", "chassis-serial-number"),
    ("chassis_vendor", "chassis_vendor", "chassis-manufacturer"),
    ("chassis_version", "chassis_version", "chassis-version"),
    ("form_factor", "chassis_type", "chassis-type"),
    ("product_name", "product_name", "system-product-name"),
    ("product_serial", "product_serial", "system-serial-number"),
    ("product_uuid", "product_uuid", "system-uuid"),
    ("product_version", "product_version", "system-version"),
    ("system_vendor", "sys_vendor", "system-manufacturer"),
];

/// The kinds of chassis by their numbers in the standard of the firmware's tables (DSP0134).
const FORM_FACTORS: [&str; 37] = [
    "Unknown",
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All In One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosure",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
];

fn firmware(gathering: &Gathering<'_, '_>) -> Facts {
    const PLACE: &str = "/sys/devices/virtual/dmi/id";
    let by_kernel = gathering.exists(&format!("{PLACE}/product_name"));
    let program = if by_kernel {
        None
    } else {
        gathering.program("dmidecode")
    };
    FIRMWARE
        .iter()
        .map(|(fact, file, word)| {
            let told = if by_kernel {
                gathering.content(&format!("{PLACE}/{file}")).map(|text| {
                    if *fact != "form_factor" {
                        return text;
                    }
                    text.parse::<usize>()
                        .ok()
                        .and_then(|number| FORM_FACTORS.get(number))
                        .map_or_else(|| format!("unknown ({text})"), |name| (*name).to_owned())
                })
            } else {
                program
                    .as_ref()
                    .and_then(|program| gathering.output(&[program, "-s", word]))
                    .map(|said| said.lines().filter(|line| !line.starts_with('#')).collect())
            };
            let told = told.unwrap_or_else(|| "NA".to_owned());
            ((*fact).to_owned(), json!(told))
        })
        .collect()
}

/// What an IBM Z tells in place of that.
fn main_frame(gathering: &Gathering<'_, '_>) -> Facts {
    let mut facts = Map::new();
    if !gathering.exists("/proc/sysinfo") {
        return facts;
    }
    for name in [
        "system_vendor",
        "product_version",
        "product_serial",
        "product_name",
        "product_uuid",
    ] {
        facts.insert(name.to_owned(), Value::from("NA"));
    }
    for line in gathering.lines("/proc/sysinfo") {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim_start();
        let (fact, value) = match name {
            "Manufacturer" => ("system_vendor", value),
            "Type" => ("product_name", value),
            "Sequence Code" if value.starts_with('0') => {
                ("product_serial", value.trim_start_matches('0'))
            }
            _ => continue,
        };
        if !value.is_empty() {
            facts.insert(fact.to_owned(), json!(value));
        }
    }
    facts
}
