//! Vaults, held against what ansible-vault 2.21 made.

use consort_playbook::vault::{Error, Secret, Vault, decrypt, encrypt, is_encrypted};

/// Made by ansible-vault with the password `secret` and the salt `salty`.
const MADE: &str = "$ANSIBLE_VAULT;1.2;AES256;dev
373336313663373437390a3830313065633837653930646231616161636431383536636330366364
64663232643962636539326434623163303036666239393538353861636431653832350a32326164
61646632336235393661393463666666393732613264643235633035
";

fn secret(id: &str, password: &str) -> Secret {
    Secret {
        id: id.to_owned(),
        password: password.as_bytes().to_vec(),
    }
}

#[test]
fn a_vault_is_the_very_one_that_ansible_makes() {
    let made = encrypt(b"hello: world\n", b"secret", Some("dev"), Some(b"salty")).unwrap();
    assert_eq!(made, MADE);
    assert!(is_encrypted(made.as_bytes()));
    assert_eq!(
        decrypt(MADE.as_bytes(), b"secret").unwrap(),
        b"hello: world\n"
    );
}

#[test]
fn every_secret_is_tried_unless_names_must_match() {
    let secrets = vec![secret("dev", "wrong"), secret("other", "secret")];
    let vault = Vault::new(secrets.clone());
    let opened = vault.decrypt(MADE.as_bytes()).unwrap();
    assert_eq!(opened.secret.id, "other");
    assert_eq!(opened.id.as_deref(), Some("dev"));
    assert_eq!(
        Vault::new(secrets)
            .matching_ids(true)
            .decrypt(MADE.as_bytes())
            .unwrap_err(),
        Error::NoneFits
    );
    assert_eq!(
        Vault::default().decrypt(MADE.as_bytes()).unwrap_err(),
        Error::NoSecrets
    );
}

#[test]
fn a_vault_that_is_damaged_is_told_and_not_opened() {
    let cases = [
        ("$ANSIBLE_VAULT", Error::Envelope),
        (
            "$ANSIBLE_VAULT;1.1;AES\n00\n",
            Error::Cipher("AES".to_owned()),
        ),
        ("$ANSIBLE_VAULT;1.1;AES256\n0\n", Error::Digits),
        ("$ANSIBLE_VAULT;1.1;AES256\n00ff\n", Error::Parts),
        ("no vault", Error::NotEncrypted),
    ];
    for (text, error) in cases {
        assert_eq!(
            decrypt(text.as_bytes(), b"secret").unwrap_err(),
            error,
            "{text}"
        );
    }
    let changed = MADE.replace("61646632", "61646633");
    assert_eq!(
        decrypt(changed.as_bytes(), b"secret").unwrap_err(),
        Error::NoneFits
    );
}
