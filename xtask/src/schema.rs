//! `cargo xtask schema GIT_DIR...`: the table of facts about upstream's messages.
//!
//! Reads the Go types and `generated.proto` files at the HEAD of the given Git directories
//! (clones of `kubernetes/api`, `apimachinery`, `apiextensions-apiserver` and `kube-aggregator`)
//! and writes `crates/object/schema/v1.37.txt`. Only facts are taken: names, numbers, types and
//! markers. No sentence of upstream is copied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Where the table goes, from the root of the workspace.
const OUTPUT: &str = "crates/object/schema/v1.37.txt";

const HEAD: &str = "\
# Facts about the messages of the Kubernetes API, version 1.37. Made by `cargo xtask schema`; do not edit.
#
# = ALIAS PACKAGE GROUP VERSION     a package of messages; GROUP is `-` for core
# NAME [K] [KEY=VALUE..]            a message; K: it is a kind; is=FORM: its JSON is not an object of its fields
#  NAME TAG TYPE[!FLAGS] [KEY=VALUE..]  a field, by its JSON name and protobuf number
#
# TYPE: s string, i int32, l int64, u uint32, b bool, d double, y bytes, or a message (`ALIAS.NAME`, or NAME in
# the same package); [] before it a list, {} a map from strings.
# FLAGS: p pointer, o left out when empty, r required, n nullable, i embedded (its fields stand in this object).
# KEYS: lt list type, lk list map keys, mt map type, st struct type, ps patch strategy, pk patch merge key, g Go type.
";

/// Makes the table from the Git directories named in `args`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    ensure!(!args.is_empty(), "usage: cargo xtask schema GIT_DIR...");
    let mut packages = BTreeMap::new();
    for dir in args {
        let tree = git(dir, &["ls-tree", "-r", "--name-only", "HEAD"])?;
        let files: Vec<&str> = tree.lines().collect();
        for proto_path in files
            .iter()
            .filter(|path| path.ends_with("/generated.proto"))
        {
            let folder = proto_path.trim_end_matches("/generated.proto");
            if folder.contains("testapigroup") {
                continue;
            }
            let proto = git(dir, &["show", &format!("HEAD:{proto_path}")])?;
            let mut go = String::new();
            for file in &files {
                let Some(name) = file
                    .strip_prefix(folder)
                    .and_then(|rest| rest.strip_prefix('/'))
                else {
                    continue;
                };
                let is_source = Path::new(name)
                    .extension()
                    .is_some_and(|extension| extension == "go");
                if name.contains('/')
                    || !is_source
                    || name.contains("generated")
                    || name.ends_with("_test.go")
                {
                    continue;
                }
                go.push_str(&git(dir, &["show", &format!("HEAD:{file}")])?);
                go.push('\n');
            }
            let mut package =
                Package::read(&proto, &go).with_context(|| format!("reading {folder}"))?;
            package.wanted = wanted(folder);
            packages.insert(package.name.clone(), package);
        }
    }
    let table = write_table(&packages, &reachable(&packages))?;
    std::fs::write(OUTPUT, &table).with_context(|| format!("writing {OUTPUT}"))?;
    println!("{OUTPUT}: {} bytes", table.len());
    Ok(())
}

fn git(dir: &str, args: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .arg("--git-dir")
        .arg(dir)
        .args(args)
        .output()
        .context("starting git")?;
    if !output.status.success() {
        bail!(
            "git {} in {dir}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a folder's messages go into the table: what is generally available, and what it is made of.
fn wanted(folder: &str) -> bool {
    const MACHINERY: [&str; 3] = ["pkg/api/resource", "pkg/runtime", "pkg/util/intstr"];
    let version = folder.rsplit('/').next().unwrap_or_default();
    let general =
        version.len() == 2 && version.starts_with('v') && version.as_bytes()[1].is_ascii_digit();
    general || MACHINERY.contains(&folder)
}

/// One package: what its proto file and its Go files say.
struct Package {
    /// As the OpenAPI names it: `io.k8s.api.core.v1`.
    name: String,
    /// The API group, where the package belongs to one.
    group: Option<String>,
    version: String,
    /// Whether all of its messages go into the table, or only those that others refer to.
    wanted: bool,
    messages: BTreeMap<String, Vec<ProtoField>>,
    go: BTreeMap<String, GoType>,
}

struct ProtoField {
    name: String,
    tag: u32,
    repeated: bool,
    map: bool,
    kind: String,
}

#[derive(Default)]
struct GoType {
    /// What a type that is not a struct is defined as.
    underlying: String,
    fields: Vec<GoField>,
    markers: BTreeMap<String, Vec<String>>,
    is_struct: bool,
    has_type_meta: bool,
}

#[derive(Clone)]
struct GoField {
    kind: String,
    json: String,
    omit_empty: bool,
    proto_tag: Option<u32>,
    patch_strategy: Option<String>,
    patch_merge_key: Option<String>,
    embedded: bool,
    markers: BTreeMap<String, Vec<String>>,
}

impl Package {
    fn read(proto: &str, go: &str) -> Result<Self> {
        let (proto_package, messages) = read_proto(proto)?;
        let rest = proto_package
            .strip_prefix("k8s.io.")
            .context("a package outside k8s.io")?;
        let version = rest.rsplit('.').next().unwrap_or_default().to_owned();
        Ok(Self {
            name: open_api(rest),
            group: go.lines().find_map(|line| {
                let value = line.trim().strip_prefix("const GroupName = ")?;
                Some(value.trim_matches('"').to_owned())
            }),
            version,
            wanted: false,
            messages,
            go: read_go(go)?,
        })
    }

    /// The short name other packages refer to this one by.
    fn alias(&self) -> String {
        let mut parts: Vec<&str> = self.name.rsplit('.').take(2).collect();
        parts.reverse();
        parts.join(".")
    }
}

/// The OpenAPI's name of a proto package (without its `k8s.io.`).
fn open_api(package: &str) -> String {
    format!("io.k8s.{}", package.replace('_', "-"))
}

fn read_proto(proto: &str) -> Result<(String, BTreeMap<String, Vec<ProtoField>>)> {
    let mut package = String::new();
    let mut messages = BTreeMap::new();
    let mut current: Option<(String, Vec<ProtoField>)> = None;
    for line in proto.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        if let Some(name) = line.strip_prefix("package ") {
            name.trim_end_matches(';').clone_into(&mut package);
        } else if let Some(name) = line.strip_prefix("message ") {
            current = Some((name.trim_end_matches(['{', ' ']).to_owned(), Vec::new()));
        } else if line == "}" {
            if let Some((name, fields)) = current.take() {
                messages.insert(name, fields);
            }
        } else if let Some((_, fields)) = &mut current {
            let line = line.split(';').next().unwrap_or_default();
            let (declaration, tag) = line
                .rsplit_once(" = ")
                .with_context(|| format!("a field without a number: {line}"))?;
            let (kind, name) = declaration
                .rsplit_once(' ')
                .context("a field without a type")?;
            let (repeated, kind) = match kind.strip_prefix("repeated ") {
                Some(kind) => (true, kind),
                None => (
                    false,
                    kind.trim_start_matches("optional ")
                        .trim_start_matches("required "),
                ),
            };
            let (map, kind) = match kind.strip_prefix("map<string, ") {
                Some(kind) => (true, kind.trim_end_matches('>')),
                None => (false, kind),
            };
            fields.push(ProtoField {
                name: name.to_owned(),
                tag: tag.parse()?,
                repeated,
                map,
                kind: kind.to_owned(),
            });
        }
    }
    Ok((package, messages))
}

fn markers(comments: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for comment in comments {
        if let Some(marker) = comment.trim_start_matches('/').trim().strip_prefix('+') {
            let (key, value) = marker.split_once('=').unwrap_or((marker, ""));
            found
                .entry(key.trim().to_owned())
                .or_default()
                .push(value.trim().trim_matches('"').to_owned());
        }
    }
    found
}

fn read_go(go: &str) -> Result<BTreeMap<String, GoType>> {
    let mut types = BTreeMap::new();
    let mut comments: Vec<&str> = Vec::new();
    // A type's markers may stand above a blank line that separates them from its doc comment.
    let mut earlier: Vec<&str> = Vec::new();
    let mut current: Option<(String, GoType)> = None;
    for raw in go.lines() {
        let line = raw.trim();
        if line.starts_with("//") {
            comments.push(line);
            continue;
        }
        if line.is_empty() {
            if current.is_none() {
                earlier = std::mem::take(&mut comments);
            }
            continue;
        }
        if let Some((_, fields)) = &mut current {
            if raw.starts_with('}') {
                if let Some((name, found)) = current.take() {
                    types.insert(name, found);
                }
            } else if let Some(field) = read_go_field(line, &comments)? {
                if field.kind.ends_with("TypeMeta") && field.embedded {
                    fields.has_type_meta = true;
                } else {
                    fields.fields.push(field);
                }
            }
        } else if let Some(declaration) = raw.strip_prefix("type ") {
            let (name, rest) = declaration
                .split_once(' ')
                .context("a type without a definition")?;
            earlier.extend(&comments);
            let mut found = GoType {
                markers: markers(&earlier),
                ..GoType::default()
            };
            if rest == "struct {" {
                found.is_struct = true;
                current = Some((name.to_owned(), found));
            } else {
                rest.split("//")
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("= ")
                    .trim()
                    .clone_into(&mut found.underlying);
                found.is_struct = rest.starts_with("struct");
                types.insert(name.to_owned(), found);
            }
        }
        comments.clear();
        earlier.clear();
    }
    Ok(types)
}

fn read_go_field(line: &str, comments: &[&str]) -> Result<Option<GoField>> {
    let Some((declaration, tags)) = line.split_once('`') else {
        return Ok(None);
    };
    let tags = tags.split('`').next().unwrap_or_default();
    let mut words = declaration.split_whitespace();
    let first = words.next().context("a field without a name")?;
    let second = words.next();
    let tag = |key: &str| {
        let start = tags.find(&format!("{key}:\""))? + key.len() + 2;
        Some(tags[start..].split('"').next().unwrap_or_default())
    };
    let json = tag("json").unwrap_or_default();
    let (json_name, options) = json.split_once(',').unwrap_or((json, ""));
    let proto_tag = tag("protobuf").and_then(|tag| tag.split(',').nth(1)?.parse().ok());
    // An embedded field may carry a JSON name (`metadata`), and is then an ordinary member.
    let embedded = second.is_none() && json_name.is_empty();
    Ok(Some(GoField {
        kind: second.unwrap_or(first).to_owned(),
        json: json_name.to_owned(),
        omit_empty: options
            .split(',')
            .any(|option| option == "omitempty" || option == "omitzero"),
        proto_tag,
        patch_strategy: tag("patchStrategy").map(str::to_owned),
        patch_merge_key: tag("patchMergeKey").map(str::to_owned),
        embedded,
        markers: markers(comments),
    }))
}

/// Messages whose JSON is not the object of their fields.
fn special(package: &str, name: &str) -> Option<&'static str> {
    Some(match (package, name) {
        ("io.k8s.apimachinery.pkg.apis.meta.v1", "Time" | "Timestamp") => "time",
        ("io.k8s.apimachinery.pkg.apis.meta.v1", "MicroTime") => "microtime",
        ("io.k8s.apimachinery.pkg.apis.meta.v1", "Duration") => "duration",
        ("io.k8s.apimachinery.pkg.apis.meta.v1", "FieldsV1")
        | ("io.k8s.apimachinery.pkg.runtime", "RawExtension")
        | ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "JSON") => "json",
        ("io.k8s.apimachinery.pkg.api.resource", "Quantity" | "QuantityValue") => "quantity",
        ("io.k8s.apimachinery.pkg.util.intstr", "IntOrString") => "intorstring",
        ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "JSONSchemaPropsOrBool") => {
            "orbool"
        }
        ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "JSONSchemaPropsOrArray") => {
            "orarray"
        }
        (
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
            "JSONSchemaPropsOrStringArray",
        ) => "orstrings",
        _ => return None,
    })
}

/// All messages of the wanted packages, and those of others that they are made of.
fn reachable(packages: &BTreeMap<String, Package>) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut open: Vec<(String, String)> = packages
        .values()
        .filter(|package| package.wanted)
        .flat_map(|package| {
            package
                .messages
                .keys()
                .map(|name| (package.name.clone(), name.clone()))
        })
        .collect();
    while let Some((package, name)) = open.pop() {
        let fields = packages
            .get(&package)
            .and_then(|package| package.messages.get(&name));
        for field in fields.into_iter().flatten() {
            let full = field.kind.trim_start_matches('.');
            open.extend(
                match full
                    .strip_prefix("k8s.io.")
                    .and_then(|rest| rest.rsplit_once('.'))
                {
                    Some((owner, name)) => Some((open_api(owner), name.to_owned())),
                    None => Some((package.clone(), full.to_owned())),
                }
                .filter(|message| !found.contains(message)),
            );
        }
        if fields.is_some() {
            found.insert((package, name));
        }
    }
    found
}

fn write_table(
    packages: &BTreeMap<String, Package>,
    reachable: &BTreeSet<(String, String)>,
) -> Result<String> {
    let mut out = HEAD.to_owned();
    for package in packages.values() {
        if !reachable.iter().any(|(owner, _)| *owner == package.name) {
            continue;
        }
        // The group of meta.v1 is a name for code only; its kinds belong to every group.
        let group = match package.group.as_deref() {
            None | Some("") => "-",
            Some(group) => group,
        };
        writeln!(
            out,
            "= {} {} {group} {}",
            package.alias(),
            package.name,
            package.version
        )?;
        for (name, fields) in &package.messages {
            if !reachable.contains(&(package.name.clone(), name.clone())) {
                continue;
            }
            let go = resolve(packages, package, name);
            let form = special(&package.name, name).or_else(|| {
                let is_list = go.is_some_and(|go| go.underlying.starts_with("[]"));
                is_list.then_some("list")
            });
            write!(out, "{name}")?;
            if go.is_some_and(|go| go.has_type_meta) {
                write!(out, " K")?;
            }
            if let Some(form) = form {
                write!(out, " is={form}")?;
            }
            if let Some(kind) = go.and_then(|go| go.markers.get("structType")) {
                write!(out, " st={}", kind[0])?;
            }
            if let Some(kind) = go.and_then(|go| go.markers.get("mapType")) {
                write!(out, " mt={}", kind[0])?;
            }
            out.push('\n');
            write_fields(
                &mut out,
                packages,
                package,
                name,
                fields,
                go,
                form.is_some(),
            )?;
        }
    }
    Ok(out)
}

/// The Go type behind a message; `type List metav1.List` leads to the other package.
fn resolve<'a>(
    packages: &'a BTreeMap<String, Package>,
    package: &'a Package,
    name: &str,
) -> Option<&'a GoType> {
    let go = package.go.get(name)?;
    if let Some(other) = go.underlying.strip_prefix("metav1.") {
        return packages
            .get("io.k8s.apimachinery.pkg.apis.meta.v1")?
            .go
            .get(other);
    }
    if !go.is_struct && package.go.contains_key(&go.underlying) {
        return resolve(packages, package, &go.underlying);
    }
    Some(go)
}

fn write_fields(
    out: &mut String,
    packages: &BTreeMap<String, Package>,
    package: &Package,
    message: &str,
    fields: &[ProtoField],
    go: Option<&GoType>,
    special: bool,
) -> Result<()> {
    let go_fields: &[GoField] = go.map_or(&[], |go| &go.fields);
    let position = |field: &ProtoField| {
        go_fields
            .iter()
            .position(|go| go.proto_tag == Some(field.tag))
    };
    let mut ordered: Vec<&ProtoField> = fields.iter().collect();
    // The order of the Go struct is the order of upstream's JSON.
    ordered.sort_by_key(|field| position(field).unwrap_or(usize::MAX));
    for field in ordered {
        let go = position(field).map(|at| &go_fields[at]);
        if go.is_none() && !special && package.name != "io.k8s.apimachinery.pkg.runtime" {
            bail!("{}.{message}.{}: no Go field", package.name, field.name);
        }
        let kind = match field.kind.as_str() {
            "string" => "s".to_owned(),
            "int32" => "i".to_owned(),
            "int64" => "l".to_owned(),
            "uint32" => "u".to_owned(),
            "bool" => "b".to_owned(),
            "double" => "d".to_owned(),
            "bytes" => "y".to_owned(),
            other => reference(packages, package, other)
                .with_context(|| format!("{message}.{}", field.name))?,
        };
        let list = if field.repeated {
            "[]"
        } else if field.map {
            "{}"
        } else {
            ""
        };
        let json = go
            .map(|go| go.json.as_str())
            .filter(|json| !json.is_empty() && *json != "-")
            .unwrap_or(&field.name);
        write!(out, " {json} {} {list}{kind}", field.tag)?;
        let Some(go) = go else {
            out.push('\n');
            continue;
        };
        let has = |marker: &str| go.markers.contains_key(marker);
        let mut flags = String::new();
        if go.kind.starts_with('*') {
            flags.push('p');
        }
        if go.omit_empty {
            flags.push('o');
        }
        if !go.embedded && (has("required") || (!go.omit_empty && !has("optional"))) {
            flags.push('r');
        }
        if has("nullable") {
            flags.push('n');
        }
        if go.embedded {
            flags.push('i');
        }
        if !flags.is_empty() {
            write!(out, "!{flags}")?;
        }
        for (marker, key) in [("listType", "lt"), ("mapType", "mt"), ("structType", "st")] {
            if let Some(values) = go.markers.get(marker) {
                write!(out, " {key}={}", values[0])?;
            }
        }
        if let Some(keys) = go.markers.get("listMapKey") {
            write!(out, " lk={}", keys.join(","))?;
        }
        if let Some(strategy) = &go.patch_strategy {
            write!(out, " ps={strategy}")?;
        }
        if let Some(key) = &go.patch_merge_key {
            write!(out, " pk={key}")?;
        }
        if let Some(named) = go_name(package, go) {
            write!(out, " g={named}")?;
        }
        out.push('\n');
    }
    Ok(())
}

/// The alias and name of a message, as the table writes it.
fn reference(
    packages: &BTreeMap<String, Package>,
    package: &Package,
    kind: &str,
) -> Result<String> {
    let full = kind.trim_start_matches('.');
    let Some(rest) = full.strip_prefix("k8s.io.") else {
        ensure!(package.messages.contains_key(full), "unknown type {kind}");
        return Ok(full.to_owned());
    };
    let (owner, name) = rest
        .rsplit_once('.')
        .context("a reference without a package")?;
    let owner = packages
        .get(&open_api(owner))
        .with_context(|| format!("no package for {kind}"))?;
    ensure!(owner.messages.contains_key(name), "unknown type {kind}");
    if owner.name == package.name {
        Ok(name.to_owned())
    } else {
        Ok(format!("{}.{name}", owner.alias()))
    }
}

/// The name Go's errors give to a field's type, where it is not the plain one.
fn go_name(package: &Package, field: &GoField) -> Option<String> {
    let mut kind = field.kind.trim_start_matches('*');
    if let Some(element) = kind.strip_prefix("[]") {
        kind = element.trim_start_matches('*');
    }
    let (owner, name) = kind.rsplit_once('.').unwrap_or(("", kind));
    if kind.contains(['[', ']']) || name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    if owner.is_empty() {
        let local = package.go.get(name)?;
        return (!local.is_struct).then(|| format!("{}.{name}", package.version));
    }
    match owner {
        "types" => Some(kind.to_owned()),
        "metav1" | "v1" if matches!(name, "ResourceList" | "ResourceName") => {
            Some(format!("v1.{name}"))
        }
        _ => None,
    }
}
