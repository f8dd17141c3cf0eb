//! nftables messages, as far as one table of services needs them.
//!
//! Follows `linux/netfilter/nf_tables.h`: attribute numbers are the kernel's ABI. All numbers travel
//! in network order.

pub(crate) mod expr;

use std::io;

use crate::netlink::{
    Body, Messages, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, Socket, attribute, attributes, be32,
    text,
};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NETLINK_NETFILTER: isize = 12;
/// The table family: `ip`.
const FAMILY: u8 = 2;

const NEWTABLE: u16 = SUBSYSTEM << 8;
const GETTABLE: u16 = (SUBSYSTEM << 8) | 1;
const DELTABLE: u16 = (SUBSYSTEM << 8) | 2;
const NEWCHAIN: u16 = (SUBSYSTEM << 8) | 3;
const GETCHAIN: u16 = (SUBSYSTEM << 8) | 4;
const DELCHAIN: u16 = (SUBSYSTEM << 8) | 5;
const NEWRULE: u16 = (SUBSYSTEM << 8) | 6;
const GETRULE: u16 = (SUBSYSTEM << 8) | 7;
const DELRULE: u16 = (SUBSYSTEM << 8) | 8;
const NEWSET: u16 = (SUBSYSTEM << 8) | 9;
const GETSET: u16 = (SUBSYSTEM << 8) | 0xa;
const NEWSETELEM: u16 = (SUBSYSTEM << 8) | 0xc;
const GETSETELEM: u16 = (SUBSYSTEM << 8) | 0xd;
const DELSETELEM: u16 = (SUBSYSTEM << 8) | 0xe;
const GETGEN: u16 = (SUBSYSTEM << 8) | 0x10;

/// Elements put into one message: well below the 64 KiB of an attribute.
const CHUNK: usize = 400;

/// Set flags.
pub(crate) const MAP: u32 = 0x8;
pub(crate) const TIMEOUT: u32 = 0x10;
pub(crate) const EVAL: u32 = 0x20;

/// Type numbers that let `nft list` print elements readably; the kernel ignores them.
pub(crate) mod types {
    pub(crate) const IPADDR: u32 = 7;
    pub(crate) const PROTO: u32 = 12;
    pub(crate) const PORT: u32 = 13;
    pub(crate) const MARK: u32 = 19;
    pub(crate) const VERDICT: u32 = 0xffff_ff00;
}

/// Opens a socket for nftables and conntrack in this thread's network namespace.
pub(crate) fn socket() -> io::Result<Socket> {
    Socket::open(NETLINK_NETFILTER)
}

/// A set or map of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) key_type: u32,
    /// Bytes of a key, each part padded to four.
    pub(crate) key_len: u32,
    /// Type and length of the data, when it is a map.
    pub(crate) data: Option<(u32, u32)>,
    pub(crate) flags: u32,
    /// Greatest number of elements; 0 for no limit.
    pub(crate) size: u32,
}

/// A hook of a base chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// The value of a map element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// An element of a plain set.
    None,
    Bytes(&'a [u8]),
    /// `goto` this chain.
    Goto(&'a str),
}

/// Changes to one table that take effect together or not at all.
#[derive(Debug)]
pub(crate) struct Transaction {
    messages: Messages,
    table: String,
    changes: usize,
}

impl Transaction {
    pub(crate) fn new(table: &str) -> Self {
        let mut messages = Messages::new();
        messages.push(BATCH_BEGIN, NLM_F_REQUEST, |body| {
            body.raw(&header(0, SUBSYSTEM));
        });
        Self {
            messages,
            table: table.to_owned(),
            changes: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes == 0
    }

    /// Carries it out. On an error nothing was changed.
    pub(crate) fn commit(mut self, socket: &mut Socket) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.messages.acknowledge_last();
        let last = self.messages.last();
        self.messages.push(BATCH_END, NLM_F_REQUEST, |body| {
            body.raw(&header(0, SUBSYSTEM));
        });
        socket.transact_until(&self.messages, last)
    }

    fn push(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) {
        self.changes += 1;
        let table = &self.table;
        self.messages.push(kind, flags | NLM_F_REQUEST, |body| {
            body.raw(&header(FAMILY, 0)).text(1, table);
            fill(body);
        });
    }

    /// Makes the table; `mark` is kept with it and read by [`table_mark`].
    pub(crate) fn add_table(&mut self, mark: &[u8]) {
        self.push(NEWTABLE, NLM_F_CREATE, |body| {
            body.attr(6, mark);
        });
    }

    pub(crate) fn delete_table(&mut self) {
        self.push(DELTABLE, 0, |_| {});
    }

    pub(crate) fn add_chain(&mut self, name: &str, hook: Option<Hook>) {
        self.push(NEWCHAIN, NLM_F_CREATE, |body| {
            body.text(3, name);
            if let Some(hook) = hook {
                body.nest(4, |inner| {
                    inner.be32(1, hook.number).be32(2, hook.priority as u32);
                });
                // Policy accept.
                body.be32(5, 1).text(7, hook.kind);
            }
        });
    }

    pub(crate) fn delete_chain(&mut self, name: &str) {
        self.push(DELCHAIN, 0, |body| {
            body.text(3, name);
        });
    }

    /// Removes all rules of a chain.
    pub(crate) fn flush_chain(&mut self, name: &str) {
        self.push(DELRULE, 0, |body| {
            body.text(2, name);
        });
    }

    /// Appends a rule.
    pub(crate) fn add_rule(&mut self, chain: &str, rule: &expr::Rule) {
        self.push(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |body| {
            body.text(2, chain);
            body.nest(4, |list| rule.write(list));
        });
    }

    /// Makes a set; `id` tells sets of one transaction apart.
    pub(crate) fn add_set(&mut self, set: &Set, id: u32) {
        self.push(NEWSET, NLM_F_CREATE, |body| {
            body.text(2, set.name);
            body.be32(3, set.flags | if set.data.is_some() { MAP } else { 0 });
            body.be32(4, set.key_type).be32(5, set.key_len);
            if let Some((kind, len)) = set.data {
                body.be32(6, kind);
                if kind != types::VERDICT {
                    body.be32(7, len);
                }
            }
            if set.size > 0 {
                body.nest(9, |desc| {
                    desc.be32(1, set.size);
                });
            }
            body.be32(10, id);
        });
    }

    /// Adds elements that are not there yet.
    pub(crate) fn add_elements(&mut self, set: &str, elements: &[(&[u8], Value<'_>)]) {
        self.elements(NEWSETELEM, NLM_F_CREATE, set, elements);
    }

    /// Removes elements that are there.
    pub(crate) fn delete_elements(&mut self, set: &str, elements: &[(&[u8], Value<'_>)]) {
        self.elements(DELSETELEM, 0, set, elements);
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[(&[u8], Value<'_>)]) {
        for chunk in elements.chunks(CHUNK) {
            self.push(kind, flags, |body| {
                body.text(2, set);
                body.nest(3, |list| {
                    for (key, value) in chunk {
                        list.nest(1, |element| {
                            element.nest(1, |data| {
                                data.attr(1, key);
                            });
                            match value {
                                Value::None => {}
                                Value::Bytes(bytes) => {
                                    element.nest(2, |data| {
                                        data.attr(1, bytes);
                                    });
                                }
                                Value::Goto(chain) => {
                                    element.nest(2, |data| {
                                        data.nest(2, |verdict| {
                                            expr::verdict(verdict, expr::GOTO, Some(chain));
                                        });
                                    });
                                }
                            }
                        });
                    }
                });
            });
        }
    }
}

fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}

/// Runs a dump and gives the attributes of each message.
fn dump(
    socket: &mut Socket,
    kind: u16,
    fill: impl FnOnce(&mut Body<'_>),
) -> io::Result<Vec<Vec<u8>>> {
    let request = Messages::dump(kind, |body| {
        body.raw(&header(FAMILY, 0));
        fill(body);
    });
    let found = socket.dump_consistent(&request)?;
    Ok(found
        .into_iter()
        .filter_map(|(_, payload)| payload.get(4..).map(<[u8]>::to_vec))
        .collect())
}

/// The number of the present rule set; every commit by anyone in this namespace counts it up.
pub(crate) fn generation(socket: &mut Socket) -> io::Result<u32> {
    let request = Messages::request(GETGEN, 0, |body| {
        body.raw(&header(0, 0));
    });
    let answer = socket.ask(&request)?;
    answer
        .iter()
        .find_map(|(_, payload)| attribute(payload.get(4..)?, 1).and_then(be32))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The mark of the table, or `None` when there is no such table.
pub(crate) fn table_mark(socket: &mut Socket, table: &str) -> io::Result<Option<Vec<u8>>> {
    let tables = dump(socket, GETTABLE, |_| {})?;
    Ok(tables
        .iter()
        .find(|t| attribute(t, 1).map(text).as_deref() == Some(table))
        .map(|t| attribute(t, 6).unwrap_or_default().to_vec()))
}

/// Names of the table's chains.
pub(crate) fn chains(socket: &mut Socket, table: &str) -> io::Result<Vec<String>> {
    let found = dump(socket, GETCHAIN, |_| {})?;
    Ok(found
        .iter()
        .filter(|c| attribute(c, 1).map(text).as_deref() == Some(table))
        .filter_map(|c| attribute(c, 3).map(text))
        .collect())
}

/// Names of the table's sets.
pub(crate) fn sets(socket: &mut Socket, table: &str) -> io::Result<Vec<String>> {
    let found = dump(socket, GETSET, |body| {
        body.text(1, table);
    })?;
    Ok(found
        .iter()
        .filter(|s| attribute(s, 1).map(text).as_deref() == Some(table))
        .filter_map(|s| attribute(s, 2).map(text))
        .collect())
}

/// All rules of the table in their order: chain and expressions as the kernel writes them.
pub(crate) fn rules(socket: &mut Socket, table: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let found = dump(socket, GETRULE, |body| {
        body.text(1, table);
    })?;
    Ok(found
        .iter()
        .filter(|r| attribute(r, 1).map(text).as_deref() == Some(table))
        .filter_map(|r| Some((text(attribute(r, 2)?), attribute(r, 4)?.to_vec())))
        .collect())
}

/// An element as found in the kernel.
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    /// Data bytes; of a verdict the name of the chain.
    pub(crate) data: Vec<u8>,
}

/// All elements of a set.
pub(crate) fn elements(socket: &mut Socket, table: &str, set: &str) -> io::Result<Vec<Element>> {
    let found = dump(socket, GETSETELEM, |body| {
        body.text(1, table).text(2, set);
    })?;
    let mut elements = Vec::new();
    for message in &found {
        let Some(list) = attribute(message, 3) else {
            continue;
        };
        for (_, element) in attributes(list) {
            let Some(key) = attribute(element, 1).and_then(|key| attribute(key, 1)) else {
                continue;
            };
            let data = attribute(element, 2).map_or(&[][..], |data| {
                attribute(data, 1)
                    .or_else(|| attribute(data, 2).and_then(|verdict| attribute(verdict, 2)))
                    .unwrap_or_default()
            });
            elements.push(Element {
                key: key.to_vec(),
                data: data.to_vec(),
            });
        }
    }
    Ok(elements)
}
