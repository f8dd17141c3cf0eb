//! Prints what a playbook says, as it was understood: `outline PLAYBOOK...`; or, with `--values FILE...`, what a file of
//! YAML holds, with the place of every value.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use consort_jinja::{Dict, repr};
use consort_playbook::language::{
    Block, Directive, Item, LoaderOptions, PlaybookLoader, Scope, Task,
};
use consort_playbook::paths::Surroundings;
use consort_playbook::settings::{Settings, Sources};
use consort_playbook::source::{Content, Located, Node, Notice, Reader};
use consort_playbook::template::{Templar, TemplarOptions};

fn main() -> ExitCode {
    let mut worst = 0;
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let values = paths.first().is_some_and(|first| first == "--values");
    if values {
        paths.remove(0);
        for path in paths {
            println!("== {path}");
            match Reader::new().file(Path::new(&path)) {
                Ok(Some(node)) => print(&node, 0),
                Ok(None) => println!("nothing"),
                Err(error) => println!("[ERROR]: {error}"),
            }
        }
        return ExitCode::SUCCESS;
    }
    for path in paths {
        if let Err(error) = outline(Path::new(&path)) {
            println!("[ERROR]: {error}");
            worst = worst.max(error.exit());
        }
    }
    ExitCode::from(worst as u8)
}

fn outline(path: &Path) -> Result<(), Located> {
    let mut notices = Vec::new();
    let sources = Sources::find(Surroundings::of_process(), &mut notices)?;
    let settings = Settings::load(&sources)?;
    for notice in notices {
        tell(notice);
    }
    let loader = PlaybookLoader::new(LoaderOptions {
        reader: Reader::new().telling(Arc::new(tell)),
        settings: Arc::new(settings),
        sources,
        templar: Templar::new(&TemplarOptions::default()),
        extra: Dict::default(),
        magic: Dict::default(),
    });
    let playbook = loader.playbook(path)?;
    for play in &playbook.plays {
        loader.keywords(play, &Dict::default())?;
        println!("play {}", directives(&play.scope));
        for (part, items) in [
            ("pre_tasks", &play.pre_tasks),
            ("tasks", &play.tasks),
            ("post_tasks", &play.post_tasks),
            ("handlers", &play.handlers),
        ] {
            if !items.is_empty() {
                println!("  {part}");
                for item in items {
                    show(item, 2);
                }
            }
            if part == "pre_tasks" {
                for block in &play.role_blocks {
                    println!("  role");
                    block.tasks.iter().for_each(|item| show(item, 2));
                }
            }
        }
    }
    Ok(())
}

fn print(node: &Node, depth: usize) {
    let indent = " ".repeat(depth);
    let at = node.origin();
    match node.content() {
        Content::Scalar(value) => {
            println!("{indent}{} {}:{}", repr::repr(value), at.line, at.column);
        }
        Content::Sequence(items) => {
            println!("{indent}list {}:{}", at.line, at.column);
            for item in items {
                print(item, depth + 1);
            }
        }
        Content::Mapping(entries) => {
            println!("{indent}dict {}:{}", at.line, at.column);
            for (key, value) in entries {
                print(key, depth + 1);
                print(value, depth + 2);
            }
        }
    }
}

fn tell(notice: Notice) {
    match notice {
        Notice::Warning(warning) => println!("[WARNING]: {warning}"),
        Notice::Deprecated { what, removal } => println!(
            "[DEPRECATION WARNING]: {}",
            what.worded(|message| removal.announced(message))
        ),
        Notice::Detail { level, text } => println!("{level}: {text}"),
    }
}

fn directives(scope: &Scope) -> String {
    scope
        .directives
        .iter()
        .map(|(directive, value)| format!("{}={} ", directive.name(), repr::repr(value)))
        .collect()
}

fn show(item: &Item, depth: usize) {
    let indent = "  ".repeat(depth);
    match item {
        Item::Task(task) => println!("{indent}{}", describe(task)),
        Item::Block(block) => {
            let Block {
                scope,
                tasks,
                rescue,
                always,
            } = &**block;
            println!("{indent}block {}", directives(scope));
            for (name, items) in [("", tasks), ("rescue", rescue), ("always", always)] {
                if !items.is_empty() && !name.is_empty() {
                    println!("{indent}{name}");
                }
                for item in items {
                    show(item, depth + 1);
                }
            }
        }
    }
}

fn describe(task: &Task) -> String {
    let mut text = format!(
        "{} {} {}",
        task.action.name,
        repr::repr(&consort_jinja::Value::Dict(task.action.arguments.clone())),
        task.place()
    );
    for directive in Directive::ALL {
        if let Some(value) = task.directive(*directive) {
            text.push_str(&format!(" {}={}", directive.name(), repr::repr(&value)));
        }
    }
    if let Some(looped) = &task.looped {
        text.push_str(&format!(
            " loop {:?} {}",
            looped.lookup,
            repr::repr(&looped.over)
        ));
    }
    text
}
