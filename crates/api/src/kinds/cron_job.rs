//! CronJobs.

use crate::defaults;
use crate::kind::{Kind, STATUS};
use crate::print;
use crate::strategy::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, Strategy, column};
use crate::validation::{self, Errors, Path};
use crate::values::{flag, items, set, text};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The kind `CronJob`.
pub(super) fn cron_job() -> Kind {
    let mut kind = Kind::new("batch", "v1", "CronJob", "cronjobs")
        .short(&["cj"])
        .categories(&["all"])
        .sub(STATUS)
        .strategy(CronJob);
    kind.generation = true;
    kind
}

struct CronJob;

impl Strategy for CronJob {
    fn default(&self, object: &mut Value) {
        defaults::cron_job(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn validate(&self, object: &Value, here: &Path<'_>, errors: &mut Errors) {
        validation::cron_job(object, here, errors);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            NAME,
            column("Schedule", "string", "When jobs are made, in Cron format."),
            column("Timezone", "string", "The time zone of the schedule."),
            column("Suspend", "boolean", "Whether no further jobs are made."),
            column("Active", "integer", "Jobs that are running."),
            column("Last Schedule", "string", "When a job was last made."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &object["spec"];
        let job = &spec["jobTemplate"]["spec"];
        let (names, images) = print::containers(&job["template"]["spec"]);
        let last = match text(object, &["status", "lastScheduleTime"]) {
            "" => "<none>".to_owned(),
            time => print::since(time, now),
        };
        vec![
            print::name(object),
            text(spec, &["schedule"]).into(),
            print::or(text(spec, &["timeZone"]), "<none>").into(),
            // Upstream's column is named a boolean and holds a text.
            if flag(spec, &["suspend"]) {
                "True"
            } else {
                "False"
            }
            .into(),
            items(object, &["status", "active"]).len().into(),
            last.into(),
            print::age(object, now),
            names,
            images,
            print::selector(&job["selector"]).into(),
        ]
    }
}
