//! Configurations read from directories: what is declared, what is wrong and where, and whose values win.

use std::path::Path;

use consort_hcl::diagnostic::Diagnostics;
use consort_hcl::{Kind, Sources};
use consort_infra::address::ModulePath;
use consort_infra::config::{
    GivenValues, IgnoreChanges, LocalProvider, ModuleSource, Tree, VariableOption,
    check_references, load,
};
use consort_infra::install::{Manifest, Record};

/// Writes files and loads them; directories that local module calls name count as installed.
fn load_files(files: &[(&str, &str)]) -> (Option<Tree>, Diagnostics, Sources, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut manifest = Manifest::default();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        if let Some((module, _)) = name.rsplit_once('/')
            && module != "tests"
        {
            let parts: Vec<&str> = module.split('/').collect();
            let path = parts
                .iter()
                .fold(ModulePath::root(), |path, name| path.child(*name));
            let source = ModuleSource::parse(&format!("./{}", parts[parts.len() - 1]))
                .unwrap()
                .to_string();
            let record = Record {
                source,
                version: None,
                directory: directory.path().join(module),
            };
            manifest.insert(&path, record);
        }
    }
    let mut sources = Sources::new();
    let (tree, mut diagnostics) = load(directory.path(), &manifest, Some("tests"), &mut sources);
    if let Some(tree) = &tree
        && !diagnostics.has_errors()
    {
        diagnostics.append(check_references(tree));
    }
    (tree, diagnostics, sources, directory)
}

fn shown(diagnostics: &Diagnostics, sources: &Sources) -> Vec<(String, u32)> {
    diagnostics
        .iter()
        .map(|one| {
            let line = one
                .subject
                .and_then(|range| Some(sources.get(range.source)?.position(range.start).line));
            (one.summary.clone(), line.unwrap_or(0))
        })
        .collect()
}

#[test]
fn what_is_wrong_is_said_in_terraforms_words_at_its_line() {
    for (text, wanted) in [
        (
            "variable \"a\" {}\nvariable \"a\" {}\n",
            vec![("Duplicate variable declaration", 2)],
        ),
        (
            "variable \"count\" {}\n",
            vec![("Invalid variable name", 1)],
        ),
        (
            "variable \"a\" {\n  type = number\n  default = \"x\"\n}\n",
            vec![("Invalid default value for variable", 3)],
        ),
        (
            "output \"a\" {\n  value = var.nope\n}\n",
            vec![("Reference to undeclared input variable", 2)],
        ),
        (
            "output \"a\" {\n  value = count.index\n}\n",
            vec![("Reference to \"count\" in non-counted context", 2)],
        ),
        (
            "resource \"a_b\" \"c\" {\n  x = a_b.c.y\n}\n",
            vec![("Self-referential block", 2)],
        ),
        (
            "resource \"a_b\" \"c\" {\n  count = 1\n}\noutput \"o\" {\n  value = a_b.c.id\n}\n",
            vec![("Missing resource instance key", 5)],
        ),
        (
            "resource \"a_b\" \"c\" {\n  dynamic \"x\" {\n    for_each = []\n    content {\n      y = x.value\n    }\n  }\n}\n",
            vec![],
        ),
        (
            "terraform {\n  required_version = \"< 1.0\"\n}\n",
            vec![("Unsupported Terraform Core version", 2)],
        ),
        ("terraform {\n  cloud {}\n}\n", vec![]),
        ("check \"a\" {}\n", vec![("Zero assert blocks", 1)]),
        (
            "moved {\n  from = a_b.c\n  to = module.d\n}\n",
            vec![("Invalid \"moved\" addresses", 1)],
        ),
        (
            "removed {\n  from = a_b.c[0]\n}\n",
            vec![("Resource instance keys not allowed", 2)],
        ),
        (
            "import {\n  to = data.a_b.c\n  id = \"x\"\n}\n",
            vec![("Invalid import address", 2)],
        ),
        (
            "module \"a\" {\n  source = \"child\"\n}\n",
            vec![("Invalid module source address", 2)],
        ),
    ] {
        let (_, diagnostics, sources, _directory) = load_files(&[("main.tf", text)]);
        let wanted: Vec<(String, u32)> = wanted
            .iter()
            .map(|(summary, line)| ((*summary).to_string(), *line))
            .collect();
        assert_eq!(shown(&diagnostics, &sources), wanted, "{text}");
    }
}

#[test]
fn override_files_replace_arguments_and_blocks_by_kind() {
    let (tree, diagnostics, ..) = load_files(&[
        (
            "main.tf",
            "variable \"a\" {\n  type = number\n  default = 1\n}\nresource \"a_b\" \"c\" {\n  x = 1\n  y = 2\n  nested {\n    z = 1\n  }\n  lifecycle {\n    ignore_changes = [x]\n  }\n}\n",
        ),
        (
            "main_override.tf",
            "variable \"a\" {\n  default = \"2\"\n}\nresource \"a_b\" \"c\" {\n  x = 3\n  nested {\n    z = 2\n  }\n  nested {\n    z = 3\n  }\n  lifecycle {\n    ignore_changes = all\n  }\n}\n",
        ),
    ]);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let module = tree.unwrap().module;
    assert!(matches!(
        module.variables["a"].default.as_ref().unwrap().kind(),
        Kind::Number(_)
    ));
    let resource = module.resources.values().next().unwrap();
    assert!(matches!(
        resource.managed.ignore_changes,
        IgnoreChanges::All
    ));
    let schema = consort_hcl::BodySchema::new()
        .optional(["x", "y"])
        .block("nested", &[]);
    let (content, _) = resource.config.content(&schema);
    let value = |name: &str| {
        content
            .attribute(name)
            .unwrap()
            .expr
            .evaluate_constant()
            .0
            .as_number()
            .unwrap()
            .to_i64()
    };
    assert_eq!(
        (value("x"), value("y"), content.blocks.len()),
        (Some(3), Some(2), 2)
    );
    let (_, diagnostics, ..) = load_files(&[
        ("main.tf", ""),
        (
            "override.tf",
            "output \"x\" {}\nmoved {\n  from = a_b.c\n  to = a_b.d\n}\n",
        ),
    ]);
    assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
}

#[test]
fn provider_configurations_reach_child_modules_as_callers_pass_them() {
    let (tree, diagnostics, ..) = load_files(&[
        (
            "main.tf",
            "terraform {\n  required_providers {\n    cloud = { source = \"acme/cloud\" }\n  }\n}\nprovider \"cloud\" {\n  region = \"a\"\n}\nprovider \"cloud\" {\n  alias = \"west\"\n  region = \"b\"\n}\nmodule \"child\" {\n  source = \"./child\"\n  providers = { cloud.other = cloud.west }\n}\n",
        ),
        (
            "child/main.tf",
            "terraform {\n  required_providers {\n    cloud = {\n      source = \"acme/cloud\"\n      configuration_aliases = [cloud.other]\n    }\n  }\n}\nmodule \"inner\" {\n  source = \"./inner\"\n}\n",
        ),
        (
            "child/inner/main.tf",
            "terraform {\n  required_providers {\n    mine = { source = \"acme/cloud\" }\n  }\n}\n",
        ),
    ]);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let tree = tree.unwrap();
    let child = ModulePath::root().child("child");
    let of = |path: &ModulePath, name: &str, alias: Option<&str>| {
        let local = LocalProvider {
            name: name.into(),
            alias: alias.map(Into::into),
        };
        tree.provider_config(path, &local)
            .map(|config| config.to_string())
    };
    let root = "provider[\"registry.terraform.io/acme/cloud\"]";
    assert_eq!(
        of(&child, "cloud", Some("other")).unwrap(),
        format!("{root}.west")
    );
    assert_eq!(of(&child.child("inner"), "mine", None).unwrap(), root);
    assert_eq!(of(&child, "cloud", Some("unknown")), None);

    let (_, diagnostics, sources, _directory) = load_files(&[
        ("main.tf", "module \"child\" {\n  source = \"./child\"\n}\n"),
        (
            "child/main.tf",
            "terraform {\n  required_providers {\n    cloud = {\n      source = \"acme/cloud\"\n      configuration_aliases = [cloud.other]\n    }\n  }\n}\n",
        ),
    ]);
    assert_eq!(
        shown(&diagnostics, &sources),
        [("Missing required provider configuration".to_string(), 1)]
    );
}

#[test]
fn the_last_value_given_for_a_variable_wins_and_must_fit() {
    let (tree, diagnostics, mut sources, directory) = load_files(&[
        (
            "main.tf",
            "variable \"a\" {\n  type = number\n}\nvariable \"b\" {\n  type = list(string)\n}\nvariable \"c\" {\n  default = \"default\"\n  nullable = false\n}\nvariable \"d\" {\n  type = object({ x = optional(number, 7) })\n  default = {}\n}\n",
        ),
        ("terraform.tfvars", "a = 1\nb = [\"file\"]\nc = null\n"),
        ("b.auto.tfvars", "a = 3\n"),
        ("a.auto.tfvars", "a = 2\n"),
        ("named.tfvars", "unknown = 1\n"),
    ]);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let variables = &tree.unwrap().module.variables;
    let environment = [
        ("TF_VAR_a".to_string(), "0".to_string()),
        ("TF_VAR_b".to_string(), "[\"env\"]".to_string()),
    ];
    let mut given = |options: &[VariableOption]| {
        let (given, found) =
            GivenValues::collect(directory.path(), environment.clone(), options, &mut sources);
        assert!(found.is_empty(), "{found:?}");
        given.resolve(variables, None, &mut sources)
    };
    let (values, diagnostics) = given(&[]);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let number = |name: &str| values[name].value.as_number().unwrap().to_i64();
    assert_eq!(number("a"), Some(3));
    assert_eq!(
        values["b"].value.as_sequence().unwrap()[0].as_str(),
        Some("file")
    );
    assert_eq!(values["c"].value.as_str(), Some("default"));
    assert_eq!(
        values["d"]
            .value
            .attribute("x")
            .unwrap()
            .as_number()
            .unwrap()
            .to_i64(),
        Some(7)
    );

    let named = VariableOption::File(
        directory
            .path()
            .join("named.tfvars")
            .to_string_lossy()
            .into_owned(),
    );
    let (values, diagnostics) = given(&[named, VariableOption::Value("a=5".to_string())]);
    assert_eq!(values["a"].value.as_number().unwrap().to_i64(), Some(5));
    assert!(
        !diagnostics.has_errors() && diagnostics.len() == 1,
        "{diagnostics:?}"
    );
    let (_, diagnostics) = given(&[
        VariableOption::Value("a=x".to_string()),
        VariableOption::Value("zz=1".to_string()),
    ]);
    let summaries: Vec<&str> = diagnostics.iter().map(|one| one.summary.as_str()).collect();
    assert_eq!(
        summaries,
        [
            "Value for undeclared variable",
            "Invalid value for input variable"
        ]
    );
}

#[test]
fn test_files_are_read_with_their_runs_and_mocks() {
    let (tree, diagnostics, ..) = load_files(&[
        ("main.tf", "variable \"a\" {}\n"),
        (
            "tests/one.tftest.hcl",
            "variables {\n  a = 1\n}\nmock_provider \"aws\" {\n  alias = \"fake\"\n  mock_resource \"aws_x\" {\n    defaults = { id = 1 }\n  }\n}\nrun \"first\" {\n  command = plan\n  plan_options {\n    mode = refresh-only\n  }\n  expect_failures = [var.a]\n  assert {\n    condition = var.a == 1\n    error_message = \"no\"\n  }\n}\n",
        ),
    ]);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let module = tree.unwrap().module;
    let test = &module.tests["tests/one.tftest.hcl"];
    assert!(test.runs[0].plan_only && test.runs[0].options.refresh_only);
    assert_eq!(
        (
            test.mock_providers.len(),
            test.runs[0].expect_failures.len()
        ),
        (1, 1)
    );
}

#[test]
fn hostile_directories_end_with_an_error() {
    let deep = format!(
        "output \"x\" {{ value = {}1{} }}",
        "(".repeat(20_000),
        ")".repeat(20_000)
    );
    let (_, diagnostics, ..) = load_files(&[("main.tf", &deep)]);
    assert!(diagnostics.has_errors());
    let (_, diagnostics, ..) = load_files(&[("main.tf.json", "{\"resource\": {\"a\": [[[{}]]]}}")]);
    assert!(diagnostics.has_errors());
    let mut sources = Sources::new();
    let (tree, diagnostics) = load(
        Path::new("/nowhere/at/all"),
        &Manifest::default(),
        None,
        &mut sources,
    );
    assert!(tree.is_none() && diagnostics.has_errors());
}
