//! What comprehensions over two variables need: adding an entry to a map.

use crate::functions::{Context, Library};
use crate::libraries::{Answer, no_overload};
use crate::value::Value;

/// Declarations and code.
pub(crate) const LIBRARY: Library = Library {
    declarations: "
        @mapInsert_map_key_value: cel.@mapInsert(map(K, V), K, V) -> map(K, V)
        @mapInsert_map_map: cel.@mapInsert(map(K, V), map(K, V)) -> map(K, V)
    ",
    functions: &[("cel.@mapInsert", insert)],
};

fn insert<'a>(_: &mut Context<'_>, _: &[Value<'a>]) -> Answer<'a> {
    // Only macros make these calls, and always on their own accumulator, which the planner turns into an operation.
    no_overload()
}
