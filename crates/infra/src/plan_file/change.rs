//! Changes and values in a saved plan.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use consort_hcl::{Marks, Path, Step, Type, Value, msgpack};
use serde::{Deserialize, Serialize};

use super::{Error, invalid};
use crate::engine::{Action, Change, Identities, Importing, OutputChange, Reason};

#[derive(Serialize, Deserialize)]
pub(super) struct FileValue {
    value: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sensitive: Vec<FilePath>,
}

pub(super) type FilePath = Vec<FileStep>;

#[derive(Serialize, Deserialize)]
pub(super) enum FileStep {
    Attribute(String),
    Index(String),
}

#[derive(Serialize, Deserialize)]
pub(super) struct FileChange {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deposed: Option<String>,
    provider: String,
    actions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    before: FileValue,
    after: FileValue,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replace_paths: Vec<FilePath>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    private: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    importing: Option<FileImporting>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generated_config: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct FileImporting {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FileOutput {
    actions: Vec<String>,
    before: FileValue,
    after: FileValue,
    sensitive: bool,
}

impl FileOutput {
    pub(super) fn put(change: &OutputChange) -> Result<Self, Error> {
        Ok(FileOutput {
            actions: put_action(change.action),
            before: FileValue::put(&change.before)?,
            after: FileValue::put(&change.after)?,
            sensitive: change.sensitive,
        })
    }

    pub(super) fn take(&self) -> Result<OutputChange, Error> {
        Ok(OutputChange {
            action: take_action(&self.actions)?,
            before: self.before.take()?,
            after: self.after.take()?,
            sensitive: self.sensitive,
        })
    }
}

fn put_value(value: &Value) -> Result<String, Error> {
    msgpack::encode(value, &Type::Dynamic)
        .map(|bytes| STANDARD.encode(bytes))
        .map_err(invalid)
}

fn take_value(text: &str) -> Result<Value, Error> {
    msgpack::decode(&STANDARD.decode(text).map_err(invalid)?, &Type::Dynamic).map_err(invalid)
}

impl FileValue {
    pub(super) fn put(value: &Value) -> Result<Self, Error> {
        let (plain, marks) = value.unmark_deep_with_paths();
        let sensitive = marks
            .iter()
            .filter(|(_, marks)| marks.intersects(Marks::SENSITIVE))
            .map(|(path, _)| put_path(path))
            .collect::<Result<_, _>>()?;
        Ok(FileValue {
            value: put_value(&plain)?,
            sensitive,
        })
    }

    pub(super) fn take(&self) -> Result<Value, Error> {
        let value = take_value(&self.value)?;
        let marks: Vec<_> = self
            .sensitive
            .iter()
            .map(|path| Ok((take_path(path)?, Marks::SENSITIVE)))
            .collect::<Result<_, Error>>()?;
        Ok(value.mark_paths(&marks))
    }
}

pub(super) fn put_path(path: &Path) -> Result<FilePath, Error> {
    path.steps()
        .iter()
        .map(|step| match step {
            Step::Attribute(name) => Ok(FileStep::Attribute(name.to_string())),
            Step::Index(key) => put_value(key).map(FileStep::Index),
        })
        .collect()
}

pub(super) fn take_path(steps: &FilePath) -> Result<Path, Error> {
    steps
        .iter()
        .map(|step| match step {
            FileStep::Attribute(name) => Ok(Step::Attribute(name.as_str().into())),
            FileStep::Index(key) => take_value(key).map(Step::Index),
        })
        .collect::<Result<_, _>>()
        .map(Path)
}

pub(super) fn put_action(action: Action) -> Vec<String> {
    action
        .words()
        .iter()
        .map(|word| (*word).to_owned())
        .collect()
}

pub(super) fn take_action(words: &[String]) -> Result<Action, Error> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Action::from_words(&words).ok_or_else(|| Error::Invalid(format!("an unknown action {words:?}")))
}

pub(super) fn put_change(change: &Change) -> Result<FileChange, Error> {
    Ok(FileChange {
        address: change.address.to_string(),
        previous_address: (change.previous_address != change.address)
            .then(|| change.previous_address.to_string()),
        deposed: change.deposed.as_ref().map(ToString::to_string),
        provider: change.provider.to_string(),
        actions: put_action(change.action),
        reason: change.reason.map(|reason| reason.word().to_owned()),
        before: FileValue::put(&change.before)?,
        after: FileValue::put(&change.after)?,
        replace_paths: change
            .replace_paths
            .iter()
            .map(put_path)
            .collect::<Result<_, _>>()?,
        private: STANDARD.encode(&change.private),
        importing: change
            .importing
            .as_ref()
            .map(|importing| {
                Ok::<_, Error>(FileImporting {
                    id: importing.id.clone(),
                    identity: importing.identity.as_ref().map(put_value).transpose()?,
                })
            })
            .transpose()?,
        identity_before: change.identity.before.as_ref().map(put_value).transpose()?,
        identity_after: change.identity.after.as_ref().map(put_value).transpose()?,
        generated_config: change.generated_config.clone(),
    })
}

pub(super) fn take_change(change: FileChange) -> Result<Change, Error> {
    let address: crate::address::ResourceInstance = change.address.parse().map_err(invalid)?;
    Ok(Change {
        previous_address: match change.previous_address {
            Some(text) => text.parse().map_err(invalid)?,
            None => address.clone(),
        },
        address,
        deposed: change.deposed.map(Arc::from),
        provider: change.provider.parse().map_err(invalid)?,
        action: take_action(&change.actions)?,
        reason: change.reason.as_deref().and_then(Reason::from_word),
        before: change.before.take()?,
        after: change.after.take()?,
        replace_paths: change
            .replace_paths
            .iter()
            .map(take_path)
            .collect::<Result<_, _>>()?,
        private: Bytes::from(STANDARD.decode(&change.private).map_err(invalid)?),
        importing: change
            .importing
            .map(|importing| {
                Ok::<_, Error>(Importing {
                    id: importing.id,
                    identity: importing.identity.as_deref().map(take_value).transpose()?,
                })
            })
            .transpose()?,
        identity: Identities {
            before: change
                .identity_before
                .as_deref()
                .map(take_value)
                .transpose()?,
            after: change
                .identity_after
                .as_deref()
                .map(take_value)
                .transpose()?,
        },
        generated_config: change.generated_config,
    })
}
