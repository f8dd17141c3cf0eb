//! What the system tells of a file, as `stat` and `find` report it.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use serde_json::{Map, Value, json};

use crate::times;

/// The keys both have; sizes in bytes, times in seconds since 1970.
pub(crate) fn of(shown: &str, meta: &Metadata) -> Map<String, Value> {
    let mode = meta.mode();
    let kind = meta.file_type();
    let Value::Object(told) = json!({
        "path": shown,
        "mode": format!("{:04o}", mode & 0o7777),
        "isdir": kind.is_dir(),
        "ischr": kind.is_char_device(),
        "isblk": kind.is_block_device(),
        "isreg": kind.is_file(),
        "isfifo": kind.is_fifo(),
        "islnk": kind.is_symlink(),
        "issock": kind.is_socket(),
        "uid": meta.uid(),
        "gid": meta.gid(),
        "size": meta.size(),
        "inode": meta.ino(),
        "dev": meta.dev(),
        "nlink": meta.nlink(),
        "atime": times::accessed(meta),
        "mtime": times::modified(meta),
        "ctime": times::changed(meta),
        "wusr": mode & 0o200 != 0,
        "rusr": mode & 0o400 != 0,
        "xusr": mode & 0o100 != 0,
        "wgrp": mode & 0o020 != 0,
        "rgrp": mode & 0o040 != 0,
        "xgrp": mode & 0o010 != 0,
        "woth": mode & 0o002 != 0,
        "roth": mode & 0o004 != 0,
        "xoth": mode & 0o001 != 0,
        "isuid": mode & 0o4000 != 0,
        "isgid": mode & 0o2000 != 0,
        "blocks": meta.blocks(),
        "disk_usage_bytes": meta.blocks() * 512,
    }) else {
        return Map::new();
    };
    told
}
