//! States sealed and opened in OpenTofu's form.

use std::collections::BTreeMap;

use consort_hcl::evaluate::Functions;
use consort_hcl::{Diagnostics, Sources};
use consort_infra::encryption::{Context, Encryption, Error, Target, is_sealed};

/// Sealed by another implementation of the form, with the passphrase below.
const SEALED: &str = r#"{"serial":7,"lineage":"3f8b2c1e","meta":{"key_provider.pbkdf2.a":"eyJzYWx0IjoiNXg2REJ5Y1g0Y1JhTEJHTDdTa01weXpRZjIvYjhseDhUN2N6UzVtWnZOND0iLCJpdGVyYXRpb25zIjoyMDAwMDAsImhhc2hfZnVuY3Rpb24iOiJzaGE1MTIiLCJrZXlfbGVuZ3RoIjozMn0="},"encrypted_data":"bbHEM48PiJP84GDd2meLIPSAD1C3gxuULi3p38e7T2iFlVZSCBvg+4/7Jvx//CR0fgpgZPn+PKxkoX9rZHLSVPdcRwL6crr4a6hh8Dk+2Jgd1V4XoSkc4PKwPyAcifDtX5/OMeUX36MolKqLhrQiz83NmypXOXT1KzaWoizKmdzi4Q==","encryption_version":"v0"}"#;
const STATE: &str = r#"{"version":4,"terraform_version":"1.11.4","serial":7,"lineage":"3f8b2c1e","outputs":{},"resources":[]}"#;
const PASSPHRASE: &str = "correct horse battery";

fn read(text: &str) -> (Encryption, Diagnostics) {
    let (variables, functions) = (BTreeMap::new(), Functions::new());
    let context = Context {
        variables: &variables,
        functions: &functions,
    };
    Encryption::read(None, Some(text), &context, &mut Sources::new())
}

fn state(text: &str) -> Target {
    let (encryption, diagnostics) = read(text);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    encryption.state.unwrap()
}

/// A configuration with the least iterations, so that tests are quick.
fn passphrase(text: &str, state: &str) -> String {
    format!(
        r#"
        key_provider "pbkdf2" "a" {{
          passphrase = "{text}"
          iterations = 200000
        }}
        key_provider "static" "b" {{
          key = "000102030405060708090a0b0c0d0e0f1011121314151617"
        }}
        method "aes_gcm" "a" {{
          keys = key_provider.pbkdf2.a
        }}
        method "aes_gcm" "b" {{
          keys = key_provider.static.b
        }}
        method "unencrypted" "none" {{}}
        state {{
          {state}
        }}
        "#
    )
}

#[tokio::test]
async fn what_another_implementation_sealed_is_opened_and_only_with_its_passphrase() {
    let target = state(&passphrase(PASSPHRASE, "method = method.aes_gcm.a"));
    let opened = target.open_state(SEALED.into()).await.unwrap();
    assert_eq!(opened, STATE.as_bytes());

    let other = state(&passphrase(
        "another passphrase",
        "method = method.aes_gcm.a",
    ));
    let failed = other.open_state(SEALED.into()).await.unwrap_err();
    assert!(matches!(failed, Error::Open(_)), "{failed}");

    // The parts in the clear must be those inside.
    let moved = SEALED.replace("\"serial\":7", "\"serial\":8");
    let failed = target.open_state(moved.into()).await.unwrap_err();
    assert!(
        matches!(
            failed,
            Error::Mismatch {
                field: "serial",
                ..
            }
        ),
        "{failed}"
    );
}

#[tokio::test]
async fn keys_are_changed_by_way_of_a_fallback() {
    let old = state(&passphrase(PASSPHRASE, "method = method.aes_gcm.a"));
    let sealed = old.seal_state(STATE.into()).await.unwrap();
    assert!(is_sealed(&sealed));
    assert!(
        String::from_utf8_lossy(&sealed)
            .starts_with(r#"{"serial":7,"lineage":"3f8b2c1e","meta":{"key_provider.pbkdf2.a":"#)
    );

    // A key of 192 bits now, and the passphrase for what was sealed before.
    let new = state(&passphrase(
        PASSPHRASE,
        "method = method.aes_gcm.b\n fallback {\n method = method.aes_gcm.a\n }",
    ));
    assert_eq!(new.open_state(sealed).await.unwrap(), STATE.as_bytes());
    let sealed = new.seal_state(STATE.into()).await.unwrap();
    assert_eq!(
        new.open_state(sealed.clone()).await.unwrap(),
        STATE.as_bytes()
    );
    assert!(old.open_state(sealed).await.is_err());
}

#[tokio::test]
async fn what_is_not_sealed_is_taken_only_where_that_is_said() {
    let strict = state(&passphrase(PASSPHRASE, "method = method.aes_gcm.b"));
    let failed = strict.open_state(STATE.into()).await.unwrap_err();
    assert!(matches!(failed, Error::Plain), "{failed}");
    let on_the_way = state(&passphrase(
        PASSPHRASE,
        "method = method.aes_gcm.b\n fallback {\n method = method.unencrypted.none\n }",
    ));
    assert_eq!(
        on_the_way.open_state(STATE.into()).await.unwrap(),
        STATE.as_bytes()
    );
    let back = state(&passphrase(
        PASSPHRASE,
        "method = method.unencrypted.none\n fallback {\n method = method.aes_gcm.b\n }",
    ));
    assert_eq!(
        back.seal_state(STATE.into()).await.unwrap(),
        STATE.as_bytes()
    );
}

#[tokio::test]
async fn json_says_the_same_with_texts_for_references() {
    let target = state(
        r#"{
          "key_provider": {
            "static": {"s": {"key": "00112233445566778899aabbccddeeff"}},
            "pbkdf2": {"a": {"chain": "key_provider.static.s", "iterations": 200000}}
          },
          "method": {"aes_gcm": {"a": {"keys": "${key_provider.pbkdf2.a}"}}},
          "state": {"method": "method.aes_gcm.a"}
        }"#,
    );
    let sealed = target.seal_state(STATE.into()).await.unwrap();
    assert_eq!(target.open_state(sealed).await.unwrap(), STATE.as_bytes());
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_where_it_is() {
    for (text, expected) in [
        (
            passphrase("too short", "method = method.aes_gcm.a"),
            "passphrase is too short",
        ),
        (
            passphrase(PASSPHRASE, "method = method.aes_gcm.x"),
            "no method \"aes_gcm\" \"x\"",
        ),
        (
            passphrase(PASSPHRASE, "method = aes_gcm"),
            "Expected method of form",
        ),
        (
            passphrase(
                PASSPHRASE,
                "method = method.unencrypted.none\n enforced = true",
            ),
            "enforced flag is set",
        ),
        (
            "key_provider \"aws_kms\" \"a\" {}".to_owned(),
            "cannot be fetched here yet",
        ),
        (
            "key_provider \"pbkdf2\" \"a\" {\n chain = key_provider.pbkdf2.a\n }".to_owned(),
            "circular reference",
        ),
    ] {
        let (_, diagnostics) = read(&text);
        let found = diagnostics
            .into_iter()
            .find(consort_hcl::Diagnostic::is_error)
            .unwrap();
        assert!(found.detail.contains(expected), "{found:?}");
        assert!(found.subject.is_some(), "{found:?}");
    }
}
