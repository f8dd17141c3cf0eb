//! Random objects of any kind, made from the table of facts.

use consort_object::schema::{Field, Form, Message, Schema, Shape, Type};
use serde_json::{Map, Value, json};

/// A small generator of numbers: the same seed gives the same objects.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn text(&mut self) -> String {
        ["a", "web", "x-y", "ü", "with space", "1", "name/part", ""][self.below(8) as usize]
            .to_owned()
    }
}

/// An object of a kind with its `apiVersion` and `kind`, each field there or not by chance.
pub(crate) fn object(schema: &Schema, message: &Message, random: &mut Random) -> Value {
    let kind = message.kind.as_ref().expect("a kind");
    let mut members = Map::new();
    members.insert("apiVersion".to_owned(), kind.api_version().into());
    members.insert("kind".to_owned(), kind.kind.clone().into());
    fill(schema, message, random, &mut members, 5);
    Value::Object(members)
}

fn fill(
    schema: &Schema,
    message: &Message,
    random: &mut Random,
    members: &mut Map<String, Value>,
    depth: u32,
) {
    for field in &message.members {
        if field.tag == 0 || depth == 0 || random.below(3) == 0 {
            continue;
        }
        members.insert(field.name.to_owned(), value(schema, field, random, depth));
    }
}

fn value(schema: &Schema, field: &Field, random: &mut Random, depth: u32) -> Value {
    match field.shape {
        Shape::One => one(schema, field, random, depth),
        Shape::List => (0..random.below(3))
            .map(|_| one(schema, field, random, depth))
            .collect(),
        Shape::Map => {
            let entries = random.below(3);
            Value::Object(
                (0..entries)
                    .map(|n| (format!("key-{n}"), one(schema, field, random, depth)))
                    .collect(),
            )
        }
    }
}

fn one(schema: &Schema, field: &Field, random: &mut Random, depth: u32) -> Value {
    match field.kind {
        Type::String => random.text().into(),
        Type::Int32 => ([0, 1, -1, 80, i32::MAX, i32::MIN][random.below(6) as usize]).into(),
        Type::Int64 => ([0, 1, -1, 1 << 40, i64::MAX, i64::MIN][random.below(6) as usize]).into(),
        Type::Uint32 => ([0, 1, u32::MAX][random.below(3) as usize]).into(),
        Type::Bool => (random.below(2) == 0).into(),
        Type::Double => ([0.0, 1.5, -2.25][random.below(3) as usize]).into(),
        Type::Bytes => (["", "YQ==", "AAECAw=="][random.below(3) as usize]).into(),
        Type::Message(id) => message(schema, schema.get(id), random, depth.saturating_sub(1)),
    }
}

fn message(schema: &Schema, message: &Message, random: &mut Random, depth: u32) -> Value {
    let inner = |random: &mut Random| {
        let field = message
            .fields
            .iter()
            .find(|field| schema.message_of(field).is_some())
            .expect("an alternative");
        self::message(
            schema,
            schema.message_of(field).expect("a message"),
            random,
            depth.saturating_sub(1),
        )
    };
    match message.form {
        Form::Object => {
            let mut members = Map::new();
            fill(schema, message, random, &mut members, depth);
            Value::Object(members)
        }
        Form::List => value(schema, &message.fields[0], random, depth),
        Form::Time => "2024-05-01T12:00:00Z".into(),
        Form::MicroTime => "1969-05-01T12:00:00.123456Z".into(),
        Form::Duration => "1m30s".into(),
        Form::Json => json!({"any": [1, "x", {"deep": true}]}),
        Form::Quantity => (["100m", "1Gi", "0", "5"][random.below(4) as usize]).into(),
        Form::IntOrString => {
            [json!(80), json!("http"), json!(0), json!("25%")][random.below(4) as usize].clone()
        }
        Form::MessageOrBool => match random.below(3) {
            0 => true.into(),
            1 => false.into(),
            _ => inner(random),
        },
        Form::MessageOrList if random.below(2) == 0 => json!([inner(random)]),
        Form::MessageOrStrings if random.below(2) == 0 => json!(["a", "b"]),
        Form::MessageOrList | Form::MessageOrStrings => inner(random),
    }
}
