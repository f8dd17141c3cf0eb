//! Passwords that are made once and kept in files.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use consort_jinja::{Error, Result, Str, Value, integer, repr};
use sha1::Digest as _;

use super::{Call, read_number};
use crate::language::split_pairs;
use crate::template::context::{blocking, refused};
use crate::template::crypt::{Algorithm, Salted, hash, random_salt};
use crate::template::mersenne::Random;

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";

pub(super) fn password(call: &mut Call<'_, '_, '_, '_>) -> Result<Vec<Value>> {
    let given = call.named.clone();
    let mut made = Vec::new();
    for term in call.texts()? {
        call.named.clone_from(&given);
        made.push(Value::from(one(call, &term)?));
    }
    Ok(made)
}

fn one(call: &mut Call<'_, '_, '_, '_>, term: &Str) -> Result<String> {
    let path = parameters(call, term)?;
    let path = call.beside_playbook(&path);
    let length = match call.option("length") {
        None => 20,
        Some(Value::Str(text)) => {
            read_number(&text).ok_or_else(|| Error::failed("length must be an integer"))?
        }
        Some(length) => integer(&length)?,
    };
    let letters = letters(call.option("chars"))?;
    let seed = call.option("seed");
    let encrypt = call
        .option("encrypt")
        .map(|name| name.text())
        .transpose()?
        .filter(|name| !name.is_empty());
    let wanted = call.option("ident").map(|ident| ident.text()).transpose()?;
    let nowhere = path == "/dev/null";
    let lock = Lock::take(&path, nowhere)?;
    let kept = if nowhere { None } else { read(&path)? };
    let mut changed = kept.is_none();
    let (plain, mut salt, stored) = match kept {
        Some(content) => parse(&content),
        None => {
            let mut source = Random::of(seed.as_ref()).map_err(Error::failed)?;
            if letters.is_empty() {
                return refused("Cannot choose from an empty sequence");
            }
            let plain = (0..length.clamp(0, 100_000))
                .map(|_| letters[source.below(letters.len())])
                .collect();
            (plain, None, None)
        }
    };
    let algorithm = match &encrypt {
        Some(name) => Some(Algorithm::of(name).map_err(Error::failed)?),
        None => None,
    };
    if let Some(algorithm) = algorithm
        && salt.is_none()
    {
        changed = true;
        salt = Some(random_salt(algorithm.salt_size().0));
    }
    let mut ident = match (stored, wanted) {
        (None, wanted) => wanted.map(|wanted| wanted.to_string()),
        (Some(stored), Some(wanted)) if stored != *wanted => {
            return refused(format!(
                "The ident parameter provided ({}) does not match the stored one ({stored}).",
                &*wanted
            ));
        }
        (stored, _) => stored,
    };
    if algorithm == Some(Algorithm::Bcrypt) && ident.is_none() {
        ident = Some("2b".to_owned());
        changed = true;
    }
    if changed && !nowhere {
        let mut content = plain.clone();
        if let Some(salt) = &salt {
            content.push_str(" salt=");
            content.push_str(salt);
            if let Some(ident) = &ident {
                content.push_str(" ident=");
                content.push_str(ident);
            }
        }
        write(&path, &content)?;
    }
    drop(lock);
    match algorithm {
        None => Ok(plain),
        Some(algorithm) => hash(
            algorithm,
            &plain,
            &Salted {
                salt,
                ident,
                ..Salted::default()
            },
        )
        .map_err(Error::failed),
    }
}

/// Sets the options that stand after the path in a term, and gives the path.
fn parameters(call: &mut Call<'_, '_, '_, '_>, term: &Str) -> Result<String> {
    let Some((first, rest)) = term.split_once(' ') else {
        return Ok(term.to_string());
    };
    let pairs =
        split_pairs(&Str::new(rest), false).map_err(|error| Error::failed(error.brief()))?;
    let mut path = first.to_owned();
    if let Some(more) = pairs.get("_raw_params") {
        path = format!("{path} {}", &*more.text()?);
        if !term.starts_with(&path) {
            return refused(
                "Unrecognized value after key=value parameters given to password lookup",
            );
        }
    }
    let mut unknown = Vec::new();
    for (key, value) in pairs.read().iter() {
        match key.as_str() {
            Some("_raw_params") => {}
            Some(name @ ("length" | "encrypt" | "chars" | "ident" | "seed")) => {
                call.set(name, value.clone());
            }
            other => unknown.push(other.unwrap_or("").to_owned()),
        }
    }
    if unknown.is_empty() {
        Ok(path)
    } else {
        refused(format!(
            "Unrecognized parameter(s) given to password lookup: {}",
            unknown.join(", ")
        ))
    }
}

/// The letters a password is made of.
fn letters(written: Option<Value>) -> Result<Vec<char>> {
    let specs: Vec<String> = match written {
        None => ["ascii_letters", "digits", ".,:-_"]
            .map(str::to_owned)
            .to_vec(),
        Some(Value::Str(text)) => {
            let mut specs = Vec::new();
            if text.contains(",,") {
                specs.push(",".to_owned());
            }
            specs.extend(
                text.replace(",,", ",")
                    .split(',')
                    .filter(|spec| !spec.is_empty())
                    .map(str::to_owned),
            );
            specs
        }
        Some(list) => list
            .iterate()?
            .iter()
            .map(|spec| spec.text().map(|spec| spec.to_string()))
            .collect::<Result<_>>()?,
    };
    let mut letters = String::new();
    for spec in &specs {
        match spec.as_str() {
            "ascii_letters" => letters.push_str(LETTERS),
            "ascii_lowercase" => letters.push_str(&LETTERS[..26]),
            "ascii_uppercase" => letters.push_str(&LETTERS[26..]),
            "digits" => letters.push_str(DIGITS),
            "hexdigits" => letters.push_str("0123456789abcdefABCDEF"),
            "octdigits" => letters.push_str("01234567"),
            "punctuation" => letters.push_str("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
            "whitespace" => letters.push_str(" \t\n\r\u{b}\u{c}"),
            "printable" => {
                letters.push_str(DIGITS);
                letters.push_str(LETTERS);
                letters.push_str("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \t\n\r\u{b}\u{c}");
            }
            other => letters.push_str(other),
        }
    }
    Ok(letters
        .chars()
        .filter(|c| !matches!(c, '"' | '\''))
        .collect())
}

fn io(error: &std::io::Error, path: &str) -> Error {
    Error::failed(crate::source::python_error(error, path))
}

fn read(path: &str) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(
            String::from_utf8_lossy(&content).trim_end().to_owned(),
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(&error, path)),
    }
}

/// Password, salt and ident of a file.
fn parse(content: &str) -> (String, Option<String>, Option<String>) {
    let Some((password, rest)) = content.rsplit_once(" salt=") else {
        return (content.to_owned(), None, None);
    };
    if rest.is_empty() {
        return (password.to_owned(), None, None);
    }
    match rest.rsplit_once(" ident=") {
        Some((salt, ident)) => (
            password.to_owned(),
            Some(salt.to_owned()),
            Some(ident.to_owned()),
        ),
        None => (password.to_owned(), Some(rest.to_owned()), None),
    }
}

fn directory(path: &str) -> Result<()> {
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(|error| {
            Error::failed(format!(
                "Unable to create local directories({}): {error}",
                parent.display()
            ))
        })
}

/// Writes the file whole or not at all.
fn write(path: &str, content: &str) -> Result<()> {
    directory(path)?;
    let beside = format!("{path}.{}", random_salt(8).replace('/', "_"));
    let done = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(format!("{content}\n").as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&beside, path));
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done.map_err(|error| io(&error, path))
}

/// Keeps others from making the same password at the same time.
struct Lock(Option<PathBuf>);

impl Lock {
    fn take(path: &str, nowhere: bool) -> Result<Self> {
        if nowhere {
            return Ok(Lock(None));
        }
        directory(path)?;
        let name = super::super::filters::hex(&sha1::Sha1::digest(path.as_bytes()));
        let file = Path::new(path)
            .parent()
            .unwrap_or(Path::new("/"))
            .join(format!("{name}.ansible_lockfile"));
        for _ in 0..70 {
            match OpenOptions::new().write(true).create_new(true).open(&file) {
                Ok(_) => return Ok(Lock(Some(file))),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io(&error, &file.to_string_lossy())),
            }
            blocking(|| std::thread::sleep(Duration::from_millis(100)));
        }
        refused(format!(
            "Password lookup cannot get the lock in 7 seconds, abort...This may caused by un-removed lockfileyou can \
             manually remove it from controller machine at {} and try again",
            repr::text(&Value::from(&*file.to_string_lossy()))
        ))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}
