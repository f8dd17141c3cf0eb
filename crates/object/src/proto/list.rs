//! Lists put together of items that were encoded one by one.

use super::MAGIC;
use super::wire::{Wire, next};

/// What stands around the items of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFrame {
    /// Everything before the first item.
    pub head: Vec<u8>,
    /// Everything after the last.
    pub tail: Vec<u8>,
}

/// The message inside an envelope that [`encode`](super::encode) wrote; empty if it is none.
pub fn message(encoded: &[u8]) -> &[u8] {
    parts(encoded).map_or(&[], |(_, raw, _)| raw)
}

/// What precedes an item of so many bytes in a list: the items' tag and the length.
pub fn item_head(length: usize, out: &mut Vec<u8>) {
    out.push(ITEM);
    put_varint(out, length);
}

/// The frame of a list whose items have these lengths. `empty` is the same list without items, as
/// [`encode`](super::encode) wrote it.
pub fn list_frame(empty: &[u8], lengths: impl Iterator<Item = usize>) -> Option<ListFrame> {
    let (before, raw, after) = parts(empty)?;
    let items: usize = lengths.map(|length| 1 + varint_len(length) + length).sum();
    let mut head = Vec::with_capacity(before.len() + raw.len() + 16);
    head.extend_from_slice(before);
    head.push(RAW);
    put_varint(&mut head, raw.len() + items);
    head.extend_from_slice(raw);
    Some(ListFrame {
        head,
        tail: after.to_vec(),
    })
}

/// Field 2, bytes: the items of every list.
const ITEM: u8 = 0x12;

/// Field 2, bytes: the message in an envelope.
const RAW: u8 = 0x12;

/// What stands before the message in an envelope, the message, and what follows it.
fn parts(encoded: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut rest = encoded.strip_prefix(&MAGIC)?;
    loop {
        let before = encoded.len() - rest.len();
        match next(&mut rest).ok()?? {
            (2, Wire::Bytes(raw)) => return Some((&encoded[..before], raw, rest)),
            _ if rest.is_empty() => return None,
            _ => {}
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint_len(number: usize) -> usize {
    let bits = usize::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::encode;
    use crate::schema::Schema;

    #[test]
    fn a_list_put_together_is_what_encoding_it_whole_gives() {
        let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"nodeName": "n".repeat(300)}});
        let list = |items: Vec<serde_json::Value>| {
            let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "7", "continue": "x"}, "items": items});
            encode(Schema::builtin(), &list).unwrap()
        };
        let names = ["a", "b", "c"];
        let items = names.map(|name| encode(Schema::builtin(), &pod(name)).unwrap());
        let frame = list_frame(&list(vec![]), items.iter().map(|item| message(item).len()));
        let frame = frame.unwrap();
        let mut joined = frame.head;
        for item in &items {
            item_head(message(item).len(), &mut joined);
            joined.extend_from_slice(message(item));
        }
        joined.extend_from_slice(&frame.tail);
        assert_eq!(joined, list(names.map(pod).to_vec()));
        assert!(list_frame(b"k8s", std::iter::empty()).is_none());
    }
}
