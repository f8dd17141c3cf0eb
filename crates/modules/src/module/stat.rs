//! `stat`: what there is to know of a file.

use std::os::unix::fs::MetadataExt as _;
use std::sync::LazyLock;

use nix::unistd::{AccessFlags, access};
use serde_json::{Map, Value, json};

use crate::arguments::{Spec, boolean, path, text};
use crate::attributes::{flags_of, group_name, real_path, user_name};
use crate::context::Context;
use crate::digest;
use crate::invocation::{Failure, Invocation, Outcome, Report};
use crate::process::{self, Command};
use crate::python;
use crate::registry::Module;
use crate::{selinux, status};

pub(crate) const MODULE: Module = Module { name: "stat", act };

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    Spec::new()
        .with("path", path().required().aliases(&["dest", "name"]))
        .with("follow", boolean().default(false))
        .with("get_checksum", boolean().default(true))
        .with(
            "get_mime",
            boolean()
                .default(true)
                .aliases(&["mime", "mime_type", "mime-type"]),
        )
        .with(
            "get_attributes",
            boolean().default(true).aliases(&["attr", "attributes"]),
        )
        .with("get_selinux_context", boolean().default(false))
        .with(
            "checksum_algorithm",
            text()
                .default("sha1")
                .choices(&digest::ALGORITHMS)
                .aliases(&["checksum", "checksum_algo"]),
        )
        .supports_check_mode()
});

fn act(context: &mut Context<'_>, invocation: &Invocation) -> Outcome {
    let arguments = context.arguments(&SPEC, invocation)?;
    let shown = arguments.required("path");
    let path = context.path(shown);
    let meta = if arguments.flag("follow") {
        std::fs::metadata(&path)
    } else {
        std::fs::symlink_metadata(&path)
    };
    let told = |stat: Value| {
        Report::from_iter([
            ("changed".to_owned(), false.into()),
            ("stat".to_owned(), stat),
        ])
    };
    let meta = match meta {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(told(json!({"exists": false})));
        }
        Err(error) => {
            return Err(Failure::new(
                error
                    .raw_os_error()
                    .map_or_else(|| error.to_string(), |n| python::strerror(n).to_owned()),
            )
            .because(python::os_error_at(&error, &path)));
        }
    };
    let mut stat = basics(shown, &meta);
    let mut add = |key: &str, value: Value| {
        stat.insert(key.to_owned(), value);
    };
    let may = |flags| access(path.as_path(), flags).is_ok();
    let readable = may(AccessFlags::R_OK);
    add("readable", readable.into());
    add("writeable", may(AccessFlags::W_OK).into());
    add("executable", may(AccessFlags::X_OK).into());
    if meta.file_type().is_symlink() {
        add("lnk_source", real_path(context, shown).into());
        if let Ok(target) = std::fs::read_link(&path) {
            add("lnk_target", target.to_string_lossy().into_owned().into());
        }
    }
    if let Some(name) = user_name(meta.uid()) {
        add("pw_name", name.into());
    }
    if let Some(name) = group_name(meta.gid()) {
        add("gr_name", name.into());
    }
    if meta.is_file() && readable && arguments.flag("get_checksum") {
        let checksum = digest::of_file(&path, shown, arguments.required("checksum_algorithm"))?;
        add("checksum", checksum.map_or(Value::Null, Value::from));
    }
    if arguments.flag("get_mime") {
        let (kind, charset) = mime(context, shown);
        add("mimetype", kind.into());
        add("charset", charset.into());
    }
    if arguments.flag("get_attributes") {
        let flags = flags_of(context, &path, true);
        add(
            "version",
            flags
                .as_ref()
                .and_then(|flags| flags.version.clone())
                .map_or(Value::Null, Value::from),
        );
        let flags = flags.unwrap_or_default();
        add("attributes", flags.words().into());
        add("attr_flags", flags.flags.into());
    }
    if arguments.flag("get_selinux_context") {
        let parts: Vec<Value> = selinux::context_of(&path)
            .into_iter()
            .map(|part| part.map_or(Value::Null, Value::from))
            .collect();
        add("selinux_context", parts.into());
    }
    Ok(told(stat.into()))
}

/// What the system tells by itself.
fn basics(shown: &str, meta: &std::fs::Metadata) -> Map<String, Value> {
    let mut stat = status::of(shown, meta);
    stat.insert("exists".to_owned(), true.into());
    stat.insert("block_size".to_owned(), meta.blksize().into());
    stat.insert("device_type".to_owned(), meta.rdev().into());
    stat
}

/// The media type and the encoding of a file, as the program `file` tells them.
fn mime(context: &Context<'_>, shown: &str) -> (String, String) {
    let unknown = || ("unknown".to_owned(), "unknown".to_owned());
    let Some(program) = process::find(context, "file", &[]) else {
        return unknown();
    };
    let Ok(done) =
        Command::new([program.as_str(), "--mime-type", "--mime-encoding", shown]).run(context)
    else {
        return unknown();
    };
    if !done.success() {
        return unknown();
    }
    let out = done.out();
    let Some((kind, charset)) = out
        .rsplit_once(':')
        .and_then(|(_, told)| told.split_once(';'))
    else {
        return unknown();
    };
    let charset = charset
        .split_once('=')
        .map_or("unknown", |(_, name)| name.trim());
    (kind.trim().to_owned(), charset.to_owned())
}
