//! A module without a half on the controller.

use consort_jinja::Dict;

use super::{Action, Outcome, Traits};
use crate::connection::Call;
use crate::executor::Attempt;

/// Runs the module the task names.
pub struct Normal;

impl Action for Normal {
    fn run<'a>(&'a self, attempt: &'a Attempt<'a>, arguments: Dict) -> Call<'a, Outcome> {
        Box::pin(async move { attempt.module(attempt.name, arguments).await })
    }

    fn traits(&self) -> Traits {
        Traits {
            background: true,
            ..Traits::default()
        }
    }
}
