//! `console`: expressions tried out.

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;

use consort_hcl::diagnostic::{Diagnostic, Diagnostics};
use consort_hcl::evaluate::{CallError, Function, Parameter};
use consort_hcl::{Sources, Type, Value, parse_expression};
use consort_infra::engine::{Console, Mode, PlanOptions, Silent};
use consort_infra::render::expression;
use tokio_util::sync::CancellationToken;

use super::flags::{Flags, many, one, switch};
use super::line_editor::{Editor, Line};
use super::place::{Place, local_paths};
use super::session::{self, Session};
use super::terminal::Terminal;
use super::{Command, wait};

pub(super) const COMMAND: Command = Command {
    name: "console",
    usage: "[options]",
    short: "Try Terraform expressions at an interactive command prompt",
    about: "Evaluates expressions as they would be in the root module, with the values of the state. What is not \
            in the state is not known. Where standard input is no terminal each line is evaluated, and the last \
            result printed.",
    flags: &[&[
        one(
            "state",
            "path",
            "State file to read; for the local backend only.",
        ),
        switch(
            "plan",
            "Make a plan first and take its values in place of those of the state.",
        ),
        many("var", "'name=value'", "Set a variable of the root module."),
        many("var-file", "file", "Set variables as a file says."),
    ]],
    run,
};

const HELP: &str = "The Terraform console allows you to experiment with Terraform interpolations.\nYou may access \
                    resources in the state (if you have one) just as you would\nfrom a configuration. For example: \
                    \"aws_instance.foo.id\" would evaluate\nto the ID of \"aws_instance.foo\" if it exists in your \
                    state.\n\nType in the interpolation to test and hit <enter> to see the result.\n\nTo exit the \
                    console, type \"exit\" and hit <enter>, or use Control-C or\nControl-D.";

/// What became of an input.
enum Answer {
    Shown(String),
    Failed(Diagnostics, Sources),
    Exit,
}

struct Prompt<'c> {
    console: &'c Console<'c>,
    sources: &'c Sources,
}

impl Prompt<'_> {
    fn answer(&self, text: &str) -> Answer {
        match text.trim() {
            "" => return Answer::Shown(String::new()),
            "exit" => return Answer::Exit,
            "help" => return Answer::Shown(HELP.to_owned()),
            _ => {}
        }
        // The text has a place of its own beside the configuration's, for messages.
        let mut sources = self.sources.clone();
        let (expr, found) = parse_expression(&mut sources, "<console-input>", text);
        if found.has_errors() {
            return Answer::Failed(found, sources);
        }
        let asked = expr
            .as_call()
            .filter(|call| &*call.name == "type" && call.args.len() == 1);
        let type_of_value = asked.is_some();
        // With another number of arguments it is refused as any function would be.
        let miscounted =
            asked.is_none() && expr.as_call().is_some_and(|call| &*call.name == "type");
        let inner = match asked {
            Some(mut call) => call.args.swap_remove(0),
            None => expr,
        };
        let nested = inner
            .calls()
            .into_iter()
            .find(|(name, _)| &**name == "type");
        if let Some((_, range)) = nested.filter(|_| !miscounted) {
            let mut diagnostics = Diagnostics::new();
            diagnostics.push(
                Diagnostic::error(
                    "Invalid use of type function",
                    "The console-only \"type\" function cannot be used as part of an expression.",
                )
                .at(range),
            );
            return Answer::Failed(diagnostics, sources);
        }
        let extra = |name: &str| (name == "type").then(type_function);
        let (value, found) = self.console.evaluate(&inner, &extra);
        if found.has_errors() {
            return Answer::Failed(found, sources);
        }
        Answer::Shown(if type_of_value {
            let mut text = String::new();
            type_text(&mut text, value.ty(), 0);
            text
        } else {
            expression(&value, 0)
        })
    }
}

/// `type` as a function, so that suggestions and the number of its arguments are as those of others.
fn type_function() -> Arc<Function> {
    let parameter = Parameter::new("value", Type::Dynamic)
        .null()
        .unknown()
        .dynamic()
        .marked();
    Arc::new(Function::returning(
        Type::String,
        vec![parameter],
        None,
        |_: &[Value]| Err(CallError::new("cannot be used as part of an expression")),
    ))
}

/// A type as the console shows it: each part of a structure on a line of its own.
fn type_text(out: &mut String, ty: &Type, indent: usize) {
    let pad = |out: &mut String, indent: usize| out.extend(std::iter::repeat_n("    ", indent));
    match ty {
        Type::Dynamic => out.push_str("dynamic"),
        Type::Bool => out.push_str("bool"),
        Type::Number => out.push_str("number"),
        Type::String => out.push_str("string"),
        Type::List(element) | Type::Set(element) | Type::Map(element) => {
            out.push_str(match ty {
                Type::List(_) => "list(",
                Type::Set(_) => "set(",
                _ => "map(",
            });
            let plain = element.is_primitive() || matches!(**element, Type::Dynamic);
            if plain {
                type_text(out, element, indent);
            } else {
                out.push('\n');
                pad(out, indent + 1);
                type_text(out, element, indent + 1);
                out.push_str(",\n");
                pad(out, indent);
            }
            out.push(')');
        }
        Type::Tuple(elements) if elements.is_empty() => out.push_str("tuple([])"),
        Type::Tuple(elements) => {
            out.push_str("tuple([\n");
            for element in elements.iter() {
                pad(out, indent + 1);
                type_text(out, element, indent + 1);
                out.push_str(",\n");
            }
            pad(out, indent);
            out.push_str("])");
        }
        Type::Object(object) if object.attributes.is_empty() => out.push_str("object({})"),
        Type::Object(object) => {
            out.push_str("object({\n");
            for (name, ty) in &object.attributes {
                pad(out, indent + 1);
                out.push_str(name);
                out.push_str(": ");
                type_text(out, ty, indent + 1);
                out.push_str(",\n");
            }
            pad(out, indent);
            out.push_str("})");
        }
    }
}

fn run(flags: &Flags) -> ExitCode {
    let terminal = Terminal::new(false, flags.is("plan"));
    if !flags.rest.is_empty() {
        terminal.complain("Too many command line arguments. Did you mean to use -chdir?\n");
        return ExitCode::FAILURE;
    }
    let mut sources = Sources::new();
    match wait(opened(flags, &terminal, &mut sources)) {
        Ok(code) => code,
        Err(diagnostics) => {
            terminal.diagnose(&diagnostics, &sources);
            ExitCode::FAILURE
        }
    }
}

async fn opened(
    flags: &Flags,
    terminal: &Terminal,
    sources: &mut Sources,
) -> Result<ExitCode, Diagnostics> {
    let place = Place::here();
    let (tree, found) = session::load_any(&place, None, sources);
    let Some(mut tree) = tree.filter(|_| !found.has_errors()) else {
        return Err(found);
    };
    let state = place
        .backing_of(Some(&tree.module), sources, &local_paths(flags))?
        .look()
        .await?
        .unwrap_or_default();
    let planned = flags.is("plan");
    if !planned {
        // Who only tries expressions out need not give all variables: the others are not known.
        let module = Arc::make_mut(&mut tree.module);
        for variable in module.variables.values_mut() {
            if variable.default.is_none() {
                variable.default = Some(Value::unknown(variable.ty.without_optional()));
            }
        }
    }
    let (variables, found) = session::variables(&place, flags, &tree, terminal, sources);
    if found.has_errors() {
        return Err(found);
    }
    terminal.diagnose(&found, sources);
    let used: std::collections::BTreeSet<_> = state
        .resources
        .values()
        .map(|resource| resource.provider.provider.clone())
        .collect();
    let providers = session::installed(&place, &tree, used, sources)?;
    let timestamp = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let functions = if planned {
        session::language(true, &timestamp)
    } else {
        session::console_language()
    };
    let session = Session {
        tree,
        sources: sources.clone(),
        providers,
        provisioners: consort_infra::provisioner::Builtin,
        functions,
        variables: variables.values,
        given: variables.given,
        workspace: place.workspace().0,
        parallelism: 10,
    };
    let input = session.input(&Silent, CancellationToken::new());
    let options = PlanOptions {
        mode: Mode::Normal,
        timestamp,
        ..PlanOptions::default()
    };
    let (console, found) = if planned {
        Console::of_plan(&input, &options, &state).await
    } else {
        Console::of_state(&input, &state).await
    };
    let Some(console) = console else {
        return Err(found);
    };
    let failed = found.has_errors();
    terminal.diagnose(&found, sources);
    if failed {
        let mut warning = Diagnostics::new();
        warning.push(Diagnostic::warning(
            "Due to the problems above, some expressions may produce unexpected results.",
            "",
        ));
        terminal.diagnose(&warning, sources);
    }
    let prompt = Prompt {
        console: &console,
        sources,
    };
    let code = if std::io::stdin().is_terminal() {
        interactive(&prompt, terminal)
    } else {
        piped(&prompt, terminal)
    };
    console.close().await;
    Ok(code)
}

/// Each line is an expression; the last result is printed, the first error ends it.
fn piped(prompt: &Prompt<'_>, terminal: &Terminal) -> ExitCode {
    let mut last = String::new();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match prompt.answer(line.trim()) {
            Answer::Shown(text) => last = text,
            Answer::Exit => return ExitCode::SUCCESS,
            Answer::Failed(diagnostics, sources) => {
                terminal.diagnose(&diagnostics, &sources);
                return ExitCode::FAILURE;
            }
        }
    }
    terminal.say(&last);
    ExitCode::SUCCESS
}

fn interactive(prompt: &Prompt<'_>, terminal: &Terminal) -> ExitCode {
    let mut editor = Editor::default();
    let mut pending = Pending::default();
    loop {
        let line = match editor.read(if pending.is_empty() { "> " } else { ": " }) {
            Ok(Line::Read(line)) => line,
            Ok(Line::End) => return ExitCode::SUCCESS,
            Err(failed) => {
                terminal.error("Failed to read a line", &failed.to_string());
                return ExitCode::FAILURE;
            }
        };
        let Some(text) = pending.take(&line) else {
            continue;
        };
        match prompt.answer(&text) {
            Answer::Shown(text) => terminal.say(&text),
            Answer::Exit => return ExitCode::SUCCESS,
            Answer::Failed(diagnostics, sources) => {
                terminal.diagnose(&diagnostics, &sources);
            }
        }
        terminal.say("");
    }
}

/// Lines of an input that is not complete: a bracket is open, or the line ends with a backslash.
#[derive(Default)]
struct Pending {
    lines: Vec<String>,
    braces: i64,
    brackets: i64,
    parentheses: i64,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds a line; gives the whole input when it is complete, or can never be.
    fn take(&mut self, line: &str) -> Option<String> {
        let line = line.trim();
        let continued = line.ends_with('\\') && !line.ends_with("\\\\");
        let line = if continued {
            &line[..line.len() - 1]
        } else {
            line
        };
        if !line.is_empty() {
            self.lines.push(line.to_owned());
            self.count(line);
        }
        let broken = self.braces < 0 || self.brackets < 0 || self.parentheses < 0;
        let open = i64::from(continued) + self.braces + self.brackets + self.parentheses;
        if open > 0 && !broken {
            return None;
        }
        let done = std::mem::take(self);
        Some(done.lines.join("\n"))
    }

    /// Counts brackets outside of strings and comments. A template's expression may hold strings in turn.
    fn count(&mut self, line: &str) {
        // What is open around the present place: a string, or the braces of an expression in one.
        let mut around: Vec<char> = Vec::new();
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            if around.last() == Some(&'"') {
                match c {
                    '\\' => {
                        rest.next();
                    }
                    '"' => {
                        around.pop();
                    }
                    '$' | '%' if rest.peek() == Some(&c) => {
                        rest.next();
                    }
                    '$' | '%' if rest.peek() == Some(&'{') => {
                        rest.next();
                        around.push('{');
                    }
                    _ => {}
                }
                continue;
            }
            match c {
                '"' => around.push('"'),
                '#' => return,
                '/' if rest.peek() == Some(&'/') => return,
                '{' if around.is_empty() => self.braces += 1,
                '{' => around.push('{'),
                '}' if around.is_empty() => self.braces -= 1,
                '}' => {
                    around.pop();
                }
                '[' => self.brackets += 1,
                ']' => self.brackets -= 1,
                '(' => self.parentheses += 1,
                ')' => self.parentheses -= 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(lines: &[&str]) -> Vec<Option<String>> {
        let mut pending = Pending::default();
        lines.iter().map(|line| pending.take(line)).collect()
    }

    #[test]
    fn an_input_goes_on_while_brackets_are_open_or_lines_end_with_a_backslash() {
        assert_eq!(complete(&["1 + 1"]), [Some("1 + 1".to_owned())]);
        assert_eq!(
            complete(&["{", "a = [", "1]", "}"]),
            [None, None, None, Some("{\na = [\n1]\n}".to_owned())]
        );
        assert_eq!(
            complete(&["1 \\", "+ 2"]),
            [None, Some("1 \n+ 2".to_owned())]
        );
        assert_eq!(complete(&[")("]), [Some(")(".to_owned())]);
        assert_eq!(
            complete(&["\"a ( ${ {b = \"}\"}[\"b\"] } \\\" {\" # ("]),
            [Some(
                "\"a ( ${ {b = \"}\"}[\"b\"] } \\\" {\" # (".to_owned()
            )]
        );
    }

    #[test]
    fn types_are_shown_a_part_on_a_line() {
        let mut text = String::new();
        let ty = Type::object([
            ("a", Type::Number),
            ("b", Type::tuple([Type::Bool])),
            ("c", Type::list(Type::object([("d", Type::String)]))),
        ]);
        type_text(&mut text, &ty, 0);
        assert_eq!(
            text,
            "object({\n    a: number,\n    b: tuple([\n        bool,\n    ]),\n    c: list(\n        object({\n            \
             d: string,\n        }),\n    ),\n})"
        );
    }
}
