//! Objects of built-in kinds in protobuf.

use consort_object::schema::{Message, coerce_and_check};
use consort_object::{Schema, proto};

use super::Target;
use super::json::stable;
use crate::seeds;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "protobuf",
        run: body,
        seeds: seeds::protobuf,
        choices: false,
    },
    Target {
        name: "protobuf_message",
        run: message,
        seeds: seeds::protobuf_messages,
        choices: false,
    },
];

fn body(bytes: &[u8]) {
    let schema = Schema::builtin();
    let Ok(mut object) = proto::decode(schema, bytes, None) else {
        return;
    };
    let gvk = consort_object::Gvk::of(&object);
    let message = schema.kind(&gvk).expect("a kind that was decoded");
    if coerce_and_check(schema, message, &mut object).is_ok() {
        stable(schema, message, &object);
    }
}

/// The message alone, of the kind the first two bytes choose.
fn message(bytes: &[u8]) {
    let [one, two, rest @ ..] = bytes else { return };
    let schema = Schema::builtin();
    let kinds: Vec<&Message> = schema.messages().filter(|one| one.kind.is_some()).collect();
    let at = usize::from(u16::from_le_bytes([*one, *two])) % kinds.len();
    let Some(kind) = &kinds[at].kind else { return };
    body(&seeds::envelope(&kind.api_version(), &kind.kind, rest));
}
