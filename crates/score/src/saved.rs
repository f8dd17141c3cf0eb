//! A plan as a file: the blueprint, and the sources it was made from, so that it is carried out as it was looked at
//! wherever and whenever that is.
//!
//! The file has two JSON texts behind each other: the blueprint as it is stored, byte for byte (its id is their digest),
//! and an object with the sources (a compressed archive, in base64).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use consort_plan::{Blueprint, NoBlueprint};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A plan that was read from a file.
#[derive(Debug)]
pub struct Saved {
    /// The plan.
    pub blueprint: Blueprint,
    /// Its id.
    pub id: String,
    /// The archive of its sources; none in a file that has the blueprint alone.
    pub sources: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Sources {
    sources: String,
}

/// What is written into the file.
pub fn to_bytes(blueprint: &Blueprint, sources: &[u8]) -> Vec<u8> {
    let (mut bytes, _) = blueprint.to_json();
    bytes.push(b'\n');
    let sources = Sources {
        sources: BASE64.encode(sources),
    };
    // Texts alone: this does not fail.
    let _ = serde_json::to_writer(&mut bytes, &sources);
    bytes.push(b'\n');
    bytes
}

/// Reads what was written.
///
/// # Errors
/// What the file is instead.
pub fn from_bytes(bytes: &[u8]) -> Result<Saved, NoBlueprint> {
    let mut texts = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    let (blueprint, id) = match texts.next() {
        Some(first) => {
            let first = first.map_err(NoBlueprint::Unreadable)?;
            Blueprint::from_json(first.get().as_bytes())?
        }
        None => Blueprint::from_json(bytes)?,
    };
    let sources = match texts.next() {
        Some(second) => {
            let second = second.map_err(NoBlueprint::Unreadable)?;
            let sources: Sources =
                serde_json::from_str(second.get()).map_err(NoBlueprint::Unreadable)?;
            let archive = BASE64.decode(sources.sources);
            Some(archive.map_err(|_| NoBlueprint::SomethingElse)?)
        }
        None => None,
    };
    Ok(Saved {
        blueprint,
        id,
        sources,
    })
}
