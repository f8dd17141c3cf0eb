//! Passwords and vaults.

use std::sync::Arc;

use consort_jinja::{Arguments, Environment, Error, Result, State, Takes, Value, integer};

use super::{add_all, flag, given, needed};
use crate::source::Encrypted;
use crate::template::context::{Shared, class, refused};
use crate::template::crypt::{Algorithm, Salted, hash};
use crate::vault;

pub(super) fn add(environment: &mut Environment, _: &Shared) {
    add_all(
        environment,
        &[("password_hash", password_hash), ("vault", encrypt)],
    );
    environment.add_filter("unvault", Takes::Anything, decrypt);
}

fn password_hash(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [kind, salt, size, rounds, ident] = arguments.bind(
        "get_encrypted_password",
        ["hashtype", "salt", "salt_size", "rounds", "ident"],
    )?;
    let kind = kind.map_or(Ok("sha512".to_owned()), |kind| {
        kind.text().map(|kind| kind.to_string())
    })?;
    let name = match kind.as_str() {
        "md5" => "md5_crypt",
        "blowfish" => "bcrypt",
        "sha256" => "sha256_crypt",
        "sha512" => "sha512_crypt",
        other => other,
    };
    let Ok(algorithm) = Algorithm::of(name) else {
        return refused(format!(
            "{name} is not in the list of supported passlib algorithms: md5, blowfish, sha256, sha512"
        ));
    };
    let text = |value: Option<Value>| -> Result<Option<String>> {
        given(value)
            .map(|value| value.text().map(|text| text.to_string()))
            .transpose()
    };
    let size = match given(size) {
        None => None,
        Some(Value::Int(size)) => Some(size),
        Some(_) => return refused("salt_size must be an integer"),
    };
    let salted = Salted {
        salt: text(salt)?,
        salt_size: size,
        rounds: given(rounds).map(|rounds| integer(&rounds)).transpose()?,
        ident: text(ident)?,
    };
    if salted.salt.is_none() {
        state.changes_from_call_to_call();
    }
    let password = value.text()?;
    hash(algorithm, &password, &salted)
        .map(Value::from)
        .map_err(Error::failed)
}

/// A text or bytes.
fn content(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Str(text) => Some(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}

fn encrypt(state: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [secret, salt, id, wrap] =
        arguments.bind("do_vault", ["secret", "salt", "vault_id", "wrap_object"])?;
    let secret = needed("do_vault", "secret", secret)?;
    let Some(password) = content(&secret) else {
        return refused(format!(
            "Secret passed is required to be a string, instead we got {}.",
            class(&secret)
        ));
    };
    let Some(data) = content(&value) else {
        return refused(format!(
            "Can only vault strings, instead we got {}.",
            class(&value)
        ));
    };
    let id = given(id).map_or(Ok("filter_default".to_owned()), |id| {
        id.text().map(|id| id.to_string())
    })?;
    let salt = given(salt).map(|salt| salt.text()).transpose()?;
    if salt.is_none() {
        state.changes_from_call_to_call();
    }
    let made = vault::encrypt(
        &data,
        &password,
        Some(&id),
        salt.as_deref().map(str::as_bytes),
    )
    .map_err(|error| Error::caused("Unable to encrypt.", Error::failed(error.to_string())))?;
    if flag(wrap)? {
        return Ok(Value::Object(Arc::new(Encrypted {
            ciphertext: made.into(),
            origin: None,
            trusted: false,
            reason: None,
        })));
    }
    Ok(Value::from(made))
}

fn decrypt(_: &mut State<'_, '_>, value: Value, arguments: &Arguments) -> Result<Value> {
    let [secret, id] = arguments.bind("do_unvault", ["secret", "vault_id"])?;
    let secret = needed("do_unvault", "secret", secret)?;
    let value = match &value {
        Value::Object(object) => match object.any().downcast_ref::<Encrypted>() {
            Some(encrypted) => Value::from(&*encrypted.ciphertext),
            None => value,
        },
        _ => value,
    };
    for argument in [Some(&value), Some(&secret), id.as_ref()]
        .into_iter()
        .flatten()
    {
        if argument.is_undefined() {
            return Ok(argument.clone());
        }
    }
    let Some(password) = content(&secret) else {
        return refused(format!(
            "Secret passed is required to be as string, instead we got {}.",
            class(&secret)
        ));
    };
    let Some(data) = content(&value) else {
        return refused(format!(
            "Vault should be in the form of a string, instead we got {}.",
            class(&value)
        ));
    };
    if !vault::is_encrypted(&data) {
        return Ok(Value::from(String::from_utf8_lossy(&data).into_owned()));
    }
    match vault::decrypt(&data, &password) {
        Ok(opened) => Ok(Value::from(String::from_utf8_lossy(&opened).into_owned())),
        Err(error) => Err(Error::caused(
            "Unable to decrypt.",
            Error::failed(error.to_string()),
        )),
    }
}

/// Whether a value is encrypted and was not opened.
pub(in crate::template) fn is_secret(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.any().is::<Encrypted>(),
        Value::Str(text) => vault::is_encrypted(text.as_bytes()),
        _ => false,
    }
}
