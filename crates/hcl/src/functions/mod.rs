//! The functions of Terraform's language, with its messages. Each is also there under `core::`.

mod arguments;
mod cidr;
mod collection;
mod conversion;
mod crypto;
mod csv;
mod date;
mod describe;
pub mod duration;
mod encoding;
mod file;
mod format;
mod glob;
mod mapping;
mod marking;
mod number;
mod pattern;
mod regex;
mod rsa;
mod sequence;
mod set;
mod string;
mod template;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

pub use describe::{describe, describe_parameter};

use crate::evaluate::{Function, Functions, can_function, try_function};

/// What the functions of one module depend on.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What relative paths of `file` and its kin start from: the working directory of the root module.
    pub base_dir: PathBuf,
    /// What `plantimestamp` gives, in RFC 3339; unknown where absent.
    pub plan_timestamp: Option<String>,
    /// Functions whose result differs from call to call give unknown values, as they must while planning.
    pub pure_only: bool,
    /// For the console, which has no `plantimestamp`.
    pub console: bool,
}

/// The core functions by name.
pub fn core(options: &Options) -> Functions {
    let mut table = Table(Functions::new());
    number::add(&mut table);
    string::add(&mut table);
    format::add(&mut table);
    regex::add(&mut table);
    collection::add(&mut table);
    sequence::add(&mut table);
    mapping::add(&mut table);
    set::add(&mut table);
    conversion::add(&mut table);
    marking::add(&mut table);
    encoding::add(&mut table);
    yaml::add(&mut table);
    date::add(&mut table, options);
    crypto::add(&mut table, options);
    cidr::add(&mut table);
    file::add(&mut table, options);
    table.add("try", try_function());
    table.add("can", can_function());
    // Templates may call everything that is in the table by now, and each other.
    template::add(&mut table, options);
    table.namespaced()
}

struct Table(Functions);

impl Table {
    fn add(&mut self, name: &str, function: Function) {
        self.0.insert(name.into(), Arc::new(function));
    }

    /// All functions, also under their full names.
    fn namespaced(mut self) -> Functions {
        let full: Vec<(Arc<str>, Arc<Function>)> = self
            .0
            .iter()
            .map(|(name, function)| (format!("core::{name}").into(), function.clone()))
            .collect();
        self.0.extend(full);
        self.0
    }
}
