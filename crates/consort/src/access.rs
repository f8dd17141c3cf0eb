//! Who may come in, and what is recorded of what they do: settings of authentication and of audit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use consort_api::audit;
use consort_api::identity::{Anonymous, oidc};
use serde::Deserialize;

use crate::error::{Failure, Kind, Result};

/// What is sent in one go, and how long it waits, unless said: upstream's numbers.
const BATCH: usize = 400;
const BATCH_WAIT: u64 = 30;
const LOG_MEGABYTES: u64 = 100;
const LOG_BACKUPS: usize = 10;

/// Flags of authentication and audit, named as upstream's.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessOptions {
    /// File with an AuthenticationConfiguration (apiserver.config.k8s.io/v1)
    #[arg(long, env = "CONSORT_AUTHENTICATION_CONFIG", value_name = "FILE")]
    authentication_config: Option<PathBuf>,
    /// Whether callers without credentials are let in, as far as roles allow [default: true]
    #[arg(long, env = "CONSORT_ANONYMOUS_AUTH", value_name = "BOOL")]
    anonymous_auth: Option<bool>,
    /// URL of an OpenID Connect issuer whose tokens are accepted
    #[arg(long, env = "CONSORT_OIDC_ISSUER_URL", value_name = "URL")]
    oidc_issuer_url: Option<String>,
    /// Whom the issuer's tokens are for
    #[arg(long, env = "CONSORT_OIDC_CLIENT_ID", value_name = "ID")]
    oidc_client_id: Option<String>,
    /// Claim that is the user's name [default: sub]
    #[arg(long, env = "CONSORT_OIDC_USERNAME_CLAIM", value_name = "CLAIM")]
    oidc_username_claim: Option<String>,
    /// Put before names; `-` for nothing [default: the issuer and `#`, nothing for email]
    #[arg(long, env = "CONSORT_OIDC_USERNAME_PREFIX", value_name = "TEXT")]
    oidc_username_prefix: Option<String>,
    /// Claim that is the user's groups
    #[arg(long, env = "CONSORT_OIDC_GROUPS_CLAIM", value_name = "CLAIM")]
    oidc_groups_claim: Option<String>,
    /// Put before groups
    #[arg(long, env = "CONSORT_OIDC_GROUPS_PREFIX", value_name = "TEXT")]
    oidc_groups_prefix: Option<String>,
    /// Claim that must have this value; may be given again
    #[arg(
        long,
        env = "CONSORT_OIDC_REQUIRED_CLAIMS",
        value_name = "CLAIM=VALUE",
        value_delimiter = ','
    )]
    oidc_required_claim: Vec<String>,
    /// How the issuer's tokens may be signed [default: RS256]
    #[arg(
        long,
        env = "CONSORT_OIDC_SIGNING_ALGS",
        value_name = "ALG",
        value_delimiter = ','
    )]
    oidc_signing_algs: Vec<String>,
    /// File with the authorities the issuer's certificate may be of [default: the host's]
    #[arg(long, env = "CONSORT_OIDC_CA_FILE", value_name = "FILE")]
    oidc_ca_file: Option<PathBuf>,
    /// File with an audit Policy (audit.k8s.io/v1); without one nothing is recorded
    #[arg(long, env = "CONSORT_AUDIT_POLICY_FILE", value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// File the audit log is written to
    #[arg(long, env = "CONSORT_AUDIT_LOG_PATH", value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// Megabytes after which the audit log is turned over [default: 100]
    #[arg(long, env = "CONSORT_AUDIT_LOG_MAXSIZE", value_name = "MB")]
    audit_log_maxsize: Option<u64>,
    /// Files of the audit log that are kept, 0 for all [default: 10]
    #[arg(long, env = "CONSORT_AUDIT_LOG_MAXBACKUP", value_name = "N")]
    audit_log_maxbackup: Option<usize>,
    /// Days they are kept, 0 for ever [default: 0]
    #[arg(long, env = "CONSORT_AUDIT_LOG_MAXAGE", value_name = "DAYS")]
    audit_log_maxage: Option<u64>,
    /// What requests do when events come faster than they are written [default: blocking]
    #[arg(long, env = "CONSORT_AUDIT_MODE", value_enum)]
    audit_mode: Option<Mode>,
    /// Kubeconfig of a server that audit events are sent to
    #[arg(long, env = "CONSORT_AUDIT_WEBHOOK_CONFIG_FILE", value_name = "FILE")]
    audit_webhook_config_file: Option<PathBuf>,
    /// Most events sent in one go [default: 400]
    #[arg(long, env = "CONSORT_AUDIT_WEBHOOK_BATCH_MAX_SIZE", value_name = "N")]
    audit_webhook_batch_max_size: Option<usize>,
    /// Seconds events wait for others to be sent with [default: 30]
    #[arg(
        long,
        env = "CONSORT_AUDIT_WEBHOOK_BATCH_MAX_WAIT",
        value_name = "SECONDS"
    )]
    audit_webhook_batch_max_wait: Option<u64>,
}

/// What requests do when audit events come faster than they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Wait.
    Blocking,
    /// Go on; events are dropped, counted and told.
    Batch,
}

/// `server.authentication` of the configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileAuthentication {
    config_file: Option<PathBuf>,
    anonymous: Option<bool>,
    oidc: Option<FileOidc>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileOidc {
    issuer_url: Option<String>,
    client_id: Option<String>,
    username_claim: Option<String>,
    username_prefix: Option<String>,
    groups_claim: Option<String>,
    groups_prefix: Option<String>,
    required_claims: BTreeMap<String, String>,
    signing_algs: Vec<String>,
    ca_file: Option<PathBuf>,
}

/// `server.audit` of the configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileAudit {
    policy_file: Option<PathBuf>,
    mode: Option<Mode>,
    log: FileLog,
    webhook: FileWebhook,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileLog {
    path: Option<PathBuf>,
    max_size_mb: Option<u64>,
    max_backups: Option<usize>,
    max_age_days: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileWebhook {
    config_file: Option<PathBuf>,
    batch_max_size: Option<usize>,
    batch_max_wait_seconds: Option<u64>,
}

/// Who may come in, and what is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Issuers of tokens besides the server.
    pub(crate) issuers: Vec<oidc::config::Issuer>,
    /// Who may come without credentials.
    pub(crate) anonymous: Anonymous,
    /// How requests are recorded.
    pub(crate) audit: Option<audit::Options>,
}

fn usage(text: String) -> Failure {
    Failure::new(Kind::Usage, text)
}

fn read(path: &Path, what: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| usage(format!("reading {what} {}: {error}", path.display())))
}

impl Access {
    /// The settings, flags before the file. `issuer` is the server's own.
    pub(crate) fn resolve(
        options: &AccessOptions,
        authentication: &FileAuthentication,
        audit: &FileAudit,
        issuer: &str,
    ) -> Result<Self> {
        let (issuers, anonymous) = authenticate(options, authentication, issuer)?;
        Ok(Self {
            issuers,
            anonymous,
            audit: record(options, audit)?,
        })
    }
}

fn authenticate(
    options: &AccessOptions,
    file: &FileAuthentication,
    issuer: &str,
) -> Result<(Vec<oidc::config::Issuer>, Anonymous)> {
    let mut issuers = Vec::new();
    let mut anonymous = None;
    let config = options
        .authentication_config
        .as_ref()
        .or(file.config_file.as_ref());
    let settings = oidc_settings(options, &file.oidc.clone().unwrap_or_default())?;
    if let Some(path) = config {
        let text = read(path, "the authentication configuration")?;
        let read = oidc::config::parse(&text, issuer)
            .map_err(|error| usage(format!("{}: {error}", path.display())))?;
        if settings.is_some() {
            return Err(usage(
                "the authentication configuration file and the settings of one OIDC issuer exclude each other"
                    .to_owned(),
            ));
        }
        issuers = read.issuers;
        anonymous = read.anonymous;
    }
    if let Some(settings) = settings {
        let own = settings
            .issuer()
            .map_err(|error| usage(format!("the OIDC settings: {error}")))?;
        issuers.push(own);
    }
    let switch = options.anonymous_auth.or(file.anonymous);
    let anonymous = match (anonymous, switch) {
        (Some(_), Some(_)) => {
            return Err(usage(
                "anonymous access is set in the authentication configuration and by a setting: it can be one only"
                    .to_owned(),
            ));
        }
        (Some(said), None) => said,
        (None, Some(false)) => Anonymous::Refused,
        (None, _) => Anonymous::Allowed,
    };
    Ok((issuers, anonymous))
}

fn oidc_settings(
    options: &AccessOptions,
    file: &FileOidc,
) -> Result<Option<oidc::config::Settings>> {
    let either =
        |flag: &Option<String>, file: &Option<String>| flag.clone().or_else(|| file.clone());
    let Some(issuer_url) = either(&options.oidc_issuer_url, &file.issuer_url) else {
        if options.oidc_client_id.is_some() || file.client_id.is_some() {
            return Err(usage(
                "an OIDC client id needs --oidc-issuer-url".to_owned(),
            ));
        }
        return Ok(None);
    };
    let mut required_claims = file.required_claims.clone();
    for claim in &options.oidc_required_claim {
        let (name, value) = claim.split_once('=').ok_or_else(|| {
            usage(format!(
                "--oidc-required-claim {claim:?} is not of the form CLAIM=VALUE"
            ))
        })?;
        required_claims.insert(name.to_owned(), value.to_owned());
    }
    let ca = options.oidc_ca_file.as_ref().or(file.ca_file.as_ref());
    let ca = match ca {
        Some(path) => Some(read(path, "the OIDC issuer's authorities")?),
        None => None,
    };
    Ok(Some(oidc::config::Settings {
        issuer_url,
        client_id: either(&options.oidc_client_id, &file.client_id).unwrap_or_default(),
        username_claim: either(&options.oidc_username_claim, &file.username_claim),
        username_prefix: either(&options.oidc_username_prefix, &file.username_prefix),
        groups_claim: either(&options.oidc_groups_claim, &file.groups_claim),
        groups_prefix: either(&options.oidc_groups_prefix, &file.groups_prefix),
        required_claims,
        signing_algs: if options.oidc_signing_algs.is_empty() {
            file.signing_algs.clone()
        } else {
            options.oidc_signing_algs.clone()
        },
        ca,
    }))
}

fn record(options: &AccessOptions, file: &FileAudit) -> Result<Option<audit::Options>> {
    let policy = options
        .audit_policy_file
        .as_ref()
        .or(file.policy_file.as_ref());
    let path = options.audit_log_path.as_ref().or(file.log.path.as_ref());
    let webhook = options
        .audit_webhook_config_file
        .as_ref()
        .or(file.webhook.config_file.as_ref());
    let Some(policy) = policy else {
        if path.is_some() || webhook.is_some() {
            return Err(usage(
                "an audit log needs a policy that says what is recorded".to_owned(),
            )
            .hint("name one with --audit-policy-file; the documentation of the configuration has a good one"));
        }
        return Ok(None);
    };
    if path.is_none() && webhook.is_none() {
        return Err(usage(
            "an audit policy is set, but neither a log nor a webhook to record to".to_owned(),
        )
        .hint("name one with --audit-log-path"));
    }
    let text = read(policy, "the audit policy")?;
    let parsed = audit::Policy::parse(&text)
        .map_err(|error| usage(format!("{}: {error}", policy.display())))?;
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|e| usage(format!("{}: {e}", path.display())))
    };
    let log = match path {
        None => None,
        Some(path) => {
            let megabytes = options.audit_log_maxsize.or(file.log.max_size_mb);
            let days = options
                .audit_log_maxage
                .or(file.log.max_age_days)
                .unwrap_or(0);
            Some(audit::LogOptions {
                path: absolute(path)?,
                max_bytes: megabytes
                    .unwrap_or(LOG_MEGABYTES)
                    .max(1)
                    .saturating_mul(1 << 20),
                max_backups: options
                    .audit_log_maxbackup
                    .or(file.log.max_backups)
                    .unwrap_or(LOG_BACKUPS),
                max_age: (days > 0).then(|| Duration::from_secs(days.saturating_mul(86_400))),
            })
        }
    };
    let webhook = match webhook {
        None => None,
        Some(config) => Some(audit::WebhookOptions {
            config: absolute(config)?,
            batch: options
                .audit_webhook_batch_max_size
                .or(file.webhook.batch_max_size)
                .unwrap_or(BATCH)
                .max(1),
            wait: Duration::from_secs(
                options
                    .audit_webhook_batch_max_wait
                    .or(file.webhook.batch_max_wait_seconds)
                    .unwrap_or(BATCH_WAIT),
            ),
        }),
    };
    let mode = match options.audit_mode.or(file.mode) {
        Some(Mode::Batch) => audit::Mode::Batch,
        Some(Mode::Blocking) | None => audit::Mode::Blocking,
    };
    Ok(Some(audit::Options {
        policy: parsed,
        log,
        webhook,
        mode,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(options: &AccessOptions, audit: &FileAudit) -> Result<Access> {
        Access::resolve(
            options,
            &FileAuthentication::default(),
            audit,
            "https://own.test",
        )
    }

    #[test]
    fn nothing_is_recorded_without_a_policy_and_a_log_without_one_is_an_error() {
        let access = resolve(&AccessOptions::default(), &FileAudit::default()).unwrap();
        assert!(access.audit.is_none() && access.issuers.is_empty());
        assert_eq!(access.anonymous, Anonymous::Allowed);
        let options = AccessOptions {
            audit_log_path: Some("/tmp/audit.log".into()),
            ..AccessOptions::default()
        };
        assert!(resolve(&options, &FileAudit::default()).is_err());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.yaml");
        std::fs::write(
            &policy,
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n",
        )
        .unwrap();
        let file = FileAudit {
            policy_file: Some(policy),
            log: FileLog {
                path: Some("/tmp/a".into()),
                max_size_mb: Some(7),
                max_age_days: Some(2),
                ..FileLog::default()
            },
            ..FileAudit::default()
        };
        let options = AccessOptions {
            audit_log_maxsize: Some(3),
            audit_mode: Some(Mode::Batch),
            ..AccessOptions::default()
        };
        let audit = resolve(&options, &file).unwrap().audit.unwrap();
        let log = audit.log.unwrap();
        assert_eq!(log.max_bytes, 3 << 20);
        assert_eq!(log.max_age, Some(Duration::from_secs(2 * 86_400)));
        assert_eq!((log.max_backups, audit.mode), (10, audit::Mode::Batch));
    }

    #[test]
    fn the_settings_of_one_issuer_are_checked() {
        let options = AccessOptions {
            oidc_issuer_url: Some("https://idp.test".to_owned()),
            ..AccessOptions::default()
        };
        assert!(
            resolve(&options, &FileAudit::default()).is_err(),
            "no client id"
        );
        let options = AccessOptions {
            oidc_client_id: Some("app".to_owned()),
            oidc_required_claim: vec!["team=blue".to_owned()],
            ..options
        };
        let access = resolve(&options, &FileAudit::default()).unwrap();
        assert_eq!(
            access.issuers[0].required,
            [("team".to_owned(), "blue".to_owned())]
        );
    }
}
