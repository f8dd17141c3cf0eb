//! `.terraform.lock.hcl`: which version of each provider was chosen, and the checksums of its packages.

use std::collections::BTreeMap;
use std::path::Path;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::source::Sources;
use consort_hcl::syntax::{Block, BodySchema, parse};

use super::hash::Hash;
use crate::address::ProviderSource;
use crate::config::parse_provider_source;
use crate::version::{Constraints, Version};

/// The file's name, in the working directory.
pub const LOCK_FILE: &str = ".terraform.lock.hcl";

/// What is locked for one provider.
#[derive(Clone, Debug)]
pub struct Lock {
    /// The version that was chosen.
    pub version: Version,
    /// The constraints it was chosen by, in normal form; may be empty.
    pub constraints: String,
    /// Checksums of packages that may be used, sorted and each once.
    pub hashes: Vec<Hash>,
}

impl Lock {
    /// A lock whose checksums are put in order.
    pub fn new(version: Version, constraints: &Constraints, mut hashes: Vec<Hash>) -> Self {
        hashes.sort();
        hashes.dedup();
        Self {
            version,
            constraints: constraints.canonical(),
            hashes,
        }
    }

    /// The checksums this program can check.
    pub fn known_hashes(&self) -> Vec<Hash> {
        self.hashes
            .iter()
            .filter(|hash| hash.is_known())
            .cloned()
            .collect()
    }
}

/// All locks.
#[derive(Clone, Debug, Default)]
pub struct Locks(pub BTreeMap<ProviderSource, Lock>);

impl PartialEq for Lock {
    fn eq(&self, other: &Self) -> bool {
        self.version.identical(&other.version)
            && self.constraints == other.constraints
            && self.hashes == other.hashes
    }
}

impl PartialEq for Locks {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Locks {
    /// Reads a lock file; no file is no locks.
    pub fn read(path: &Path, sources: &mut Sources) -> (Self, Diagnostics) {
        match std::fs::read(path) {
            Ok(text) => Self::parse(&text, &path.to_string_lossy(), sources),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (Self::default(), Diagnostics::new())
            }
            Err(error) => {
                let detail = format!(
                    "The dependency lock file {} could not be read: {error}.",
                    path.display()
                );
                (
                    Self::default(),
                    Diagnostic::error("Failed to read dependency lock file", detail).into(),
                )
            }
        }
    }

    /// Parses the text of a lock file.
    pub fn parse(text: &[u8], name: &str, sources: &mut Sources) -> (Self, Diagnostics) {
        let (body, mut diagnostics) = parse(sources, name, text);
        let schema = BodySchema::new()
            .block("provider", &["source_addr"])
            .block("module", &["path"]);
        let (content, found) = body.content(&schema);
        diagnostics.append(found);
        let mut locks = Self::default();
        let mut warned = false;
        for block in &content.blocks {
            if &*block.kind == "module" {
                if !warned {
                    diagnostics.push(
                        Diagnostic::warning(
                            "Dependency locks for modules are not yet supported",
                            format!("Terraform v{} only supports dependency locks for providers, not for modules. This configuration may be intended for a later version of Terraform that also supports dependency locks for modules.", crate::version::TERRAFORM_VERSION),
                        )
                        .at(block.kind_range),
                    );
                }
                warned = true;
                continue;
            }
            if let Some((provider, lock)) = decode(block, &mut diagnostics) {
                if locks.0.contains_key(&provider) {
                    let detail =
                        format!("This lockfile already declared a lock for provider {provider}.");
                    diagnostics.push(
                        Diagnostic::error("Duplicate provider lock", detail).at(block.kind_range),
                    );
                    continue;
                }
                locks.0.insert(provider, lock);
            }
        }
        (locks, diagnostics)
    }

    /// The text of the file, byte for byte as Terraform writes it.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# This file is maintained automatically by \"terraform init\".\n# Manual edits may be lost in future updates.\n",
        );
        for (provider, lock) in &self.0 {
            text.push_str(&format!("\nprovider \"{provider}\" {{\n"));
            if lock.constraints.is_empty() {
                text.push_str(&format!("  version = \"{}\"\n", lock.version));
            } else {
                text.push_str(&format!(
                    "  version     = \"{}\"\n  constraints = \"{}\"\n",
                    lock.version, lock.constraints
                ));
            }
            if !lock.hashes.is_empty() {
                text.push_str("  hashes = [\n");
                for hash in &lock.hashes {
                    text.push_str(&format!("    \"{hash}\",\n"));
                }
                text.push_str("  ]\n");
            }
            text.push_str("}\n");
        }
        text
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), super::Error> {
        super::write_atomically(path, self.text().as_bytes())
    }
}

fn decode(block: &Block, diagnostics: &mut Diagnostics) -> Option<(ProviderSource, Lock)> {
    const ADDRESS: &str = "Invalid provider source address";
    let raw = block.label(0);
    let at = block
        .labels
        .first()
        .map_or(block.kind_range, |label| label.range);
    let mut error = |summary: &str, detail: String, at| {
        diagnostics.push(Diagnostic::error(summary, detail).at(at));
        None
    };
    let Ok(provider) = parse_provider_source(raw) else {
        return error(ADDRESS, "The provider source address for a provider lock must be a valid, fully-qualified address of the form \"hostname/namespace/type\".".to_string(), at);
    };
    if provider.is_builtin() {
        return error(
            ADDRESS,
            format!(
                "Cannot lock a version for built-in provider {provider}. Built-in providers are bundled inside Terraform itself, so you can't select a version for them independently of the Terraform release you are currently running."
            ),
            at,
        );
    }
    if provider.to_string() != raw {
        return error(
            "Non-normalized provider source address",
            format!(
                "The provider source address for this provider lock must be written as {:?}, the fully-qualified and normalized form.",
                provider.to_string()
            ),
            at,
        );
    }
    let (content, found) = block.body.content(
        &BodySchema::new()
            .required(["version"])
            .optional(["constraints", "hashes"]),
    );
    let failed = found.has_errors();
    diagnostics.append(found);
    if failed {
        return None;
    }
    let mut error = |summary: &str, detail: String, at| {
        diagnostics.push(Diagnostic::error(summary, detail).at(at));
        None
    };
    let text = |name: &str| {
        let attribute = content.attribute(name)?;
        let (value, found) = attribute.expr.evaluate_constant();
        let text = if found.has_errors() || !value.is_known() {
            None
        } else {
            value.as_str().map(str::to_owned)
        };
        Some((text, attribute.expr.range()))
    };
    let (version, at) = text("version")?;
    let Some(version) = version.and_then(|text| {
        text.parse::<Version>()
            .ok()
            .filter(|version| version.to_string() == text)
    }) else {
        return error(
            "Invalid provider version number",
            format!(
                "The selected version number for provider {provider} is invalid: it must be written in normalized form."
            ),
            at,
        );
    };
    let mut constraints = Constraints::default();
    if let Some((given, at)) = text("constraints") {
        match given.as_deref().map(str::parse::<Constraints>) {
            Some(Ok(parsed)) => {
                let canonical = parsed.canonical();
                if given.as_deref() != Some(&canonical) {
                    return error(
                        "Invalid provider version constraints",
                        format!(
                            "The recorded version constraints for provider {provider} must be written in normalized form: {canonical:?}."
                        ),
                        at,
                    );
                }
                constraints = parsed;
            }
            _ => {
                return error(
                    "Invalid provider version constraints",
                    format!(
                        "The recorded version constraints for provider {provider} are invalid."
                    ),
                    at,
                );
            }
        }
    }
    let mut hashes = Vec::new();
    if let Some(attribute) = content.attribute("hashes") {
        let items = attribute.expr.as_list().unwrap_or_default();
        if items.is_empty() {
            return error("Invalid provider hash set", "The \"hashes\" argument must either be omitted or contain at least one hash value.".to_string(), attribute.expr.range());
        }
        for item in items {
            let (value, _) = item.evaluate_constant();
            let text = value.as_str().unwrap_or_default();
            match Hash::parse(text) {
                Ok(hash) => hashes.push(hash),
                Err(why) => {
                    return error(
                        "Invalid provider hash string",
                        format!("Cannot interpret {text:?} as a provider hash: {why}."),
                        item.range(),
                    );
                }
            }
        }
    }
    Some((provider, Lock::new(version, &constraints, hashes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# This file is maintained automatically by \"terraform init\".\n# Manual edits may be lost in future updates.\n\nprovider \"example.com/a/b\" {\n  version = \"1.0.0-beta1\"\n}\n\nprovider \"registry.terraform.io/hashicorp/null\" {\n  version     = \"2.1.2\"\n  constraints = \">= 2.0.0, ~> 2.1\"\n  hashes = [\n    \"h1:AAAA\",\n    \"zh:00\",\n  ]\n}\n";

    #[test]
    fn a_lock_file_is_written_as_it_was_read() {
        let (locks, diagnostics) = Locks::parse(TEXT.as_bytes(), LOCK_FILE, &mut Sources::new());
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(locks.text(), TEXT);
    }

    #[test]
    fn what_terraform_would_not_write_is_an_error_at_its_place() {
        for (from, to) in [
            ("registry.terraform.io/hashicorp/null", "hashicorp/null"),
            ("2.1.2", "2.1"),
            ("~> 2.1", "~>2.1"),
            ("zh:00", "00"),
            ("example.com/a/b", "terraform.io/builtin/terraform"),
        ] {
            let (_, diagnostics) = Locks::parse(
                TEXT.replace(from, to).as_bytes(),
                LOCK_FILE,
                &mut Sources::new(),
            );
            assert!(diagnostics.has_errors(), "{to}");
            assert!(
                diagnostics
                    .iter()
                    .all(|diagnostic| diagnostic.subject.is_some())
            );
        }
    }
}
