//! The commands that need no network.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

/// `sleep`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Sleep {
    /// How long: seconds, or a number with ms, s, m, h or d; `infinity` for ever
    #[arg(value_parser = time)]
    time: Time,
}

#[derive(Clone, Copy, Debug)]
enum Time {
    For(Duration),
    Ever,
}

fn time(text: &str) -> Result<Time, String> {
    match text {
        "infinity" | "inf" => Ok(Time::Ever),
        text => super::duration(text).map(Time::For),
    }
}

/// Ends at once when asked to. The kernel gives a container's first process no default for that.
pub(crate) async fn sleep(args: &Sleep) -> anyhow::Result<u8> {
    let over = async {
        match args.time {
            Time::For(time) => tokio::time::sleep(time).await,
            Time::Ever => std::future::pending().await,
        }
    };
    tokio::select! {
        () = over => Ok(0),
        asked = super::asked_to_end() => asked.map(|()| 143).map_err(Into::into),
    }
}

/// `env`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Env {
    /// Only these, values only; fails when one is not set
    names: Vec<OsString>,
}

pub(crate) fn env(args: &Env) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    if args.names.is_empty() {
        let mut all: Vec<_> = std::env::vars_os().collect();
        all.sort();
        for (name, value) in all {
            out.write_all(&[name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat())?;
        }
        return Ok(0);
    }
    let mut code = 0;
    for name in &args.names {
        match std::env::var_os(name) {
            Some(value) => out.write_all(&[value.as_bytes(), b"\n"].concat())?,
            None => code = 1,
        }
    }
    Ok(code)
}

/// `cat`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Cat {
    /// Files; `-` and none are the standard input
    files: Vec<PathBuf>,
}

pub(crate) fn cat(args: &Cat) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let standard_input = [PathBuf::from("-")];
    let files = match args.files.as_slice() {
        [] => &standard_input,
        files => files,
    };
    for path in files {
        if path == Path::new("-") {
            io::copy(&mut io::stdin().lock(), &mut out)?;
        } else {
            let name = || path.display().to_string();
            let mut file = fs::File::open(path).with_context(name)?;
            anyhow::ensure!(
                !file.metadata()?.is_dir(),
                "{}: is a directory",
                path.display()
            );
            io::copy(&mut file, &mut out)?;
        }
    }
    out.flush()?;
    Ok(0)
}

/// `ls`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Ls {
    /// Show type, permissions, owner and size
    #[arg(short, long)]
    long: bool,
    /// Show names that begin with a dot
    #[arg(short, long)]
    all: bool,
    /// Files and directories; the present one by default
    paths: Vec<PathBuf>,
}

pub(crate) fn ls(args: &Ls) -> anyhow::Result<u8> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let here = [PathBuf::from(".")];
    let paths = match args.paths.as_slice() {
        [] => &here,
        paths => paths,
    };
    for path in paths {
        let name = || path.display().to_string();
        if !fs::metadata(path).with_context(name)?.is_dir() {
            line(&mut out, path, path.as_os_str().as_bytes(), args.long)?;
            continue;
        }
        if paths.len() > 1 {
            writeln!(out, "{}:", path.display())?;
        }
        let entries = fs::read_dir(path).with_context(name)?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.retain(|name| args.all || !name.as_bytes().starts_with(b"."));
        names.sort();
        for name in names {
            line(&mut out, &path.join(&name), name.as_bytes(), args.long)?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn line(out: &mut impl io::Write, path: &Path, name: &[u8], long: bool) -> anyhow::Result<()> {
    if long {
        let stat = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
        let kind = stat.file_type();
        let letter = if kind.is_dir() {
            'd'
        } else if kind.is_symlink() {
            'l'
        } else if kind.is_char_device() {
            'c'
        } else if kind.is_block_device() {
            'b'
        } else if kind.is_fifo() {
            'p'
        } else if kind.is_socket() {
            's'
        } else {
            '-'
        };
        let (mode, uid, gid, size) = (stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.len());
        write!(out, "{letter}{mode:04o} {uid:>5} {gid:>5} {size:>10} ")?;
    }
    out.write_all(name)?;
    if long && let Ok(target) = fs::read_link(path) {
        write!(out, " -> {}", target.display())?;
    }
    out.write_all(b"\n")?;
    Ok(())
}

/// `echo`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Echo {
    /// Do not end the line
    #[arg(short = 'n')]
    no_newline: bool,
    /// What to print, joined by blanks
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

pub(crate) fn echo(args: &Echo) -> anyhow::Result<u8> {
    let words: Vec<_> = args.words.iter().map(|word| word.as_bytes()).collect();
    let mut text = words.join(&b' ');
    if !args.no_newline {
        text.push(b'\n');
    }
    io::stdout().lock().write_all(&text)?;
    Ok(0)
}
