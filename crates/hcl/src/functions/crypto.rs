//! Digests, passwords, identifiers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use uuid::Uuid;

use super::arguments::{Result, integer, of_text, parameter, text};
use super::{Options, Table, file, rsa};
use crate::evaluate::{CallError, Function};
use crate::types::Type;
use crate::value::Value;

const PASSWORD_LIMIT: usize = 72;
const DEFAULT_COST: i64 = 10;

pub(super) fn add(table: &mut Table, options: &Options) {
    type Hash = fn(&[u8]) -> String;
    let digests: [(&str, &str, Hash); 6] = [
        ("md5", "filemd5", |bytes| hex(&Md5::digest(bytes))),
        ("sha1", "filesha1", |bytes| hex(&Sha1::digest(bytes))),
        ("sha256", "filesha256", |bytes| hex(&Sha256::digest(bytes))),
        ("sha512", "filesha512", |bytes| hex(&Sha512::digest(bytes))),
        ("base64sha256", "filebase64sha256", |bytes| {
            STANDARD.encode(Sha256::digest(bytes))
        }),
        ("base64sha512", "filebase64sha512", |bytes| {
            STANDARD.encode(Sha512::digest(bytes))
        }),
    ];
    for (name, of_file, hash) in digests {
        table.add(name, of_text(["str"], move |[s]| Ok(hash(s.as_bytes()))));
        let base_dir = options.base_dir.clone();
        table.add(
            of_file,
            of_text(["path"], move |[path]| {
                file::contents(&base_dir, path).map(|bytes| hash(&bytes))
            }),
        );
    }
    table.add(
        "rsadecrypt",
        of_text(["ciphertext", "privatekey"], |[text, key]| {
            rsa::decrypt(text, key)
        }),
    );
    table.add("uuidv5", of_text(["namespace", "name"], uuid_v5));
    let pure_only = options.pure_only;
    let random = Function::returning(Type::String, Vec::new(), None, move |_| {
        Ok(if pure_only {
            Value::unknown(Type::String)
        } else {
            Value::string(Uuid::new_v4().to_string())
        })
    });
    table.add("uuid", random.never_null());
    table.add("bcrypt", bcrypt_function(pure_only));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bcrypt_function(pure_only: bool) -> Function {
    let password = parameter("str", Type::String);
    let cost = parameter("cost", Type::Number);
    Function::returning(Type::String, vec![password], Some(cost), move |args| {
        if pure_only {
            return Ok(Value::unknown(Type::String));
        }
        let cost = if args.len() > 1 {
            integer(args, 1)?
        } else {
            DEFAULT_COST
        };
        if args.len() > 2 {
            return Err(CallError::new("bcrypt() takes no more than two arguments"));
        }
        let fail = |message: String| {
            CallError::new(format!("error occured generating password {message}"))
        };
        let password = text(args, 0);
        if password.len() > PASSWORD_LIMIT {
            return Err(fail("bcrypt: password length exceeds 72 bytes".to_owned()));
        }
        if cost > 31 {
            return Err(fail(format!(
                "crypto/bcrypt: cost {cost} is outside allowed range (4,31)"
            )));
        }
        let cost = if cost < 4 { DEFAULT_COST } else { cost };
        bcrypt::hash_with_result(password, cost as u32)
            .map(|hash| Value::string(hash.format_for_version(bcrypt::Version::TwoA)))
            .map_err(|e| fail(e.to_string()))
    })
    .never_null()
}

fn uuid_v5([namespace, name]: [&str; 2]) -> Result<String> {
    let space = match namespace {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => Uuid::try_parse(other).map_err(|_| {
            let why = match other.len() {
                32 | 36 | 38 | 45 => "invalid UUID format".to_owned(),
                length => format!("invalid UUID length: {length}"),
            };
            CallError::new(format!(
                "uuidv5() doesn't support namespace {other} ({why})"
            ))
        })?,
    };
    Ok(Uuid::new_v5(&space, name.as_bytes()).to_string())
}
