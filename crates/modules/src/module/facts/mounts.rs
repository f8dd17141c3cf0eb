//! What is mounted.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::mpsc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::Gathering;

pub(super) fn collect(gathering: &mut Gathering<'_, '_>) -> Value {
    let bound = bind_mounts(gathering);
    let mut told: IndexMap<String, Map<String, Value>> = IndexMap::new();
    let table = gathering
        .content("/etc/mtab")
        .or_else(|| gathering.content("/proc/mounts"))
        .unwrap_or_default();
    for line in table.lines() {
        let fields: Vec<String> = line.split_whitespace().map(unescaped).collect();
        let [device, mount, kind, options, dump, pass, ..] = fields.as_slice() else {
            continue;
        };
        let is_device = device.starts_with(['/', '\\']) || device.contains(":/");
        if !is_device || kind == "none" {
            continue;
        }
        let mut options = options.clone();
        if bound.contains(mount) && !is_told_bound(&options) {
            options.push_str(",bind");
        }
        let mut entry = Map::new();
        entry.insert("mount".to_owned(), json!(mount));
        entry.insert("device".to_owned(), json!(device));
        entry.insert("fstype".to_owned(), json!(kind));
        entry.insert("options".to_owned(), json!(options));
        entry.insert("dump".to_owned(), json!(dump.parse::<i64>().unwrap_or(0)));
        entry.insert("passno".to_owned(), json!(pass.parse::<i64>().unwrap_or(0)));
        told.insert(mount.clone(), entry);
    }
    let mut uuids: HashMap<String, String> = HashMap::new();
    for (mount, entry) in &mut told {
        let device = entry["device"].as_str().unwrap_or("").to_owned();
        let kind = entry["fstype"].as_str().unwrap_or("");
        match size_of(gathering, mount, kind) {
            Some(size) => entry.extend(size),
            None => {
                gathering.context.warn(format!(
                    "Timeout exceeded when getting mount info for {mount}"
                ));
                entry.insert(
                    "note".to_owned(),
                    json!("Could not get extra information due to timeout"),
                );
                continue;
            }
        }
        let uuid = uuids
            .entry(device.clone())
            .or_insert_with(|| uuid_of(gathering, &device).unwrap_or_else(|| "N/A".to_owned()));
        entry.insert("uuid".to_owned(), json!(uuid));
    }
    told.into_values().map(Value::from).collect()
}

/// Options of an entry in an old `mtab` that say themselves that it is bound.
fn is_told_bound(options: &str) -> bool {
    options
        .find("bind")
        .is_some_and(|at| options[at..].contains('"'))
}

/// A field of the table: what a path may not have in it stands there as an octal number.
fn unescaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| u32::from_str_radix(digits, 8).ok())
            .and_then(char::from_u32);
        match code {
            Some(character) => {
                text.push(character);
                rest = &rest[at + 4..];
            }
            None => {
                text.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// The mounts whose root is not that of their file system, as `findmnt` marks them.
fn bind_mounts(gathering: &Gathering<'_, '_>) -> BTreeSet<String> {
    if gathering.program("findmnt").is_none() {
        return BTreeSet::new();
    }
    gathering
        .content("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, mount) = (fields.next()?, fields.next()?);
            (root != "/").then(|| unescaped(mount))
        })
        // A name with blanks in it is not found in what findmnt prints.
        .filter(|mount| !mount.contains(char::is_whitespace))
        .collect()
}

/// Kinds of file systems that answer at once, because nothing beyond the machine is asked.
const LOCAL: [&str; 16] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "exfat", "f2fs", "zfs", "squashfs", "iso9660",
    "udf", "erofs", "overlay", "tmpfs", "ntfs3",
];

/// The sizes of a mounted file system, none if it does not tell them; `None` if it took too long.
fn size_of(gathering: &Gathering<'_, '_>, mount: &str, kind: &str) -> Option<Map<String, Value>> {
    if !gathering.live {
        return Some(Map::new());
    }
    if LOCAL.contains(&kind) {
        return Some(size(mount).unwrap_or_default());
    }
    within(gathering.timeout, mount)
}

/// Asks a file system that may hang. The thread that asks cannot be taken back while the kernel waits: it ends when the
/// kernel lets it go, and holds nothing of this call.
fn within(limit: Duration, mount: &str) -> Option<Map<String, Value>> {
    let (tell, told) = mpsc::sync_channel(1);
    let mount = mount.to_owned();
    let asked = std::thread::Builder::new()
        .name("statvfs".to_owned())
        .spawn(move || {
            // Nobody listens any more if it took too long.
            let _ = tell.send(size(&mount).unwrap_or_default());
        });
    match asked {
        Ok(_) => told.recv_timeout(limit).ok(),
        Err(_) => Some(Map::new()),
    }
}

/// The sizes of the file system at a path.
pub(crate) fn size(mount: &str) -> Option<Map<String, Value>> {
    let told = nix::sys::statvfs::statvfs(mount).ok()?;
    let fragment = told.fragment_size();
    let (blocks, available) = (told.blocks(), told.blocks_available());
    Some(Map::from_iter([
        (
            "size_total".to_owned(),
            json!(fragment.saturating_mul(blocks)),
        ),
        (
            "size_available".to_owned(),
            json!(fragment.saturating_mul(available)),
        ),
        ("block_size".to_owned(), json!(told.block_size())),
        ("block_total".to_owned(), json!(blocks)),
        ("block_available".to_owned(), json!(available)),
        (
            "block_used".to_owned(),
            json!(blocks.saturating_sub(available)),
        ),
        ("inode_total".to_owned(), json!(told.files())),
        ("inode_available".to_owned(), json!(told.files_available())),
        (
            "inode_used".to_owned(),
            json!(told.files().saturating_sub(told.files_available())),
        ),
    ]))
}

/// The UUID of the file system on a device: as udev recorded it, as it stands under `/dev/disk`, or read from the device.
pub(crate) fn uuid_of(gathering: &Gathering<'_, '_>, device: &str) -> Option<String> {
    if !device.starts_with("/dev/") {
        return None;
    }
    let number = std::fs::metadata(gathering.path(device)).ok()?.rdev();
    let (major, minor) = (libc::major(number), libc::minor(number));
    if let Some(record) = gathering.text(&format!("/run/udev/data/b{major}:{minor}")) {
        return record
            .lines()
            .find_map(|line| line.strip_prefix("E:ID_FS_UUID="))
            .map(str::to_owned);
    }
    // What the kernel does not list, lsblk does not either.
    if gathering.program("lsblk").is_none()
        || !gathering.exists(&format!("/sys/dev/block/{major}:{minor}"))
    {
        return None;
    }
    probed(&std::fs::File::open(gathering.path(device)).ok()?)
}

/// The UUID in the superblock of the usual file systems.
fn probed(file: &std::fs::File) -> Option<String> {
    let read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    };
    let uuid = |bytes: &[u8]| {
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        (bytes != [0; 16]).then(|| uuid::Uuid::from_bytes(bytes).to_string())
    };
    let head = read(0, 2048)?;
    if head[1024 + 56..1024 + 58] == [0x53, 0xef] {
        return uuid(&head[1024 + 104..1024 + 120]);
    }
    if &head[..4] == b"XFSB" {
        return uuid(&head[32..48]);
    }
    if &head[82..87] == b"FAT32" || &head[54..58] == b"FAT1" {
        let at = if &head[82..87] == b"FAT32" { 67 } else { 39 };
        let number = u32::from_le_bytes(head[at..at + 4].try_into().ok()?);
        return Some(format!("{:04X}-{:04X}", number >> 16, number & 0xffff));
    }
    let btrfs = read(65536, 128)?;
    if &btrfs[64..72] == b"_BHRfS_M" {
        return uuid(&btrfs[32..48]);
    }
    None
}
