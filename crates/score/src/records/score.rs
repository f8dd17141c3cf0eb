//! Scores as objects. What they hold is said by whoever follows them; here they are objects without types.

use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Error, FIELD_MANAGER, GROUP, Kind, Records, VERSION, doing};

impl Records {
    /// A score.
    pub async fn score(&self, name: &str) -> Result<Option<DynamicObject>, Error> {
        let found = self.objects(Kind::Score).get_opt(name).await;
        doing(|| format!("reading the score {name}"), found)
    }

    /// All scores of the namespace.
    pub async fn scores(&self) -> Result<Vec<DynamicObject>, Error> {
        let list = self
            .objects(Kind::Score)
            .list(&kube::api::ListParams::default())
            .await;
        Ok(doing(|| "listing the scores".to_owned(), list)?.items)
    }

    /// Makes or changes a score: applies these fields of its spec and gives the whole.
    pub async fn put_score(&self, name: &str, spec: &Value) -> Result<DynamicObject, Error> {
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": Kind::Score.name(),
            "metadata": {"name": name},
            "spec": spec,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self
            .objects(Kind::Score)
            .patch(name, &params, &Patch::Apply(&object))
            .await;
        doing(|| format!("keeping the score {name}"), applied)
    }

    /// Merges fields into the status of a score.
    pub async fn put_score_status(&self, name: &str, status: &Value) -> Result<(), Error> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = json!({ "status": status });
        let patched = self
            .objects(Kind::Score)
            .patch_status(name, &params, &Patch::Merge(&patch))
            .await;
        doing(
            || format!("keeping the status of the score {name}"),
            patched,
        )?;
        Ok(())
    }
}
