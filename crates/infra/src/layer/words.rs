//! Why changes are made, in words, and what can be done about them afterwards.

use consort_plan::Reversal;

use crate::address::Mode;
use crate::engine::{Action, Change, Reason};

/// Parts of resource types whose objects hold data that is gone with them, as names of types are written across
/// providers: `aws_db_instance`, `google_sql_database_instance`, `azurerm_managed_disk`.
const KEEPS_DATA: [&str; 43] = [
    "_db_instance",
    "_db_cluster",
    "_rds_cluster",
    "_rds_global_cluster",
    "_docdb_cluster",
    "_neptune_cluster",
    "_redshift_cluster",
    "_dynamodb_table",
    "_dynamodb_global_table",
    "_elasticache_",
    "_memorydb_cluster",
    "_sql_database",
    "_sql_server",
    "_sql_instance",
    "_mysql_",
    "_mssql_",
    "_mariadb_",
    "_postgresql_",
    "_cosmosdb_",
    "_spanner_",
    "_bigtable_",
    "_bigquery_table",
    "_bigquery_dataset",
    "_firestore_",
    "_database",
    "_ebs_volume",
    "_volume",
    "_disk",
    "_efs_file_system",
    "_fsx_",
    "_file_system",
    "_filestore_",
    "_s3_bucket",
    "_storage_bucket",
    "_storage_account",
    "_storage_container",
    "_bucket",
    "_kms_key",
    "_kms_crypto_key",
    "_key_vault",
    "_snapshot",
    "_opensearch_domain",
    "_elasticsearch_domain",
];

/// Those whose objects hold data although their names do not tell.
const KEEP_DATA: [&str; 3] = [
    "consort_machine",
    "aws_secretsmanager_secret",
    "aws_msk_cluster",
];

/// Endings of types that are about such an object, and are not it.
const ABOUT: [&str; 14] = [
    "_attachment",
    "_policy",
    "_acl",
    "_association",
    "_versioning",
    "_configuration",
    "_notification",
    "_block",
    "_iam_member",
    "_iam_binding",
    "_parameter_group",
    "_subnet_group",
    "_object",
    "_rule",
];

fn keeps_data(kind: &str) -> bool {
    if KEEP_DATA.contains(&kind) {
        return true;
    }
    !ABOUT.iter().any(|ending| kind.ends_with(ending))
        && KEEPS_DATA.iter().any(|part| kind.contains(part))
}

/// What can be done about a change once it is made.
pub(super) fn reversal(change: &Change) -> Reversal {
    if change.address.resource.mode != Mode::Managed {
        return Reversal::Reversible;
    }
    match change.action {
        Action::NoOp | Action::Read | Action::Create | Action::Update => Reversal::Reversible,
        Action::Forget => Reversal::Compensable,
        Action::Delete | Action::DeleteThenCreate | Action::CreateThenDelete => {
            if keeps_data(&change.address.resource.kind) {
                Reversal::Irreversible
            } else {
                Reversal::Compensable
            }
        }
    }
}

/// Why a change is made, where before and after do not tell.
pub(super) fn reasons(change: &Change) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    if let Some(reason) = change.reason {
        reasons.extend(match reason {
            Reason::ReplaceBecauseCannotUpdate => cannot_update(change),
            Reason::ReplaceBecauseTainted => {
                Some("an earlier operation left it unfinished".to_owned())
            }
            Reason::ReplaceByRequest => Some("its replacement was asked for".to_owned()),
            Reason::ReplaceByTriggers => {
                Some("something in its replace_triggered_by changes".to_owned())
            }
            Reason::DeleteBecauseNoResourceConfig => Some("not in the source any more".to_owned()),
            Reason::DeleteBecauseWrongRepetition => {
                Some("its block was given, or has lost, count or for_each".to_owned())
            }
            Reason::DeleteBecauseCountIndex => Some("its index is beyond count".to_owned()),
            Reason::DeleteBecauseEachKey => Some("its key is not in for_each any more".to_owned()),
            Reason::DeleteBecauseNoModule => {
                Some("its module is not in the source any more".to_owned())
            }
            Reason::DeleteBecauseNoMoveTarget => {
                Some("what it was to be moved to is not in the source".to_owned())
            }
            Reason::ReadBecauseConfigUnknown => {
                Some("its arguments are known only after the apply".to_owned())
            }
            Reason::ReadBecauseDependencyPending => {
                Some("something it depends on is about to change".to_owned())
            }
            Reason::ReadBecauseCheckNested => Some("a check reads it with each apply".to_owned()),
        });
    }
    if let Some(key) = &change.deposed {
        reasons.push(format!(
            "left over from a replacement that was not finished (object {key})"
        ));
    }
    if let Some(importing) = &change.importing {
        reasons.push(format!("imported: {}", importing.shown()));
    }
    if change.action == Action::Forget && reasons.is_empty() {
        reasons.push("no longer looked after; it stays as it is".to_owned());
    }
    reasons
}

fn cannot_update(change: &Change) -> Option<String> {
    let mut names: Vec<String> = change
        .replace_paths
        .iter()
        .map(|path| {
            super::values::pointer(path)
                .trim_start_matches('/')
                .replace('/', ".")
        })
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| format!("cannot be changed in place: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_data_is_told_from_what_is_about_it() {
        for kind in [
            "aws_db_instance",
            "google_sql_database_instance",
            "azurerm_managed_disk",
            "aws_s3_bucket",
            "consort_machine",
        ] {
            assert!(keeps_data(kind), "{kind}");
        }
        for kind in [
            "aws_volume_attachment",
            "aws_s3_bucket_policy",
            "aws_s3_bucket_public_access_block",
            "consort_network",
            "null_resource",
        ] {
            assert!(!keeps_data(kind), "{kind}");
        }
    }
}
