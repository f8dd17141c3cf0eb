//! Lists: JSON arrays where they lie, or values an expression gathered.

use std::sync::Arc;

use super::{Value, Work, json};
use crate::EvalError;
use crate::decl::{Decl, ListKind};

/// As many items as a list may grow to.
pub(crate) const MAX_ITEMS: usize = 2_000_000;

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// A JSON array, and its declaration if there is one.
    Json(&'a [serde_json::Value], Option<&'a Decl>),
    /// Values.
    Owned(Arc<Vec<Value<'a>>>),
    /// What adding to a list declared as a set or map gave, which stays one.
    Merged(Arc<Vec<Value<'a>>>, &'a ListKind),
}

impl<'a> List<'a> {
    pub(crate) fn owned(items: Vec<Value<'a>>) -> Self {
        List::Owned(Arc::new(items))
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        match self {
            List::Json(items, _) => items.len(),
            List::Owned(items) | List::Merged(items, _) => items.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at an index; none beyond the end.
    ///
    /// # Errors
    /// When the JSON there does not fit its schema.
    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            List::Json(items, decl) => Some(item(items.get(index)?, *decl)),
            List::Owned(items) | List::Merged(items, _) => items.get(index).cloned().map(Ok),
        }
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn kind(&self) -> &'a ListKind {
        match self {
            List::Json(_, Some(decl)) => decl.list_kind(),
            List::Merged(_, kind) => kind,
            _ => &ListKind::Atomic,
        }
    }

    /// `self + other`: for lists declared as sets or maps a merge, as upstream defines it.
    pub(crate) fn concat(self, other: &List<'a>, work: &mut Work) -> Result<List<'a>, EvalError> {
        let total = self.len() + other.len();
        if total > MAX_ITEMS {
            return Err(EvalError::Failed("list too large".to_owned()));
        }
        match self.kind() {
            ListKind::Atomic => {}
            ListKind::Set => return super::equality::join_sets(&self, other, work),
            ListKind::Map(keys) => {
                return super::equality::join_map_lists(&self, other, keys, work);
            }
        }
        // A list nobody else holds grows in place: what makes map() and filter() linear.
        let mut items = match self {
            List::Owned(items) => match Arc::try_unwrap(items) {
                Ok(items) => items,
                Err(shared) => {
                    work.spend(shared.len())?;
                    let mut items = Vec::with_capacity(total);
                    items.extend(shared.iter().cloned());
                    items
                }
            },
            List::Json(..) | List::Merged(..) => {
                work.spend(self.len())?;
                let mut items = Vec::with_capacity(total);
                for item in self.iter() {
                    items.push(item?);
                }
                items
            }
        };
        work.spend(other.len())?;
        for item in other.iter() {
            items.push(item?);
        }
        Ok(List::owned(items))
    }
}

fn item<'a>(value: &'a serde_json::Value, list: Option<&'a Decl>) -> Result<Value<'a>, EvalError> {
    match list.and_then(Decl::items) {
        Some(decl) => json::read(value, decl),
        None => Ok(json::untyped(value)),
    }
}
