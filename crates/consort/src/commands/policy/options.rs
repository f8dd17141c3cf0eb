//! The options of `consort policy`, by the names that `opa` gives them.

use clap::{Args, Subcommand, ValueEnum};

/// Work on policies in Rego.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Run the tests of policies: rules whose names begin with `test_`
    Test(PolicyTest),
    /// Evaluate a query over modules, data and an input
    Eval(PolicyEval),
    /// Lay Rego out in the one way that `opa fmt` does
    Fmt(PolicyFmt),
    /// Check that Rego is laid out so, and name the files that are not
    FmtCheck(PolicyFmt),
}

/// What a trace shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Explain {
    /// Nothing
    Off,
    /// Each statement, with the values of its variables
    Full,
    /// Statements that do not hold
    Fails,
    /// What the function `trace` was given
    Notes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// For people
    Pretty,
    /// A list of results
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvalFormat {
    /// Results, or errors, as an object
    Json,
    /// For people
    Pretty,
    /// The values of the expressions
    Values,
    /// The values of the variables
    Bindings,
    /// Values without quotes around strings
    Raw,
    /// Nothing
    Discard,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyTest {
    /// Files and directories with modules, tests and data; `PREFIX:PATH` puts data below a place
    #[arg(required_unless_present = "bundle")]
    pub(crate) paths: Vec<String>,
    /// Directories read as bundles: of the data only files with the name `data`
    #[arg(short, long)]
    pub(crate) bundle: Vec<String>,
    /// Tell of tests that pass too
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Run only the tests whose full names match this regular expression
    #[arg(short, long)]
    pub(crate) run: Option<String>,
    /// How results are written
    #[arg(short, long, value_enum, default_value = "pretty")]
    pub(crate) format: TestFormat,
    /// Report which lines were evaluated, as JSON, if all tests pass
    #[arg(short, long)]
    pub(crate) coverage: bool,
    /// Fail if fewer per cent of the lines were evaluated
    #[arg(long)]
    pub(crate) threshold: Option<f64>,
    /// Show what tests that fail came by
    #[arg(long, value_enum)]
    pub(crate) explain: Option<Explain>,
    /// How long one test may take; 0s is without end
    #[arg(long, value_parser = crate::cli::duration, default_value = "5s")]
    pub(crate) timeout: std::time::Duration,
    /// Skipped tests are no failure
    #[arg(short = 'z', long)]
    pub(crate) exit_zero_on_skipped: bool,
    /// Modules are Rego v0 unless they import `rego.v1`
    #[arg(long, visible_alias = "v0")]
    pub(crate) v0_compatible: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyEval {
    /// The query: `data.shop.deny`
    pub(crate) query: Option<String>,
    /// Read the query from standard input
    #[arg(long, conflicts_with = "query")]
    pub(crate) stdin: bool,
    /// Files and directories with modules and data; `PREFIX:PATH` puts data below a place
    #[arg(short, long)]
    pub(crate) data: Vec<String>,
    /// Directories read as bundles
    #[arg(short, long)]
    pub(crate) bundle: Vec<String>,
    /// The input, JSON or YAML
    #[arg(short, long)]
    pub(crate) input: Option<String>,
    /// Read the input from standard input
    #[arg(short = 'I', long, conflicts_with_all = ["input", "stdin"])]
    pub(crate) stdin_input: bool,
    /// How results are written
    #[arg(short, long, value_enum, default_value = "json")]
    pub(crate) format: EvalFormat,
    /// End with 1 if the query is undefined
    #[arg(long)]
    pub(crate) fail: bool,
    /// End with 1 if the query is defined
    #[arg(long)]
    pub(crate) fail_defined: bool,
    /// Report which lines were evaluated
    #[arg(long)]
    pub(crate) coverage: bool,
    /// Show what the evaluation came by
    #[arg(long, value_enum)]
    pub(crate) explain: Option<Explain>,
    /// An error of a built-in function ends the evaluation; otherwise its result is undefined
    #[arg(long)]
    pub(crate) strict_builtin_errors: bool,
    /// How long the evaluation may take; 0s is without end
    #[arg(long, value_parser = crate::cli::duration, default_value = "0s")]
    pub(crate) timeout: std::time::Duration,
    /// Modules are Rego v0 unless they import `rego.v1`
    #[arg(long, visible_alias = "v0")]
    pub(crate) v0_compatible: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyFmt {
    /// Files, and directories with all below them
    pub(crate) paths: Vec<String>,
    /// Show the difference
    #[arg(short, long)]
    pub(crate) diff: bool,
    /// Name the files that differ
    #[arg(short, long)]
    pub(crate) list: bool,
    /// Write the files that differ
    #[arg(short, long, conflicts_with_all = ["diff", "list"])]
    pub(crate) write: bool,
    /// End with 2 if a file differs (as fmt-check does in any case)
    #[arg(long)]
    pub(crate) fail: bool,
    /// Modules are Rego v0 unless they import `rego.v1`
    #[arg(long, visible_alias = "v0")]
    pub(crate) v0_compatible: bool,
}
