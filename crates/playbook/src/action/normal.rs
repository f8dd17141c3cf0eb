//! A module without a half on the controller.

use consort_jinja::Dict;

use super::given::set;
use super::{Action, Outcome, Traits};
use crate::connection::Call;
use crate::executor::{Attempt, ModuleCall};

/// Runs the module the task names.
pub struct Normal;

impl Action for Normal {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move {
            let call = ModuleCall {
                background: attempt.background.is_some(),
                ..ModuleCall::default()
            };
            let result = attempt.module_with(attempt.name, arguments, call).await?;
            if matches!(
                attempt.name,
                "ansible.builtin.setup" | "ansible.legacy.setup" | "setup"
            ) {
                // Facts are many: they are shown with -v only if somebody asks for them by name.
                set(&result, "_ansible_verbose_override", true);
            }
            Ok(result)
        })
    }

    fn traits(&self) -> Traits {
        Traits {
            background: true,
            ..Traits::default()
        }
    }
}
