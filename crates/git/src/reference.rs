//! What of a repository is wanted: a branch, a tag, a commit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::repositories::Advertised;

/// A branch, a tag, a full name such as `refs/pull/7/head`, a commit's id, or `HEAD`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference(String);

/// What a reference means at present.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The full name it was found under; none for a commit.
    pub name: Option<String>,
    /// The commit's id.
    pub commit: String,
}

impl Default for Reference {
    fn default() -> Self {
        Self("HEAD".to_owned())
    }
}

impl Reference {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a commit's whole id, which never means another commit.
    pub fn is_commit(&self) -> bool {
        matches!(self.0.len(), 40 | 64) && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// Whether it may be the beginning of a commit's id.
    pub(crate) fn may_be_commit(&self) -> bool {
        (7..=64).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// The patterns that make `ls-remote` tell what is needed to resolve it.
    pub(crate) fn patterns(&self) -> Vec<String> {
        let name = &self.0;
        if name == "HEAD" || name.starts_with("refs/") {
            return vec![name.clone(), format!("{name}^{{}}")];
        }
        vec![
            format!("refs/heads/{name}"),
            format!("refs/tags/{name}"),
            format!("refs/tags/{name}^{{}}"),
        ]
    }

    /// What it means in a repository that has these references: a branch before a tag of the same name, as
    /// `git clone --branch` takes them; an annotated tag means the commit it is on.
    pub fn resolve(&self, advertised: &Advertised) -> Option<Resolved> {
        if self.is_commit() {
            return Some(Resolved {
                name: None,
                commit: self.0.to_ascii_lowercase(),
            });
        }
        let name = &self.0;
        let candidates = if name == "HEAD" || name.starts_with("refs/") {
            vec![name.clone()]
        } else {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
        };
        candidates.into_iter().find_map(|full| {
            let commit = advertised
                .get(&format!("{full}^{{}}"))
                .or_else(|| advertised.get(&full))?;
            Some(Resolved {
                commit: commit.to_owned(),
                name: Some(full),
            })
        })
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// Takes what `git check-ref-format --allow-onelevel` takes, and no leading dash.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Err(Error::Reference {
                reference: text.chars().take(200).collect(),
                why: why.to_owned(),
            })
        };
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > 1024 {
            return refuse("it is longer than 1024 bytes");
        }
        if text.starts_with('-') {
            return refuse("it starts with a dash");
        }
        if text == "@" || text.starts_with('/') || text.ends_with(['/', '.']) {
            return refuse("it is no name of a branch, tag or commit");
        }
        if let Some(bad) = text
            .chars()
            .find(|c| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
        {
            return refuse(&format!("it has the character {bad:?}"));
        }
        for bad in ["..", "@{", "//"] {
            if text.contains(bad) {
                return refuse(&format!("it has {bad:?}"));
            }
        }
        if text.split('/').any(|step| {
            step.starts_with('.')
                || std::path::Path::new(step)
                    .extension()
                    .is_some_and(|extension| extension == "lock")
        }) {
            return refuse("a part of it starts with a dot or ends with .lock");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_that_would_be_options_or_expressions_are_refused() {
        for text in [
            "--upload-pack=x",
            "-x",
            "a..b",
            "main~1",
            "main^{}",
            "a:b",
            "main@{1}",
            "a b",
            "a\nb",
            "*",
            ".hidden",
            "a/.b",
            "a.lock",
            "a//b",
            "/a",
            "a/",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        for text in [
            "main",
            "release/1.2",
            "v1.0.0",
            "refs/pull/7/head",
            "feature@2",
        ] {
            assert!(text.parse::<Reference>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_branch_goes_before_a_tag_and_an_annotated_tag_means_its_commit() {
        let advertised: Advertised = [
            ("HEAD", "a"),
            ("refs/heads/x", "b"),
            ("refs/tags/x", "c"),
            ("refs/tags/v1", "d"),
            ("refs/tags/v1^{}", "e"),
        ]
        .into_iter()
        .collect();
        let commit = |text: &str| {
            let reference: Reference = text.parse().unwrap();
            reference.resolve(&advertised).map(|found| found.commit)
        };
        assert_eq!(commit("x").as_deref(), Some("b"));
        assert_eq!(commit("refs/tags/x").as_deref(), Some("c"));
        assert_eq!(commit("v1").as_deref(), Some("e"));
        assert_eq!(commit("").as_deref(), Some("a"));
        assert_eq!(commit("y"), None);
    }
}
