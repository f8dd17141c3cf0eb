use std::sync::Arc;

use super::*;
use crate::evaluate::Tables;
use crate::marks::Marks;
use crate::source::Sources;
use crate::syntax::parse_expression;
use crate::types::Type;
use crate::value::Value;

fn scope() -> Tables<'static> {
    let functions = core(&Options::default());
    Tables::new(Arc::new(functions))
        .with("secret", Value::string("s").with_marks(Marks::SENSITIVE))
        .with("unknown", Value::unknown(Type::String))
        .with("anything", Value::DYNAMIC)
        .with("list", Value::unknown_not_null(Type::list(Type::String)))
}

#[track_caller]
fn value(expression: &str) -> Value {
    let mut sources = Sources::new();
    let (expr, diagnostics) = parse_expression(&mut sources, "test", expression);
    assert!(!diagnostics.has_errors(), "{expression}: {diagnostics:?}");
    let (value, diagnostics) = expr.evaluate(&scope());
    assert!(!diagnostics.has_errors(), "{expression}: {diagnostics:?}");
    value
}

#[test]
fn marks_of_arguments_are_those_of_results() {
    assert_eq!(
        value("upper(secret)"),
        Value::string("S").with_marks(Marks::SENSITIVE)
    );
    assert_eq!(value("issensitive(secret)"), Value::TRUE);
    assert_eq!(value("nonsensitive(secret)"), Value::string("s"));
    assert_eq!(
        value("keys({a = secret})"),
        Value::tuple(vec![Value::string("a")])
    );
    assert_eq!(
        value("concat([secret], [\"x\"])").deep_marks(),
        Marks::SENSITIVE
    );
    assert!(value("merge({a = secret}, {b = 1})").marks().is_empty());
    assert_eq!(value("toset([secret])").marks(), Marks::SENSITIVE);
    let ephemeral = Value::string("x").with_marks(Marks::EPHEMERAL);
    let table = core(&Options::default());
    let cleared = table["ephemeralasnull"].call(&[Value::object([("a", ephemeral)])]);
    assert_eq!(
        cleared,
        Ok(Value::object([("a", Value::null(Type::String))]))
    );
}

#[test]
fn results_of_unknown_arguments_say_what_is_known_of_them() {
    assert_eq!(
        value("upper(unknown)"),
        Value::unknown_not_null(Type::String)
    );
    assert_eq!(value("jsondecode(unknown)"), Value::DYNAMIC);
    let prefixed = value("format(\"vpc-%s\", unknown)");
    assert_eq!(
        prefixed.refinement().map(crate::Refinement::prefix),
        Some("vpc-")
    );
    assert_eq!(
        value("startswith(format(\"vpc-%s\", unknown), \"ami\")"),
        Value::FALSE
    );
    assert_eq!(value("length([unknown])"), Value::number(1));
    assert_eq!(value("length(list) > -1"), Value::TRUE);
    assert_eq!(
        value("keys({a = unknown})"),
        Value::tuple(vec![Value::string("a")])
    );
    assert_eq!(
        value("lookup({a = unknown}, \"a\", \"b\")"),
        Value::unknown(Type::String)
    );
    assert_eq!(value("contains([unknown, \"a\"], \"a\")"), Value::TRUE);
    assert!(!value("contains([unknown], \"a\")").is_known());
    assert_eq!(value("tolist([unknown])").ty(), &Type::list(Type::String));
    assert_eq!(
        value("coalesce(unknown, \"x\")"),
        Value::unknown_not_null(Type::String)
    );
    assert!(!value("jsonencode({a = unknown})").is_known());
    assert_eq!(value("tonumber(anything)"), Value::unknown(Type::Number));
}

#[test]
fn impure_functions_wait_for_the_apply() {
    let table = core(&Options {
        pure_only: true,
        ..Options::default()
    });
    for name in ["timestamp", "uuid"] {
        assert!(!table[name].call(&[]).unwrap().is_known(), "{name}");
    }
    let table = core(&Options {
        plan_timestamp: Some("2024-01-02T03:04:05Z".to_owned()),
        ..Options::default()
    });
    assert_eq!(
        table["plantimestamp"].call(&[]),
        Ok(Value::string("2024-01-02T03:04:05Z"))
    );
    assert!(table.contains_key("core::upper"));
}

#[test]
fn files_are_found_from_the_base_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    std::fs::create_dir_all(path.join("a/b")).unwrap();
    std::fs::write(path.join("x.txt"), "hello").unwrap();
    std::fs::write(path.join("a/y.txt"), "y").unwrap();
    std::fs::write(path.join("a/b/z.md"), "z").unwrap();
    std::fs::write(
        path.join("t.tmpl"),
        "%{ for n in names ~}\n<${upper(n)}>\n%{ endfor ~}\n",
    )
    .unwrap();
    let table = core(&Options {
        base_dir: path.to_owned(),
        ..Options::default()
    });
    let call = |name: &str, args: &[&str]| {
        let args: Vec<Value> = args.iter().map(Value::string).collect();
        table[name].call(&args)
    };
    assert_eq!(call("file", &["x.txt"]), Ok(Value::string("hello")));
    assert_eq!(
        call("filemd5", &["x.txt"]),
        Ok(Value::string("5d41402abc4b2a76b9719d911017c592"))
    );
    assert_eq!(call("fileexists", &["nothing"]), Ok(Value::FALSE));
    assert!(call("fileexists", &["a"]).is_err());
    let set = |items: &[&str]| {
        Ok(Value::set(
            Type::String,
            items.iter().map(Value::string).collect(),
        ))
    };
    assert_eq!(
        call("fileset", &[".", "**/*.txt"]),
        set(&["a/y.txt", "x.txt"])
    );
    assert_eq!(
        call("fileset", &[".", "**"]),
        set(&["a/b/z.md", "a/y.txt", "t.tmpl", "x.txt"])
    );
    assert_eq!(call("fileset", &["a", "*/{x,z}.m?"]), set(&["b/z.md"]));
    assert_eq!(call("fileset", &[".", "[!x].txt"]), set(&[]));
    let names = Value::object([("names", Value::tuple(vec!["a".into(), "b".into()]))]);
    assert_eq!(
        table["templatefile"].call(&[Value::string("t.tmpl"), names]),
        Ok(Value::string("<A>\n<B>\n"))
    );
    let missing = table["templatefile"].call(&[Value::string("t.tmpl"), Value::object::<&str>([])]);
    assert!(
        missing
            .unwrap_err()
            .message
            .starts_with("vars map does not contain key \"names\", referenced at")
    );
}

#[test]
fn a_password_hash_has_its_cost_and_its_form() {
    let hash = value("bcrypt(\"x\", 4)");
    assert!(hash.as_str().unwrap().starts_with("$2a$04$"), "{hash:?}");
}
