//! How callers are authenticated, as configured: upstream's `AuthenticationConfiguration`
//! (`apiserver.config.k8s.io`, version `v1` or `v1beta1`), or its older settings of one provider.

use std::collections::BTreeMap;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::expressions::{Expression, Rule};
use super::jwt::Algorithm;
use crate::identity::Anonymous;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not of the form it should have.
    #[error("the authentication configuration is not usable: {0}")]
    Form(String),
    /// A value is not possible.
    #[error("{field}: {why}")]
    Invalid {
        /// Where.
        field: String,
        /// Why not.
        why: String,
    },
}

fn invalid(field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Invalid {
        field: field.into(),
        why: why.into(),
    }
}

/// A claim and what is put before its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The claim.
    pub claim: String,
    /// Put before its value.
    pub prefix: String,
}

/// Where a part of the user comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// From a claim.
    Claim(Mapping),
    /// From an expression over the claims.
    Expression(Expression),
}

/// One issuer of tokens and how they are read.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The URL tokens name; `https`.
    pub url: String,
    /// Where its discovery document is, if not below `url`.
    pub discovery: Option<String>,
    /// The authorities its certificate may be of (DER); the host's if `None`.
    pub authority: Option<Vec<Vec<u8>>>,
    /// Whom its tokens are for: one of these.
    pub audiences: Vec<String>,
    /// How its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Claims that must have these values.
    pub required: Vec<(String, String)>,
    /// What must hold for the claims.
    pub claim_rules: Vec<Rule>,
    /// The user's name.
    pub username: Source,
    /// The user's groups.
    pub groups: Option<Source>,
    /// The user's uid.
    pub uid: Option<Source>,
    /// Further facts about the user, by their keys.
    pub extra: Vec<(String, Expression)>,
    /// What must hold for the user.
    pub user_rules: Vec<Rule>,
}

impl Issuer {
    /// An issuer whose subjects are the users' names, with the issuer before them as upstream's older
    /// settings have it.
    pub fn new(url: impl Into<String>, audiences: Vec<String>) -> Self {
        let url = url.into();
        Self {
            username: Source::Claim(Mapping {
                claim: "sub".to_owned(),
                prefix: format!("{url}#"),
            }),
            url,
            discovery: None,
            authority: None,
            audiences,
            algorithms: Algorithm::ALL.to_vec(),
            required: Vec::new(),
            claim_rules: Vec::new(),
            groups: None,
            uid: None,
            extra: Vec::new(),
            user_rules: Vec::new(),
        }
    }

    /// Where the discovery document is.
    pub fn discovery_url(&self) -> String {
        self.discovery.clone().unwrap_or_else(|| {
            format!(
                "{}/.well-known/openid-configuration",
                self.url.trim_end_matches('/')
            )
        })
    }
}

/// Settings of one provider, as upstream's `--oidc-*` flags.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The issuer's URL.
    pub issuer_url: String,
    /// Whom tokens are for.
    pub client_id: String,
    /// The claim that is the user's name; `sub` if not set.
    pub username_claim: Option<String>,
    /// Put before names; `-` for nothing. If not set: nothing for `email`, else the issuer and `#`.
    pub username_prefix: Option<String>,
    /// The claim that is the user's groups.
    pub groups_claim: Option<String>,
    /// Put before groups.
    pub groups_prefix: Option<String>,
    /// Claims that must have these values.
    pub required_claims: BTreeMap<String, String>,
    /// How tokens may be signed; `RS256` if not set.
    pub signing_algs: Vec<String>,
    /// The authorities the issuer's certificate may be of, PEM; the host's if not set.
    pub ca: Option<String>,
}

impl Settings {
    /// The issuer of these settings.
    ///
    /// # Errors
    /// If one of them is not possible.
    pub fn issuer(&self) -> Result<Issuer, Error> {
        check_url("issuer_url", &self.issuer_url)?;
        if self.client_id.is_empty() {
            return Err(invalid("client_id", "required with issuer_url"));
        }
        let mut issuer = Issuer::new(&self.issuer_url, vec![self.client_id.clone()]);
        let claim = self.username_claim.clone().unwrap_or_else(|| "sub".into());
        let prefix = match self.username_prefix.as_deref() {
            None if claim == "email" => String::new(),
            None => format!("{}#", self.issuer_url),
            Some("-") => String::new(),
            Some(prefix) => prefix.to_owned(),
        };
        issuer.username = Source::Claim(Mapping { claim, prefix });
        issuer.groups = self.groups_claim.clone().map(|claim| {
            Source::Claim(Mapping {
                claim,
                prefix: self.groups_prefix.clone().unwrap_or_default(),
            })
        });
        issuer.required = self.required_claims.clone().into_iter().collect();
        issuer.algorithms = if self.signing_algs.is_empty() {
            vec![Algorithm::RS256]
        } else {
            self.signing_algs
                .iter()
                .map(|name| {
                    Algorithm::parse(name).ok_or_else(|| {
                        invalid(
                            "signing_algs",
                            format!("{name:?} is not verified here: {:?} are", Algorithm::ALL),
                        )
                    })
                })
                .collect::<Result<_, _>>()?
        };
        issuer.authority = authorities("ca", self.ca.as_deref())?;
        Ok(issuer)
    }
}

fn check_url(field: &str, url: &str) -> Result<(), Error> {
    let parsed: http::Uri = url
        .parse()
        .map_err(|error| invalid(field, format!("{url:?} is no URL: {error}")))?;
    if parsed.scheme_str() != Some("https") {
        return Err(invalid(field, format!("{url:?}: URL scheme must be https")));
    }
    if parsed.query().is_some() || url.contains('#') {
        return Err(invalid(
            field,
            format!("{url:?}: URL must not contain a query or a fragment"),
        ));
    }
    if parsed
        .authority()
        .is_none_or(|host| host.as_str().contains('@'))
    {
        return Err(invalid(
            field,
            format!("{url:?}: URL must name a host, and no username or password"),
        ));
    }
    Ok(())
}

fn authorities(field: &str, pem: Option<&str>) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let Some(pem) = pem.filter(|pem| !pem.is_empty()) else {
        return Ok(None);
    };
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(field, format!("not PEM certificates: {error:?}")))?;
    if found.is_empty() {
        return Err(invalid(field, "no PEM certificate in it"));
    }
    Ok(Some(found))
}

/// What a configuration file says.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// The issuers.
    pub issuers: Vec<Issuer>,
    /// Who may come without credentials, if it is said.
    pub anonymous: Option<Anonymous>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<FileJwt>,
    #[serde(default)]
    anonymous: Option<FileAnonymous>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileAnonymous {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<FileCondition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileCondition {
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileJwt {
    issuer: FileIssuer,
    #[serde(default)]
    claim_validation_rules: Vec<FileClaimRule>,
    claim_mappings: FileMappings,
    #[serde(default)]
    user_validation_rules: Vec<FileUserRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileIssuer {
    url: String,
    #[serde(rename = "discoveryURL")]
    discovery_url: Option<String>,
    certificate_authority: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    audience_match_policy: Option<String>,
    egress_selector_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileClaimRule {
    claim: Option<String>,
    required_value: Option<String>,
    expression: Option<String>,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileMappings {
    username: FileMapping,
    groups: Option<FileMapping>,
    uid: Option<FileMapping>,
    #[serde(default)]
    extra: Vec<FileExtra>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileMapping {
    claim: Option<String>,
    prefix: Option<String>,
    expression: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileExtra {
    key: String,
    value_expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileUserRule {
    expression: String,
    #[serde(default)]
    message: String,
}

/// Reads a configuration file's text, YAML or JSON. `own` is the server's own issuer, which no
/// provider may claim to be.
///
/// # Errors
/// If it is not of the right form, or says something that is not possible.
pub fn parse(text: &str, own: &str) -> Result<Authentication, Error> {
    let file: File =
        serde_saphyr::from_str(text).map_err(|error| Error::Form(error.to_string()))?;
    let group = file.api_version.strip_prefix("apiserver.config.k8s.io/");
    if !matches!(group, Some("v1" | "v1beta1")) || file.kind != "AuthenticationConfiguration" {
        return Err(Error::Form(format!(
            "it is a {} of {}; wanted is an AuthenticationConfiguration of apiserver.config.k8s.io/v1",
            file.kind, file.api_version
        )));
    }
    if file.jwt.len() > 64 {
        return Err(invalid("jwt", "Too many: must have at most 64 items"));
    }
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, entry) in file.jwt.into_iter().enumerate() {
        let at = format!("jwt[{index}]");
        let issuer = entry.issuer(&at)?;
        if issuer.url == own {
            return Err(invalid(
                format!("{at}.issuer.url"),
                "must not be the server's own issuer",
            ));
        }
        if issuers.iter().any(|other| other.url == issuer.url) {
            return Err(invalid(
                format!("{at}.issuer.url"),
                format!("Duplicate value: {:?}", issuer.url),
            ));
        }
        issuers.push(issuer);
    }
    let anonymous = file.anonymous.map(|anonymous| {
        if !anonymous.enabled {
            return if anonymous.conditions.is_empty() {
                Ok(Anonymous::Refused)
            } else {
                Err(invalid(
                    "anonymous.conditions",
                    "enabled should be set to true when conditions are defined",
                ))
            };
        }
        if anonymous.conditions.is_empty() {
            return Ok(Anonymous::Allowed);
        }
        let paths = anonymous.conditions.into_iter();
        Ok(Anonymous::Paths(paths.map(|one| one.path).collect()))
    });
    Ok(Authentication {
        issuers,
        anonymous: anonymous.transpose()?,
    })
}

/// A key of a user's extra: a lower-case path below a domain that is not the project's own.
fn check_key(at: &str, key: &str) -> Result<(), Error> {
    let domain = key.split_once('/').filter(|(_, path)| !path.is_empty());
    let Some((domain, _)) =
        domain.filter(|(domain, _)| consort_object::names::dns1123_subdomain(domain).is_ok())
    else {
        return Err(invalid(
            at,
            format!("{key:?}: must be a domain-prefixed path (such as \"acme.io/foo\")"),
        ));
    };
    if key != key.to_lowercase() {
        return Err(invalid(at, format!("{key:?}: key must be lowercase")));
    }
    let own = ["k8s.io", "kubernetes.io"];
    let reserved = own
        .iter()
        .any(|own| domain == *own || domain.ends_with(&format!(".{own}")));
    if reserved {
        return Err(invalid(
            at,
            format!(
                "{key:?}: k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            ),
        ));
    }
    Ok(())
}

impl FileJwt {
    fn issuer(self, at: &str) -> Result<Issuer, Error> {
        let file = self.issuer;
        check_url(&format!("{at}.issuer.url"), &file.url)?;
        if let Some(url) = &file.discovery_url {
            let field = format!("{at}.issuer.discoveryURL");
            check_url(&field, url)?;
            if url.trim_end_matches('/') == file.url.trim_end_matches('/') {
                return Err(invalid(field, "discoveryURL must be different from URL"));
            }
        }
        if file.audiences.is_empty() {
            return Err(invalid(
                format!("{at}.issuer.audiences"),
                "Required value: at least one jwt[].issuer.audiences is required",
            ));
        }
        match file.audience_match_policy.as_deref() {
            Some("MatchAny") => {}
            None | Some("") if file.audiences.len() == 1 => {}
            other => {
                return Err(invalid(
                    format!("{at}.issuer.audienceMatchPolicy"),
                    format!(
                        "{:?}: must be MatchAny for multiple audiences",
                        other.unwrap_or_default()
                    ),
                ));
            }
        }
        if file
            .egress_selector_type
            .is_some_and(|kind| !kind.is_empty())
        {
            return Err(invalid(
                format!("{at}.issuer.egressSelectorType"),
                "there are no egress selectors here",
            ));
        }
        let mut issuer = Issuer::new(file.url, file.audiences);
        issuer.discovery = file.discovery_url;
        issuer.authority = authorities(
            &format!("{at}.issuer.certificateAuthority"),
            file.certificate_authority.as_deref(),
        )?;
        for (index, rule) in self.claim_validation_rules.into_iter().enumerate() {
            let at = format!("{at}.claimValidationRules[{index}]");
            let claim = rule.claim.filter(|claim| !claim.is_empty());
            if let Some(text) = rule.expression.filter(|text| !text.is_empty()) {
                if claim.is_some() || rule.required_value.is_some() {
                    return Err(invalid(&at, "claim and expression can't both be set"));
                }
                let place = format!("{at}.expression");
                issuer
                    .claim_rules
                    .push(Rule::over_claims(&place, &text, rule.message)?);
                continue;
            }
            if !rule.message.is_empty() {
                return Err(invalid(
                    format!("{at}.message"),
                    "message can't be set when claim is set",
                ));
            }
            let claim = claim
                .ok_or_else(|| invalid(&at, "Required value: claim or expression is required"))?;
            if issuer.required.iter().any(|(other, _)| *other == claim) {
                return Err(invalid(
                    format!("{at}.claim"),
                    format!("Duplicate value: {claim:?}"),
                ));
            }
            issuer
                .required
                .push((claim, rule.required_value.unwrap_or_default()));
        }
        let mappings = self.claim_mappings;
        let place = format!("{at}.claimMappings");
        issuer.username = mappings
            .username
            .source(&format!("{place}.username"), true)?
            .ok_or_else(|| {
                invalid(
                    format!("{place}.username"),
                    "Required value: claim or expression is required",
                )
            })?;
        issuer.groups = match mappings.groups {
            Some(groups) => groups.source(&format!("{place}.groups"), true)?,
            None => None,
        };
        if let Some(uid) = mappings.uid {
            issuer.uid = uid.source(&format!("{place}.uid"), false)?;
        }
        for (index, extra) in mappings.extra.into_iter().enumerate() {
            let at = format!("{place}.extra[{index}]");
            check_key(&format!("{at}.key"), &extra.key)?;
            if issuer.extra.iter().any(|(other, _)| *other == extra.key) {
                return Err(invalid(
                    format!("{at}.key"),
                    format!("Duplicate value: {:?}", extra.key),
                ));
            }
            let value = format!("{at}.valueExpression");
            let expression = Expression::over_claims(&value, &extra.value_expression)?;
            issuer.extra.push((extra.key, expression));
        }
        for (index, rule) in self.user_validation_rules.into_iter().enumerate() {
            let at = format!("{at}.userValidationRules[{index}].expression");
            let rule = Rule::over_user(&at, &rule.expression, rule.message)?;
            issuer.user_rules.push(rule);
        }
        // An address that nobody verified is anybody's.
        let email = |word: &str| match &issuer.username {
            Source::Expression(expression) => expression.mentions(word),
            Source::Claim(_) => false,
        };
        let verified = "claims.email_verified";
        if email("claims.email")
            && !email(verified)
            && !issuer.extra.iter().any(|(_, one)| one.mentions(verified))
            && !issuer.claim_rules.iter().any(|one| one.mentions(verified))
        {
            return Err(invalid(
                format!("{place}.username.expression"),
                "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
            ));
        }
        Ok(issuer)
    }
}

impl FileMapping {
    fn source(self, at: &str, prefixed: bool) -> Result<Option<Source>, Error> {
        let claim = self.claim.filter(|claim| !claim.is_empty());
        if let Some(text) = self.expression.filter(|text| !text.is_empty()) {
            if claim.is_some() {
                return Err(invalid(at, "claim and expression can't both be set"));
            }
            if self.prefix.is_some() {
                return Err(invalid(
                    format!("{at}.prefix"),
                    "prefix can't be set when expression is set",
                ));
            }
            let place = format!("{at}.expression");
            return Ok(Some(Source::Expression(Expression::over_claims(
                &place, &text,
            )?)));
        }
        let Some(claim) = claim else {
            return Ok(None);
        };
        let prefix = match self.prefix {
            Some(prefix) => prefix,
            None if !prefixed => String::new(),
            None => {
                return Err(invalid(
                    format!("{at}.prefix"),
                    "Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
                ));
            }
        };
        Ok(Some(Source::Claim(Mapping { claim, prefix })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /livez}]}
jwt:
- issuer:
    url: https://idp.test
    audiences: [app, other]
    audienceMatchPolicy: MatchAny
  claimValidationRules:
  - {claim: team, requiredValue: blue}
  claimMappings:
    username: {claim: sub, prefix: 'idp:'}
    groups: {claim: roles, prefix: ''}
";

    #[test]
    fn a_file_says_issuers_and_who_may_come_without_credentials() {
        let read = parse(GOOD, "https://own.test").unwrap();
        assert_eq!(
            read.anonymous,
            Some(Anonymous::Paths(vec!["/livez".into()]))
        );
        let issuer = &read.issuers[0];
        assert_eq!(issuer.audiences, ["app", "other"]);
        let Source::Claim(name) = &issuer.username else {
            panic!("it is a claim");
        };
        assert_eq!(name.prefix, "idp:");
        assert_eq!(
            issuer.discovery_url(),
            "https://idp.test/.well-known/openid-configuration"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_place() {
        for (from, to, place) in [
            ("https://idp.test", "http://idp.test", "jwt[0].issuer.url"),
            ("https://idp.test", "https://own.test", "jwt[0].issuer.url"),
            (
                "    audienceMatchPolicy: MatchAny\n",
                "",
                "audienceMatchPolicy",
            ),
            (", prefix: 'idp:'", "", "claimMappings.username.prefix"),
            (
                "claim: team, requiredValue: blue",
                "expression: 'claims.'",
                "claimValidationRules[0]",
            ),
            (
                "claim: team, requiredValue: blue",
                "claim: team, expression: 'true'",
                "claimValidationRules[0]",
            ),
            (
                "claim: sub, prefix: 'idp:'",
                "expression: claims.email",
                "claims.email_verified must be used",
            ),
            ("enabled: true", "enabled: false", "anonymous.conditions"),
            ("kind: Auth", "kind: auth", "not usable"),
            ("claim: roles", "klaim: roles", "not usable"),
        ] {
            let error = parse(&GOOD.replace(from, to), "https://own.test").unwrap_err();
            assert!(error.to_string().contains(place), "{from}: {error}");
        }
    }

    #[test]
    fn the_older_settings_put_the_issuer_before_names_unless_told() {
        let mut settings = Settings {
            issuer_url: "https://idp.test".to_owned(),
            client_id: "app".to_owned(),
            ..Settings::default()
        };
        let prefix = |settings: &Settings| match settings.issuer().unwrap().username {
            Source::Claim(mapping) => mapping.prefix,
            Source::Expression(_) => panic!("it is a claim"),
        };
        let issuer = settings.issuer().unwrap();
        assert_eq!(prefix(&settings), "https://idp.test#");
        assert_eq!(issuer.algorithms, [Algorithm::RS256]);
        settings.username_prefix = Some("-".to_owned());
        settings.signing_algs = vec!["ES256".to_owned(), "PS512".to_owned()];
        assert_eq!(prefix(&settings), "");
        settings.signing_algs.push("ES512".to_owned());
        assert!(settings.issuer().is_err());
    }

    #[test]
    fn expressions_check_claims_and_make_the_user() {
        let text = "apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: 'https://idp.test', audiences: [app]}
  claimValidationRules:
  - {expression: 'claims.hd == \"x.test\"', message: only for x.test}
  claimMappings:
    username: {expression: 'claims.sub + \":x\"'}
    groups: {expression: 'claims.roles.split(\",\")'}
    uid: {expression: claims.sub}
    extra: [{key: x.test/tenant, valueExpression: claims.tenant}]
  userValidationRules:
  - {expression: '!user.username.startsWith(\"system:\")', message: no system users}
";
        let read = parse(text, "https://own.test").unwrap();
        let issuer = &read.issuers[0];
        let claims =
            serde_json::json!({"sub": "7", "hd": "x.test", "roles": "a,b", "tenant": ["t"]});
        let user = super::super::claims::user(issuer, &claims).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("7:x", "7"));
        assert!(user.is_in("a") && user.is_in("b"));
        assert_eq!(user.extra["x.test/tenant"], ["t"]);
        for (claim, value, told) in [
            ("hd", serde_json::json!("y.test"), "only for x.test"),
            ("sub", serde_json::json!("system:x"), "no system users"),
            ("roles", serde_json::json!(7), "group claim expression"),
        ] {
            let mut wrong = claims.clone();
            wrong[claim] = value;
            let why = super::super::claims::user(issuer, &wrong).unwrap_err();
            assert!(why.contains(told), "{why}");
        }
        let reserved = text.replace("x.test/tenant", "a.kubernetes.io/tenant");
        assert!(parse(&reserved, "https://own.test").is_err());
    }
}
