//! Which requests are recorded, and how much of them: `audit.k8s.io/v1` `Policy`.

use serde::{Deserialize, Serialize};

use crate::identity::{Attributes, User};

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, what, when, and the outcome.
    Metadata,
    /// Also the request's body.
    Request,
    /// Also the answer's body.
    RequestResponse,
}

/// When an event is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Stage {
    /// Before anything is done with the request.
    RequestReceived,
    /// The head of an answer was made whose body takes long: a watch, a session.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// The server failed in the midst of it.
    Panic,
}

/// A policy: the first rule that fits a request counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

/// What a policy says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) omit_stages: Vec<Stage>,
    pub(super) omit_managed_fields: bool,
}

impl Verdict {
    pub(super) fn records(&self, stage: Stage) -> bool {
        self.level != Level::None && !self.omit_stages.contains(&stage)
    }
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not of the form it should have.
    #[error("the audit policy is not usable: {0}")]
    Form(String),
    /// A value is not possible.
    #[error("the audit policy is not usable: {field}: {why}")]
    Invalid {
        /// Where.
        field: String,
        /// Why not.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Policy {
    /// Reads a policy's text, YAML or JSON.
    ///
    /// # Errors
    /// If it is not of the right form, or says something that is not possible.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: File =
            serde_saphyr::from_str(text).map_err(|error| Error::Form(error.to_string()))?;
        if file.api_version != "audit.k8s.io/v1" || file.kind != "Policy" {
            return Err(Error::Form(format!(
                "it is a {} of {}; wanted is a Policy of audit.k8s.io/v1",
                file.kind, file.api_version
            )));
        }
        if file.rules.is_empty() {
            return Err(Error::Form("it has no rules".to_owned()));
        }
        for (index, rule) in file.rules.iter().enumerate() {
            rule.check(&format!("rules[{index}]"))?;
        }
        Ok(Self {
            rules: file.rules,
            omit_stages: file.omit_stages,
            omit_managed_fields: file.omit_managed_fields,
        })
    }

    /// What the policy says of a request.
    pub(super) fn judge(&self, user: &User, wanted: &Attributes<'_>) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.fits(user, wanted));
        let mut omit_stages = self.omit_stages.clone();
        let mut omit_managed_fields = self.omit_managed_fields;
        if let Some(rule) = rule {
            omit_stages.extend_from_slice(&rule.omit_stages);
            omit_managed_fields = rule.omit_managed_fields.unwrap_or(omit_managed_fields);
        }
        Verdict {
            level: rule.map_or(Level::None, |rule| rule.level),
            omit_stages,
            omit_managed_fields,
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == wanted)
}

impl Rule {
    fn check(&self, at: &str) -> Result<(), Error> {
        let invalid = |field: String, why: &str| Error::Invalid {
            field,
            why: why.to_owned(),
        };
        for (index, url) in self.non_resource_urls.iter().enumerate() {
            let field = format!("{at}.nonResourceURLs[{index}]");
            if url == "*" {
                continue;
            }
            if !url.starts_with('/') {
                return Err(invalid(
                    field,
                    "non-resource URL rules must begin with a '/' character",
                ));
            }
            if url.trim_end_matches('*').contains('*') || url.ends_with("**") {
                return Err(invalid(
                    field,
                    "non-resource URL wildcards '*' must be the final character of the rule",
                ));
            }
        }
        for group in &self.resources {
            if !group.group.is_empty()
                && group.group != "*"
                && let Err(why) = consort_object::names::dns1123_subdomain(&group.group)
            {
                return Err(invalid(format!("{at}.resources.group"), &why));
            }
            if !group.resource_names.is_empty() && group.resources.is_empty() {
                return Err(invalid(
                    format!("{at}.resources.resourceNames"),
                    "using resourceNames requires at least one resource",
                ));
            }
        }
        let resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if resources && !self.non_resource_urls.is_empty() {
            return Err(invalid(
                format!("{at}.nonResourceURLs"),
                "rules cannot apply to both regular resources and non-resource URLs",
            ));
        }
        Ok(())
    }

    fn fits(&self, user: &User, wanted: &Attributes<'_>) -> bool {
        if !self.users.is_empty() && !has(&self.users, &user.name) {
            return false;
        }
        if !self.user_groups.is_empty()
            && !user
                .groups
                .iter()
                .any(|group| has(&self.user_groups, group))
        {
            return false;
        }
        if !self.verbs.is_empty() && !has(&self.verbs, wanted.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return wanted.is_resource()
                && (self.namespaces.is_empty() || has(&self.namespaces, wanted.namespace))
                && (self.resources.is_empty()
                    || self.resources.iter().any(|group| group.fits(wanted)));
        }
        self.non_resource_urls.is_empty()
            || (!wanted.is_resource()
                && self.non_resource_urls.iter().any(|url| {
                    url == "*"
                        || url == wanted.path
                        || url
                            .strip_suffix('*')
                            .is_some_and(|prefix| wanted.path.starts_with(prefix))
                }))
    }
}

impl GroupResources {
    fn fits(&self, wanted: &Attributes<'_>) -> bool {
        if self.group != wanted.group && self.group != "*" {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.resource_names.is_empty() && !has(&self.resource_names, wanted.name) {
            return false;
        }
        self.resources.iter().any(|own| {
            if own == "*" {
                return true;
            }
            match own.split_once('/') {
                None => wanted.subresource.is_empty() && own == wanted.resource,
                // `pods/*` is the pods themselves, too.
                Some((resource, "*")) => resource == wanted.resource,
                Some((resource, sub)) => {
                    !wanted.subresource.is_empty()
                        && sub == wanted.subresource
                        && (resource == "*" || resource == wanted.resource)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: &Policy, user: &User, wanted: &Attributes<'_>) -> Level {
        policy.judge(user, wanted).level
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let policy = Policy::parse(
            "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [robot], verbs: [watch]}
- {level: None, nonResourceURLs: ['/healthz*', /version]}
- level: Metadata
  resources: [{group: '', resources: [secrets, 'pods/*', '*/scale']}]
- level: RequestResponse
  namespaces: [shop]
  omitStages: [ResponseStarted]
  resources: [{group: apps, resources: [deployments], resourceNames: [web]}]
- {level: Request, userGroups: [ops]}
",
        )
        .unwrap();
        let (robot, jane) = (User::new("robot", ["ops"]), User::new("jane", ["dev"]));
        let mut wanted = Attributes {
            verb: "watch",
            resource: "pods",
            ..Attributes::default()
        };
        assert_eq!(judge(&policy, &robot, &wanted), Level::None);
        assert_eq!(judge(&policy, &jane, &wanted), Level::Metadata);
        wanted.subresource = "log";
        assert_eq!(judge(&policy, &jane, &wanted), Level::Metadata);
        wanted.resource = "services";
        assert_eq!(judge(&policy, &jane, &wanted), Level::None);
        wanted.verb = "get";
        assert_eq!(judge(&policy, &robot, &wanted), Level::Request);
        let web = Attributes {
            verb: "update",
            group: "apps",
            resource: "deployments",
            namespace: "shop",
            name: "web",
            ..Attributes::default()
        };
        let verdict = policy.judge(&jane, &web);
        assert_eq!(verdict.level, Level::RequestResponse);
        assert!(!verdict.records(Stage::RequestReceived));
        assert!(!verdict.records(Stage::ResponseStarted));
        assert!(verdict.records(Stage::ResponseComplete));
        let path = |path| Attributes {
            verb: "get",
            path,
            ..Attributes::default()
        };
        assert_eq!(judge(&policy, &robot, &path("/healthz/ping")), Level::None);
        assert_eq!(judge(&policy, &robot, &path("/metrics")), Level::Request);
    }

    #[test]
    fn a_policy_that_cannot_be_meant_is_refused() {
        for rule in [
            "{level: Some}",
            "{level: Metadata, nonResourceURLs: [healthz]}",
            "{level: Metadata, nonResourceURLs: ['/a*b']}",
            "{level: Metadata, nonResourceURLs: [/a], namespaces: [b]}",
            "{level: Metadata, resources: [{group: rbac.authorization.k8s.io/v1}]}",
            "{level: Metadata, resources: [{resourceNames: [a]}]}",
            "{level: Metadata, omitStages: [Never]}",
            "{level: Metadata, user: [a]}",
        ] {
            let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{rule}]\n");
            assert!(Policy::parse(&text).is_err(), "{rule}");
        }
    }
}
