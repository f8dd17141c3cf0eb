//! What stands between the network or the disk and the server: identities, rights, audit policies, the store's log.

use std::fs;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use consort_api::audit::Policy;
use consort_api::identity::tokens::{Signer, claimed_issuer};
use consort_api::identity::{Attributes, Rule, bootstrap_tokens, oidc, pki, uncovered};
use consort_store::{Key, Options, Store, verify};
use tempfile::TempDir;

use super::Target;
use crate::seeds;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "identity",
        run: identity,
        seeds: seeds::identities,
        choices: false,
    },
    Target {
        name: "policy_files",
        run: policies,
        seeds: seeds::policies,
        choices: false,
    },
    Target {
        name: "rights",
        run: |bytes| {
            let _ = rights(&mut Unstructured::new(bytes));
        },
        seeds: seeds::choices,
        choices: true,
    },
    Target {
        name: "store_log",
        run: log,
        seeds: seeds::logs,
        choices: false,
    },
];

fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let dir = TempDir::new().expect("a directory");
        let pki = pki::Pki::open(dir.path(), &["localhost".to_owned()], &[]).expect("keys");
        Signer::new(pki.service_account_key(), "https://issuer").expect("a signer")
    })
}

/// Nothing that was not signed here is anybody.
fn identity(bytes: &[u8]) {
    let _ = pki::user_of_certificate(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = (claimed_issuer(text), bootstrap_tokens::split(text));
    assert!(signer().verify(text, &[]).is_err());
    assert!(signer().verify_legacy(text).is_err());
}

fn policies(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = Policy::parse(text);
    let _ = oidc::config::parse(text, "https://issuer");
}

const WORDS: [&str; 8] = [
    "*",
    "get",
    "pods",
    "pods/log",
    "*/log",
    "",
    "apps",
    "/healthz*",
];

fn rule(u: &mut Unstructured<'_>) -> Result<Rule> {
    let mut list = || -> Result<Vec<String>> {
        let count = u.int_in_range(0..=3usize)?;
        (0..count)
            .map(|_| Ok((*u.choose(&WORDS)?).to_owned()))
            .collect()
    };
    Ok(Rule {
        verbs: list()?,
        api_groups: list()?,
        resources: list()?,
        resource_names: list()?,
        non_resource_urls: list()?,
    })
}

/// Who holds rules that cover others may do all that the others allow.
fn rights(u: &mut Unstructured<'_>) -> Result<()> {
    let rules = |u: &mut Unstructured<'_>| -> Result<Vec<Rule>> {
        let count = u.int_in_range(1..=3usize)?;
        (0..count).map(|_| rule(u)).collect()
    };
    let (held, wanted) = (rules(u)?, rules(u)?);
    assert!(uncovered(&wanted, &wanted).is_empty());
    let covered = uncovered(&held, &wanted).is_empty();
    for _ in 0..8 {
        let path = *u.choose(&["", "/healthz", "/healthz/x", "/"])?;
        let attributes = Attributes {
            verb: u.choose(&WORDS[1..])?,
            group: u.choose(&["", "apps"])?,
            resource: if path.is_empty() {
                u.choose(&["pods", "get"])?
            } else {
                ""
            },
            subresource: u.choose(&["", "log"])?,
            name: u.choose(&["", "get", "pods"])?,
            path,
            ..Attributes::default()
        };
        if covered && wanted.iter().any(|rule| rule.allows(&attributes)) {
            assert!(
                held.iter().any(|rule| rule.allows(&attributes)),
                "{held:?} cover {wanted:?} but not {attributes:?}"
            );
        }
    }
    Ok(())
}

/// A store on a log of any bytes opens or is refused; looking at it never fails but by the disk.
fn log(bytes: &[u8]) {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join(seeds::LOG);
    if fs::write(&path, bytes).is_err() {
        return;
    }
    let _ = verify(
        dir.path(),
        None,
        Some(&|key: &Key| key.plural() == "secrets"),
    );
    let _ = consort_store::check_backup(&path);
    let Ok(store) = Store::open(Options::new(dir.path())) else {
        return;
    };
    if let Ok(page) = store.range("", None, None, None, |_| true) {
        for object in page.objects {
            let _ = object.value();
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    if let Ok(runtime) = runtime {
        runtime.block_on(store.close());
    }
}
