//! Brings the wanted elements into the kernel, and keeps them there.

use std::collections::{HashMap, HashSet};
use std::io;

use super::elements::{Bytes, ChainChange, Change, Door};
use super::state::{self, State};
use super::table::{self, Chain, SETS, SetId, Spread, Surroundings, VERSION, set_name};
use super::{Error, Frontend, ServiceKey};
use crate::conntrack;
use crate::netlink::Socket;
use crate::nft::{self, Transaction, Value};

/// The expressions of each rule of each chain, as the kernel writes them.
type Rules = HashMap<String, Vec<Vec<u8>>>;

/// The one writer of a table. Blocking: it runs on a worker thread.
#[derive(Debug)]
pub(super) struct Engine {
    around: Surroundings,
    socket: Option<Socket>,
    state: State,
    /// Rule set number after our last commit, when nobody else committed in between.
    generation: Option<u32>,
    /// Rules as they read after we wrote them; chains made since are missing.
    rules: Rules,
    up: bool,
}

fn kernel(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Kernel { action, source }
}

impl Engine {
    pub(super) fn new(around: Surroundings) -> Self {
        Self {
            around,
            socket: None,
            state: State::default(),
            generation: None,
            rules: Rules::new(),
            up: false,
        }
    }

    fn socket(&mut self) -> Result<&mut Socket, Error> {
        if self.socket.is_none() {
            self.socket = Some(nft::socket().map_err(kernel("opening a netfilter socket"))?);
        }
        self.socket.as_mut().ok_or(Error::Closed)
    }

    /// Makes the table. What an earlier run left in it goes on working and is taken over.
    pub(super) fn up(
        &mut self,
        host_ports: &[(Door, std::net::SocketAddrV4)],
    ) -> Result<(), Error> {
        if !self.up && self.state.is_empty() && self.present()? {
            let services = self.dump(SetId::Services)?;
            let unserved = self.dump(SetId::Unserved)?;
            let backends = self.dump(SetId::Backends)?;
            let hairpins = self.dump(SetId::Hairpin)?;
            self.state
                .import(&services, &unserved, &backends, &hairpins);
        }
        for (door, target) in host_ports {
            self.state.set_host_port(*door, *target);
        }
        self.up = true;
        self.repair().map(|_| ())
    }

    /// Removes the table and forgets all services.
    pub(super) fn down(&mut self) -> Result<(), Error> {
        let table = self.around.table.clone();
        let socket = self.socket()?;
        if nft::table_mark(socket, &table)
            .map_err(kernel("listing nftables tables"))?
            .is_some()
        {
            let mut transaction = Transaction::new(&table);
            transaction.delete_table();
            transaction
                .commit(socket)
                .map_err(kernel(format!("removing table {table}")))?;
        }
        *self = Self::new(self.around.clone());
        Ok(())
    }

    /// Changes services in one transaction; `None` removes one.
    pub(super) fn apply(
        &mut self,
        changes: Vec<(ServiceKey, Option<Vec<Frontend>>)>,
    ) -> Result<(), Error> {
        for (service, frontends) in &changes {
            state::check(service, frontends.as_deref().unwrap_or_default())?;
        }
        for (service, frontends) in changes {
            self.state.set(&service, frontends.unwrap_or_default());
        }
        self.commit()
    }

    pub(super) fn sync(&mut self, services: Vec<(ServiceKey, Vec<Frontend>)>) -> Result<(), Error> {
        for (service, frontends) in &services {
            state::check(service, frontends)?;
        }
        let keep: HashSet<_> = services
            .iter()
            .map(|(service, _)| service.clone())
            .collect();
        for (service, frontends) in services {
            self.state.set(&service, frontends);
        }
        self.state.retain(&keep);
        self.commit()
    }

    pub(super) fn set_host_ports(
        &mut self,
        ports: &[(Door, std::net::SocketAddrV4)],
    ) -> Result<(), Error> {
        for (door, target) in ports {
            self.state.set_host_port(*door, *target);
        }
        self.commit()
    }

    pub(super) fn remove_host_ports(&mut self, doors: &[Door]) -> Result<(), Error> {
        for door in doors {
            self.state.remove_host_port(*door);
        }
        self.commit()
    }

    /// Repairs what others changed. Says how many differences there were.
    pub(super) fn verify(&mut self) -> Result<usize, Error> {
        if !self.up {
            return Ok(0);
        }
        let expected = self.generation;
        let present =
            nft::generation(self.socket()?).map_err(kernel("reading the nftables generation"))?;
        if expected == Some(present) {
            return Ok(0);
        }
        self.repair()
    }

    /// Sends what changed since the last commit. When the kernel does not have what we take it to
    /// have, the whole table is compared and repaired instead.
    fn commit(&mut self) -> Result<(), Error> {
        if !self.up {
            // Everything is written when the table is made.
            return Ok(());
        }
        let changes = self.state.elements.changes();
        let chains = self.state.chains.changes();
        if !changes.is_empty() || !chains.is_empty() {
            let mut transaction = Transaction::new(&self.around.table);
            write_changes(&mut transaction, &changes, &chains);
            for chain in &chains {
                self.rules.remove(&chain.name);
            }
            if let Err(error) = self.send(transaction) {
                tracing::warn!(table = self.around.table, %error, "nftables table is not as we left it; comparing it");
                self.repair()?;
            }
        }
        self.forget_stale()
    }

    fn forget_stale(&mut self) -> Result<(), Error> {
        let stale = std::mem::take(&mut self.state.stale);
        let forgotten = conntrack::forget(self.socket()?, &stale)
            .map_err(kernel("removing stale UDP flows"))?;
        if forgotten > 0 {
            tracing::debug!(forgotten, "removed stale UDP flows");
        }
        Ok(())
    }

    /// Commits and keeps count of who else did.
    fn send(&mut self, transaction: Transaction) -> io::Result<()> {
        let Some(socket) = self.socket.as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let before = nft::generation(socket)?;
        transaction.commit(socket)?;
        let after = nft::generation(socket)?;
        // The number is 16 bits wide in older kernels and skips 0 when it wraps.
        let ours = after == before.wrapping_add(1) && self.generation == Some(before);
        self.generation = ours.then_some(after);
        Ok(())
    }

    /// Whether the table is there in this version, with all its sets.
    fn present(&mut self) -> Result<bool, Error> {
        let table = self.around.table.clone();
        let socket = self.socket()?;
        let mark = nft::table_mark(socket, &table).map_err(kernel("listing nftables tables"))?;
        if mark.as_deref() != Some(VERSION) {
            return Ok(false);
        }
        let sets =
            nft::sets(socket, &table).map_err(kernel(format!("listing sets of table {table}")))?;
        Ok(SETS
            .iter()
            .all(|(_, set)| sets.iter().any(|name| name == set.name)))
    }

    fn dump(&mut self, set: SetId) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let table = self.around.table.clone();
        let name = set_name(set);
        let found = nft::elements(self.socket()?, &table, name)
            .map_err(kernel(format!("listing set {name} of table {table}")))?;
        Ok(found
            .into_iter()
            .map(|element| {
                let mut data = element.data;
                // Chain names come with a terminating zero.
                if set == SetId::Services {
                    data.retain(|b| *b != 0);
                }
                (element.key, data)
            })
            .collect())
    }

    /// Makes the kernel's table what it should be, in one transaction.
    fn repair(&mut self) -> Result<usize, Error> {
        // Read first: a commit by others from here on shows as another number.
        let before =
            nft::generation(self.socket()?).map_err(kernel("reading the nftables generation"))?;
        let (transaction, differences) = if self.present()? {
            self.compare()?
        } else {
            (self.rebuild()?, 1)
        };
        self.state.elements.changes();
        self.state.chains.changes();
        let table = self.around.table.clone();
        let mut generation = before;
        if !transaction.is_empty() {
            transaction
                .commit(self.socket()?)
                .map_err(kernel(format!("writing table {table}")))?;
            generation = before.wrapping_add(1);
        }
        let rules = nft::rules(self.socket()?, &table)
            .map_err(kernel(format!("listing rules of table {table}")))?;
        self.rules = group(rules);
        let after =
            nft::generation(self.socket()?).map_err(kernel("reading the nftables generation"))?;
        self.generation = (after == generation).then_some(after);
        Ok(differences)
    }

    /// The whole table anew, replacing whatever is there under its name.
    fn rebuild(&mut self) -> Result<Transaction, Error> {
        let table = self.around.table.clone();
        let exists = nft::table_mark(self.socket()?, &table)
            .map_err(kernel("listing nftables tables"))?
            .is_some();
        let mut transaction = Transaction::new(&table);
        if exists {
            transaction.delete_table();
        }
        transaction.add_table(VERSION);
        let sets = SETS.iter().map(|(_, set)| set).chain([&table::AFFINITY]);
        for (number, set) in sets.enumerate() {
            transaction.add_set(set, number as u32 + 1);
        }
        for chain in self.chains(true) {
            table::write_chain(&mut transaction, &chain, false);
        }
        let mut changes = Vec::new();
        for (id, _) in &SETS {
            changes.extend(self.state.elements.difference(*id, Vec::new()));
        }
        write_changes(&mut transaction, &changes, &[]);
        Ok(transaction)
    }

    /// What differs in a table of the right shape.
    fn compare(&mut self) -> Result<(Transaction, usize), Error> {
        let table = self.around.table.clone();
        let mut transaction = Transaction::new(&table);
        let mut differences = 0;

        let socket = self.socket()?;
        let present = nft::chains(socket, &table)
            .map_err(kernel(format!("listing chains of table {table}")))?;
        let present: HashSet<String> = present.into_iter().collect();
        let rules = group(
            nft::rules(socket, &table)
                .map_err(kernel(format!("listing rules of table {table}")))?,
        );
        let chains = self.chains(false);
        for chain in &chains {
            let exists = present.contains(&chain.name);
            let known = self.rules.get(&chain.name);
            if !exists || known.is_none() || rules.get(&chain.name) != known {
                differences += usize::from(!exists || known.is_some());
                table::write_chain(&mut transaction, chain, exists);
            }
        }

        let mut changes = Vec::new();
        for (id, _) in &SETS {
            let found = self.dump(*id)?;
            changes.extend(self.state.elements.difference(*id, found));
        }
        differences += changes.len();
        let mut expected: HashSet<String> = chains.into_iter().map(|chain| chain.name).collect();
        expected.extend(self.state.chains.iter().map(|(name, _)| name.clone()));
        write_changes(&mut transaction, &changes, &[]);
        // Chains that are not ours, or no longer: empty them all before removing any, for they may
        // lead to each other.
        let foreign: Vec<_> = present.difference(&expected).collect();
        for chain in &foreign {
            transaction.flush_chain(chain);
        }
        for chain in foreign {
            transaction.delete_chain(chain);
            differences += 1;
        }
        Ok((transaction, differences))
    }

    /// Every chain whose rules are known: the fixed ones and those that spread connections.
    fn chains(&self, with_found: bool) -> Vec<Chain> {
        let spreads = self.state.chains.iter();
        spreads
            .filter(|(_, spread)| with_found || **spread != Spread::Found)
            .map(|(name, spread)| spread_chain(name, spread))
            .chain(table::chains(&self.around))
            .collect()
    }
}

fn group(rules: Vec<(String, Vec<u8>)>) -> Rules {
    let mut grouped = Rules::new();
    for (chain, rule) in rules {
        grouped.entry(chain).or_default().push(rule);
    }
    grouped
}

fn spread_chain(name: &str, spread: &Spread) -> Chain {
    Chain {
        name: name.to_owned(),
        hook: None,
        rules: spread.rules(),
    }
}

/// Writes changes: new chains come before what leads to them, old ones go after it.
fn write_changes(transaction: &mut Transaction, changes: &[Change], chains: &[ChainChange]) {
    for chain in chains {
        if let Some(spread) = &chain.new {
            let exists = chain.old.is_some();
            table::write_chain(transaction, &spread_chain(&chain.name, spread), exists);
        }
    }
    let mut gone: HashMap<SetId, Vec<(&[u8], Value<'_>)>> = HashMap::new();
    let mut new: HashMap<SetId, Vec<(&[u8], Value<'_>)>> = HashMap::new();
    for change in changes {
        if change.old.is_some() {
            gone.entry(change.set)
                .or_default()
                .push((&change.key, Value::None));
        }
        if let Some(data) = &change.new {
            let value = match std::str::from_utf8(data) {
                Ok(chain) if change.set == SetId::Services => Value::Goto(chain),
                _ if data.is_empty() => Value::None,
                _ => Value::Bytes(data),
            };
            new.entry(change.set)
                .or_default()
                .push((&change.key, value));
        }
    }
    for (set, elements) in &gone {
        transaction.delete_elements(set_name(*set), elements);
    }
    for (set, elements) in &new {
        transaction.add_elements(set_name(*set), elements);
    }
    for chain in chains.iter().filter(|chain| chain.new.is_none()) {
        transaction.delete_chain(&chain.name);
    }
}
