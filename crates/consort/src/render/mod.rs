//! How scores are told on this terminal: the width and colours that texts are written with, and a walk while it is
//! under way.

mod live;

pub(crate) use live::{Live, Manner};

use std::io::IsTerminal as _;

use consort_score::render::Style;
use terminal_size::{Width, terminal_size_of};

use crate::output;

/// Where no terminal says how wide it is.
const WIDTH: usize = 100;

/// How text on standard output is written.
pub(crate) fn style() -> Style {
    let out = std::io::stdout();
    Style {
        colours: output::coloured_on(out.is_terminal()),
        width: terminal_size_of(&out).map_or(WIDTH, |(Width(width), _)| usable(width)),
        full: false,
        brief: false,
    }
}

/// How text on standard error is written.
pub(crate) fn error_style() -> Style {
    let out = std::io::stderr();
    Style {
        colours: output::coloured_on(out.is_terminal()),
        width: terminal_size_of(&out).map_or(WIDTH, |(Width(width), _)| usable(width)),
        full: false,
        brief: false,
    }
}

/// A terminal that claims to be narrower than anything can be told on, as some do that are none.
fn usable(width: u16) -> usize {
    if width < 20 { WIDTH } else { width.into() }
}
