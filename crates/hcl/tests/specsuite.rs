//! HCL's own specification suite, run from a fetched copy: `HCL_SPECSUITE=.../specsuite/tests cargo test --test specsuite
//! -- --ignored`. Each case is a file, a decoding specification in the language of `hcldec`, and what comes out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_hcl::{
    Block, Body, BodySchema, Diagnostics, Sources, Tables, Type, Value, convert, parse,
    type_constraint,
};

fn cases(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            cases(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "t") {
            found.push(path);
        }
    }
}

fn read(sources: &mut Sources, path: &Path) -> (Body, Diagnostics) {
    parse(
        sources,
        path.to_string_lossy().as_ref(),
        std::fs::read(path).unwrap(),
    )
}

fn constant(body: &Body, name: &str) -> Option<Value> {
    let attribute = body.attributes().find(|found| &*found.name == name)?;
    Some(attribute.expr.evaluate(&Tables::new(Arc::default())).0)
}

/// The kinds of blocks of a specification that take blocks of the file.
const BLOCKS: [&str; 3] = ["block", "block_list", "block_map"];

fn kind_of(spec: &Block) -> Arc<str> {
    constant(&spec.body, "block_type")
        .and_then(|value| value.as_shared_str())
        .unwrap_or_else(|| spec.label(0).into())
}

/// What a body must look like to be decoded by these parts of a specification.
fn schema(parts: &[&Block]) -> BodySchema {
    let mut schema = BodySchema::new();
    for part in parts {
        match &*part.kind {
            "attr" => schema = schema.optional([part.label(0)]),
            "block_map" => schema = schema.block(&kind_of(part), &["key"]),
            kind if BLOCKS.contains(&kind) => schema = schema.block(&kind_of(part), &[]),
            _ => {}
        }
    }
    schema
}

fn decode(spec: &Block, body: &Body, scope: &Tables<'_>, out: &mut Diagnostics) -> Value {
    let parts: Vec<&Block> = if &*spec.kind == "object" {
        spec.body.blocks().collect()
    } else {
        vec![spec]
    };
    let (content, found) = body.content(&schema(&parts));
    out.append(found);
    let mut values = Vec::new();
    for part in parts {
        let inner = |block: &Block, out: &mut Diagnostics| {
            let spec = part.body.blocks().next().unwrap();
            decode(spec, &block.body, scope, out)
        };
        let value = match &*part.kind {
            "literal" => constant(&part.body, "value").unwrap(),
            "attr" => {
                let wanted = part.body.attributes().find(|found| &*found.name == "type");
                let ty = wanted.map_or(Type::Dynamic, |found| type_constraint(&found.expr).0);
                match content.attribute(part.label(0)) {
                    None => Value::null(ty),
                    Some(attribute) => {
                        let (value, found) = attribute.expr.evaluate(scope);
                        out.append(found);
                        convert(&value, &ty).unwrap()
                    }
                }
            }
            "block" => match content.blocks_of(&kind_of(part)).next() {
                Some(block) => inner(block, out),
                None => Value::null(Type::Dynamic),
            },
            "block_list" => Value::tuple(
                content
                    .blocks_of(&kind_of(part))
                    .map(|block| inner(block, out))
                    .collect(),
            ),
            "block_map" => Value::object(
                content
                    .blocks_of(&kind_of(part))
                    .map(|block| (Arc::from(block.label(0)), inner(block, out))),
            ),
            other => panic!("no such part of a specification: {other}"),
        };
        values.push((part, value));
    }
    if &*spec.kind == "object" {
        Value::object(
            values
                .into_iter()
                .map(|(part, value)| (Arc::from(part.label(0)), value)),
        )
    } else {
        values.pop().unwrap().1
    }
}

/// Places of errors as (line, column, line, column).
fn expected(test: &Body) -> Vec<[u64; 4]> {
    let Some(all) = test.blocks().find(|block| &*block.kind == "diagnostics") else {
        return Vec::new();
    };
    let number = |body: &Body, name: &str| {
        let value = constant(body, name).unwrap();
        value
            .as_number()
            .and_then(consort_hcl::Number::to_i64)
            .unwrap() as u64
    };
    all.body
        .blocks()
        .map(|error| {
            let mut place = [0; 4];
            for (at, end) in error.body.blocks().enumerate() {
                place[at * 2] = number(&end.body, "line");
                place[at * 2 + 1] = number(&end.body, "column");
            }
            place
        })
        .collect()
}

#[test]
#[ignore = "needs a fetched copy of HCL"]
fn the_specification_suite_of_hcl_passes() {
    let directory = std::env::var_os("HCL_SPECSUITE").expect("HCL_SPECSUITE names the directory");
    let mut tests = Vec::new();
    cases(Path::new(&directory), &mut tests);
    tests.sort();
    assert!(!tests.is_empty());
    let mut failed = Vec::new();
    for path in &tests {
        let mut sources = Sources::new();
        let (test, _) = read(&mut sources, path);
        let (spec, _) = read(&mut sources, &path.with_extension("hcldec"));
        let (body, mut diagnostics) = read(&mut sources, &path.with_extension("hcl"));
        let mut scope = Tables::new(Arc::default());
        for block in spec.blocks().filter(|block| &*block.kind == "variables") {
            for attribute in block.body.attributes() {
                let value = constant(&block.body, &attribute.name).unwrap();
                scope.variables.insert(attribute.name.clone(), value);
            }
        }
        let root = spec
            .blocks()
            .find(|block| &*block.kind != "variables")
            .unwrap();
        // As upstream's decoder: a file that cannot be read is not decoded.
        let value = if diagnostics.has_errors() {
            Value::null(Type::Dynamic)
        } else {
            decode(root, &body, &scope, &mut diagnostics)
        };
        let places: Vec<[u64; 4]> = diagnostics
            .iter()
            .filter_map(|diagnostic| {
                let range = diagnostic.subject?;
                let source = sources.get(range.source)?;
                let (from, to) = (source.position(range.start), source.position(range.end));
                Some([
                    u64::from(from.line),
                    u64::from(from.column),
                    u64::from(to.line),
                    u64::from(to.column),
                ])
            })
            .collect();
        let wanted = expected(&test);
        if places != wanted {
            failed.push(format!(
                "{}: errors {places:?}, not {wanted:?}",
                path.display()
            ));
        } else if let Some(result) = constant(&test, "result")
            && wanted.is_empty()
        {
            let same = convert(&result, value.ty()).is_ok_and(|result| result.raw_equals(&value));
            if !same {
                failed.push(format!("{}: {value:?}, not {result:?}", path.display()));
            }
        }
    }
    println!("{} of {} pass", tests.len() - failed.len(), tests.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
