//! The items of a task's loop, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_jinja::{Dict, Value, repr};
use parking_lot::Mutex;

use super::registered::Recorded;
use super::{Shown, Work};
use crate::executor::result::{LoopItem, Outcome};
use crate::output::Event;
use crate::source::Located;
use crate::variables::{TaskVariables, is_name, no_name};

/// What an item of a loop is, while it is worked on.
pub(super) struct Current {
    variable: Arc<str>,
    pub(super) value: Value,
    index_variable: Option<Arc<str>>,
    index: usize,
    extended: Option<Dict>,
}

/// `loop_control`, rendered.
pub(super) struct Control {
    variable: Arc<str>,
    index_variable: Option<Arc<str>>,
    pause: f64,
    extended: bool,
    all_items: bool,
}

impl Work {
    /// The items of the loop; whether what is wrong with them is that something is not defined.
    pub(super) fn items(&self) -> Result<Option<Vec<Value>>, (Located, bool)> {
        let Some(looped) = &self.plan.looped else {
            return Ok(None);
        };
        let templar = &self.run.templar;
        let error = |error: crate::template::Error| (Located::from(&error), error.undefined);
        if let Some(lookup) = &looped.lookup {
            let items = templar
                .lookup(lookup, &looped.over, &self.variables)
                .map_err(error)?;
            return Ok(Some(items));
        }
        let rendered = templar
            .render(&looped.over, &self.variables)
            .map_err(error)?;
        match &rendered {
            Value::List(list) => Ok(Some(list.read().clone())),
            Value::Tuple(items) => Ok(Some(items.to_vec())),
            other => Err((
                Located::new(format!(
                    "The `loop` value must resolve to a 'list', not {}.",
                    repr::string(other.type_name())
                ))
                .about(&looped.over)
                .hint("Provide a list of items/templates, or a template resolving to a list."),
                false,
            )),
        }
    }

    pub(super) fn control(&self) -> Result<Control, Located> {
        let written = &self.plan.control;
        let keywords = self.keywords(&self.variables);
        let variable = keywords
            .text("loop_var", written.variable.as_ref())?
            .map_or_else(|| Arc::from("item"), Arc::from);
        let index_variable: Option<Arc<str>> = keywords
            .text("index_var", written.index.as_ref())?
            .map(Arc::from);
        for (keyword, name) in [
            ("loop_var", Some(&variable)),
            ("index_var", index_variable.as_ref()),
        ] {
            if let Some(name) = name
                && !is_name(name)
            {
                return Err(Located::new(format!("Invalid '{keyword}'."))
                    .because(no_name(&Value::from(&**name))));
            }
        }
        self.warn_of_names(&variable, index_variable.as_ref());
        Ok(Control {
            variable,
            index_variable,
            pause: keywords
                .float("pause", written.pause.as_ref())?
                .unwrap_or(0.0),
            extended: keywords
                .bool("extended", written.extended.as_ref())?
                .unwrap_or(false),
            all_items: keywords
                .bool("extended_allitems", written.all_items.as_ref())?
                .unwrap_or(true),
        })
    }

    fn warn_of_names(&self, variable: &Arc<str>, index: Option<&Arc<str>>) {
        const COMMON: &[&str] = &[
            "ansible_connection",
            "ansible_host",
            "ansible_user",
            "ansible_shell_executable",
            "ansible_port",
            "ansible_pipelining",
            "ansible_password",
            "ansible_timeout",
            "ansible_shell_type",
            "ansible_module_compression",
            "ansible_private_key_file",
        ];
        for (keyword, name) in [("loop_var", Some(variable)), ("index_var", index)] {
            let Some(name) = name else { continue };
            let conflict = if self.variables.contains(name) {
                "already in use"
            } else if ["ansible_index_var", "ansible_loop", "ansible_loop_var"].contains(&&**name)
                || COMMON.contains(&&**name)
            {
                "reserved"
            } else if index == Some(variable) {
                "used more than once"
            } else {
                continue;
            };
            let written = if keyword == "loop_var" {
                &self.plan.control.variable
            } else {
                &self.plan.control.index
            };
            let mut warning = Located::new(format!(
                "The variable {} is {conflict}.",
                repr::string(name)
            ))
            .hint(format!(
                "You should set the `{keyword}` value in the `loop_control` option for the task to something else to avoid \
                 variable collisions and unexpected behavior."
            ));
            warning = match written {
                Some(written) => warning.about(written),
                None => warning.about(&Value::from(&**name)),
            };
            self.run.tell.warning(&warning);
        }
    }

    pub(super) async fn every(
        &self,
        items: Vec<Value>,
        control: &Control,
        recorded: &Mutex<Recorded>,
        shown: &mut Shown,
        delegate_facts: &mut bool,
    ) -> Outcome {
        recorded.lock().looped = true;
        let all = Value::from(items.clone());
        for (index, item) in items.iter().enumerate() {
            if index > 0 && control.pause > 0.0 {
                tokio::time::sleep(Duration::from_secs_f64(control.pause)).await;
            }
            let variables = self.variables.fork();
            let extended = control
                .extended
                .then(|| extended(&items, index, control.all_items.then_some(&all)));
            let current = Current {
                variable: Arc::clone(&control.variable),
                value: item.clone(),
                index_variable: control.index_variable.clone(),
                index,
                extended,
            };
            current.set(&variables);
            let began = Instant::now();
            let mut outcome = self
                .one(
                    &variables,
                    Some(&current),
                    None,
                    recorded,
                    shown,
                    delegate_facts,
                )
                .await;
            let mut ends = false;
            if !self.plan.control.break_when.is_empty() {
                let given = self.conditions(&self.plan.control.break_when, &variables);
                ends = outcome.break_when(given.map(|(holds, _)| holds));
            }
            self.tell_item(&outcome, shown, began.elapsed());
            {
                recorded.lock().push(outcome, variables);
            }
            if ends {
                break;
            }
        }
        let mut recorded = recorded.lock();
        recorded.over = true;
        Outcome::of_items(std::mem::take(&mut recorded.earlier))
    }

    fn tell_item(&self, outcome: &Outcome, shown: &Shown, elapsed: Duration) {
        let result = self.result(outcome, shown, elapsed);
        self.run.tell.event(&Event::Item(&result));
    }

    pub(super) fn label(
        &self,
        item: &Current,
        variables: &TaskVariables,
        outcome: &mut Outcome,
    ) -> Value {
        if let Some(written) = &self.plan.control.label {
            match self.run.templar.render(written, variables) {
                Ok(label) => return label,
                Err(error) => {
                    let warning = Located::new("Failed to template loop_control label.")
                        .because(Located::from(&error));
                    outcome.warnings.push(Value::from(warning.brief()));
                }
            }
        }
        item.value.clone()
    }
}

impl Current {
    pub(super) fn set(&self, variables: &TaskVariables) {
        variables.set_local("ansible_loop_var", Value::from(&*self.variable));
        variables.set_local(&self.variable, self.value.clone());
        if let Some(name) = &self.index_variable {
            variables.set_local("ansible_index_var", Value::from(&**name));
            variables.set_local(name, Value::from(self.index));
        }
        if let Some(extended) = &self.extended {
            variables.set_local("ansible_loop", Value::Dict(extended.clone()));
        }
    }

    pub(super) fn recorded(&self, label: Value) -> LoopItem {
        LoopItem {
            variable: Arc::clone(&self.variable),
            value: self.value.clone(),
            label,
            index_variable: self.index_variable.clone(),
            index: self.index as i64,
            extended: self.extended.clone(),
        }
    }
}

fn extended(items: &[Value], index: usize, all: Option<&Value>) -> Dict {
    let count = items.len();
    let mut entries: Vec<(&str, Value)> = vec![
        ("index", (index + 1).into()),
        ("index0", index.into()),
        ("first", (index == 0).into()),
        ("last", (index + 1 == count).into()),
        ("length", count.into()),
        ("revindex", (count - index).into()),
        ("revindex0", (count - index - 1).into()),
    ];
    if let Some(all) = all {
        entries.push(("allitems", all.clone()));
    }
    if let Some(next) = items.get(index + 1) {
        entries.push(("nextitem", next.clone()));
    }
    if let Some(previous) = index.checked_sub(1).and_then(|at| items.get(at)) {
        entries.push(("previtem", previous.clone()));
    }
    entries.into_iter().collect()
}
