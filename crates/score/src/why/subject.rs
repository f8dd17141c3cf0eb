//! What can be asked about, and how people write it.

use consort_plan::{Address, Operation};

use super::evidence::Ref;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An object of the API.
    Object(Ref),
    /// A resource of a score.
    Address {
        /// Its address.
        address: Address,
        /// The score, where several have a part of that name.
        score: Option<String>,
    },
    /// An operation by its name: `shop-4`.
    Operation(String),
    /// A blueprint by its id.
    Blueprint(String),
}

/// A word on the command line, as far as it can be read without a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// `KIND/NAME`, or an address: which of both it is depends on what kinds and parts there are.
    Slashed {
        /// Before the first slash.
        first: String,
        /// All after it.
        rest: String,
    },
    /// No slash: an operation, a blueprint, or a revision.
    Bare(String),
}

impl Word {
    /// Reads one.
    pub fn read(text: &str) -> Self {
        match text.split_once('/') {
            Some((first, rest)) if !first.is_empty() && !rest.is_empty() => Word::Slashed {
                first: first.to_owned(),
                rest: rest.to_owned(),
            },
            _ => Word::Bare(text.to_owned()),
        }
    }

    /// What is meant, with the parts and operations there are. `kind` gives the reference of an object of a kind that
    /// people call by that word. Parts go before kinds: who names a part `pod` knows why.
    ///
    /// # Errors
    /// What was expected.
    pub fn resolve(
        &self,
        parts: &[String],
        operations: &[Operation],
        score: Option<&str>,
        kind: impl Fn(&str, &str) -> Option<Ref>,
    ) -> Result<Subject, String> {
        match self {
            Word::Slashed { first, rest } => {
                // `pod/web` names an object; addresses of objects have more slashes, and those of Terraform a dot.
                let object = kind(first, rest).filter(|_| !rest.contains('/'));
                let part = parts.iter().any(|part| part == first);
                match (part, object) {
                    (false, Some(object)) => Ok(Subject::Object(object)),
                    (true, Some(object)) if !rest.contains('.') => Ok(Subject::Object(object)),
                    (true, _) => Ok(Subject::Address {
                        address: Address::new(first, rest),
                        score: score.map(str::to_owned),
                    }),
                    (false, None) if parts.is_empty() => Err(format!(
                        "{first:?} is no kind the server has, and no operation of a score is recorded that could have a part of that name"
                    )),
                    (false, None) => Err(format!(
                        "{first:?} is neither a kind the server has nor a part of a score (those are {})",
                        parts.join(", ")
                    )),
                }
            }
            Word::Bare(text) => {
                let named = |operation: &&Operation| name_of(operation) == *text;
                if operations.iter().any(|operation| named(&operation)) {
                    return Ok(Subject::Operation(text.clone()));
                }
                let id = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                if id {
                    return Ok(Subject::Blueprint(text.clone()));
                }
                // The last operation of a score, by the score's name.
                let of_score = operations
                    .iter()
                    .filter(|operation| operation.score == *text)
                    .max_by_key(|operation| operation.revision);
                match of_score {
                    Some(operation) => Ok(Subject::Operation(name_of(operation))),
                    None => Err(format!(
                        "{text:?} is no operation, blueprint or score: name one of those, an object (pod/web), a resource (infra/aws_instance.web), or a host of a playbook or something on it (web1, web1:/etc/motd)"
                    )),
                }
            }
        }
    }
}

/// The name of an operation: `shop-4`.
pub(super) fn name_of(operation: &Operation) -> String {
    format!("{}-{}", operation.score, operation.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_objects_resources_operations_or_blueprints() {
        let parts = ["infra".to_owned(), "app".to_owned()];
        let kind =
            |word: &str, name: &str| (word == "pod").then(|| Ref::new("", "Pod", "default", name));
        let resolve = |text: &str| Word::read(text).resolve(&parts, &[], None, kind);
        assert_eq!(
            resolve("pod/web").unwrap(),
            Subject::Object(Ref::new("", "Pod", "default", "web"))
        );
        assert_eq!(
            resolve("app/apps/v1/Deployment/shop/web").unwrap(),
            Subject::Address {
                address: Address::new("app", "apps/v1/Deployment/shop/web"),
                score: None
            }
        );
        assert_eq!(
            resolve("0123456789ab").unwrap(),
            Subject::Blueprint("0123456789ab".to_owned())
        );
        assert!(resolve("gadget/x").unwrap_err().contains("infra, app"));
        assert!(resolve("nothing").is_err());
    }
}
