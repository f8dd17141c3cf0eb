//! A connection string of PostgreSQL: what the driver understands, and what it says of TLS.
//!
//! Both forms are read, URLs and `key=value` pairs, and the environment variables of `libpq` that stand in for
//! what neither says, as Terraform's driver reads them.

use std::collections::BTreeMap;

use tokio_postgres::Config;

use crate::{Error, chain};

/// What concerns TLS, by its name in a connection string.
pub(crate) type TlsOptions = BTreeMap<&'static str, String>;

const TLS: [(&str, &str); 5] = [
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslsni", "PGSSLSNI"),
];

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::Remote(format!("conn_str: {why}"))
}

fn known(key: &str) -> Option<&'static str> {
    TLS.iter().map(|(name, _)| *name).find(|name| *name == key)
}

/// Reads `text`; `environment` gives environment variables.
pub(crate) fn parse(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(Config, TlsOptions), Error> {
    let mut tls = TlsOptions::new();
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let rest = if is_url {
        of_url(text, &mut tls)?
    } else {
        of_pairs(text, &mut tls)?
    };
    let mut config: Config = rest.parse().map_err(|error| wrong(chain(&error)))?;
    let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
    for (name, variable) in TLS {
        if !tls.contains_key(name)
            && let Some(value) = environment(variable)
        {
            tls.insert(name, value);
        }
    }
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host(environment("PGHOST").unwrap_or_else(|| "localhost".to_owned()));
    }
    if config.get_ports().is_empty()
        && let Some(port) = environment("PGPORT")
    {
        config.port(
            port.parse()
                .map_err(|_| wrong(format!("PGPORT {port:?} is no port")))?,
        );
    }
    if config.get_user().is_none()
        && let Some(user) = environment("PGUSER")
    {
        config.user(user);
    }
    if config.get_password().is_none()
        && let Some(password) = environment("PGPASSWORD")
    {
        config.password(password);
    }
    if config.get_dbname().is_none()
        && let Some(name) = environment("PGDATABASE")
    {
        config.dbname(name);
    }
    if config.get_application_name().is_none()
        && let Some(name) = environment("PGAPPNAME")
    {
        config.application_name(name);
    }
    Ok((config, tls))
}

/// Takes what concerns TLS out of a URL's query.
fn of_url(text: &str, tls: &mut TlsOptions) -> Result<String, Error> {
    let Some((base, query)) = text.split_once('?') else {
        return Ok(text.to_owned());
    };
    let mut left = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match known(key) {
            Some(name) => {
                tls.insert(name, decoded(value)?);
            }
            None => left.push(pair),
        }
    }
    Ok(if left.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", left.join("&"))
    })
}

fn decoded(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err(wrong("a percent sign without two digits")),
        }
    }
    String::from_utf8(bytes).map_err(wrong)
}

/// Takes what concerns TLS out of `key = value` pairs.
fn of_pairs(text: &str, tls: &mut TlsOptions) -> Result<String, Error> {
    let mut left = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest
            .split_once('=')
            .ok_or_else(|| wrong(format!("{:?} has no value", rest.trim_end())))?;
        let after = after.trim_start();
        let (value, next) = value(after)?;
        let raw = &after[..after.len() - next.len()];
        match known(key.trim()) {
            Some(name) => {
                tls.insert(name, value);
            }
            None => left.push_str(&format!("{}={raw} ", key.trim())),
        }
        rest = next.trim_start();
    }
    Ok(left)
}

/// A value, quoted or not, and what follows it.
fn value(text: &str) -> Result<(String, &str), Error> {
    let mut value = String::new();
    let quoted = text.starts_with('\'');
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            letter if !quoted && letter.is_whitespace() => return Ok((value, &text[at..])),
            letter => value.push(letter),
        }
    }
    if quoted {
        Err(wrong("a quote that does not end"))
    } else {
        Ok((value, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_the_environment_say_what_concerns_tls() {
        let environment = |name: &str| match name {
            "PGSSLMODE" => Some("verify-ca".to_owned()),
            "PGUSER" => Some("me".to_owned()),
            _ => None,
        };
        let (config, tls) = parse(
            "postgres://db.example:5433/x?sslmode=verify-full&connect_timeout=7&sslrootcert=/a%20b",
            environment,
        )
        .unwrap();
        assert_eq!(tls["sslmode"], "verify-full");
        assert_eq!(tls["sslrootcert"], "/a b");
        assert_eq!(config.get_ports(), [5433]);
        assert_eq!(config.get_user(), Some("me"));
        let (config, tls) = parse(
            r"host=h user = 'it\'s me' sslkey='/k y' dbname=d",
            environment,
        )
        .unwrap();
        assert_eq!(tls["sslmode"], "verify-ca");
        assert_eq!(tls["sslkey"], "/k y");
        assert_eq!(config.get_user(), Some("it's me"));
        assert_eq!(config.get_dbname(), Some("d"));
        assert!(parse("host", environment).is_err());
        assert!(parse("host='a", environment).is_err());
    }
}
