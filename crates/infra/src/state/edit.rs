//! Changes of a state that people make by hand: moving, removing, renaming providers, marking for replacement.
//!
//! They change the model only; whoever calls them keeps a copy of what was before.

use std::sync::Arc;

use super::model::{Instance, State, Status};
use crate::address::{
    AbsResource, Key, ModuleInstance, ProviderConfig, ProviderSource, ResourceInstance, Target,
};

/// Why something cannot be moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// Nothing is there to move.
    #[error("Cannot move {0}: does not match anything in the current state.")]
    NoSource(String),
    /// Something is there already.
    #[error(
        "Cannot move to {address}: there is already {what} at that address in the current state."
    )]
    Occupied {
        /// Where it was to go.
        address: String,
        /// What is there.
        what: &'static str,
    },
    /// A module cannot become a resource, nor the reverse.
    #[error("Cannot move {from} to {to}: {reason}.")]
    Kinds {
        /// What was to be moved.
        from: String,
        /// Where to.
        to: String,
        /// Why not.
        reason: &'static str,
    },
}

/// Why an object cannot be marked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// No such instance.
    #[error("There is no resource instance in the state with the address {0}.")]
    Missing(ResourceInstance),
    /// The instance is not what it would be marked as not being.
    #[error("Resource instance {0} is not currently tainted, and so it cannot be untainted.")]
    NotTainted(ResourceInstance),
}

/// Something that is taken out of one place and put into another.
struct Item {
    to: ResourceInstance,
    provider: ProviderConfig,
    instance: Instance,
}

impl State {
    /// The instances a target matches, in the state's order; none for all.
    pub fn matching(&self, target: Option<&Target>) -> Vec<ResourceInstance> {
        self.resources
            .iter()
            .flat_map(|(address, resource)| {
                resource
                    .instances
                    .keys()
                    .map(|key| address.instance(key.clone()))
            })
            .filter(|instance| target.is_none_or(|target| target.contains(instance)))
            .collect()
    }

    /// Forgets the instances that match, and gives their addresses.
    pub fn forget(&mut self, target: &Target) -> Vec<ResourceInstance> {
        let gone = self.matching(Some(target));
        for address in &gone {
            self.take(address);
        }
        gone
    }

    fn take(&mut self, address: &ResourceInstance) -> Option<(ProviderConfig, Instance)> {
        let resource_address = address.abs_resource();
        let resource = self.resources.get_mut(&resource_address)?;
        let instance = resource.instances.remove(&address.key)?;
        let provider = resource.provider.clone();
        if resource.instances.is_empty() {
            self.resources.remove(&resource_address);
        }
        Some((provider, instance))
    }

    fn put(&mut self, item: Item) {
        let resource = self
            .resources
            .entry(item.to.abs_resource())
            .or_insert_with(|| super::model::ResourceState::new(item.provider.clone()));
        resource.provider = item.provider;
        resource.instances.insert(item.to.key, item.instance);
    }

    /// Moves what `from` matches to `to`, in this state or into another one. Nothing changes on failure.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub fn relocate(
        &mut self,
        from: &Target,
        to: &Target,
        other: Option<&mut State>,
    ) -> Result<usize, MoveError> {
        let moves = self.moves(from, to)?;
        {
            let into = other.as_deref().unwrap_or(self);
            for (source, target) in &moves {
                let leaves = other.is_none() && moves.iter().any(|(gone, _)| gone == target);
                if source != target && !leaves && into.instance(target).is_some() {
                    return Err(MoveError::Occupied {
                        address: to.to_string(),
                        what: match to {
                            Target::Module(_) => "a module",
                            _ => "a resource instance",
                        },
                    });
                }
            }
        }
        let items: Vec<Item> = moves
            .into_iter()
            .filter_map(|(source, target)| {
                let (provider, instance) = self.take(&source)?;
                Some(Item {
                    to: target,
                    provider,
                    instance,
                })
            })
            .collect();
        let count = match from {
            Target::Instance(_) => items.len(),
            _ => 1,
        };
        let into = other.unwrap_or(self);
        for item in items {
            into.put(item);
        }
        Ok(count)
    }

    /// From which instance to which.
    fn moves(
        &self,
        from: &Target,
        to: &Target,
    ) -> Result<Vec<(ResourceInstance, ResourceInstance)>, MoveError> {
        let kinds = |reason| MoveError::Kinds {
            from: from.to_string(),
            to: to.to_string(),
            reason,
        };
        let none = || MoveError::NoSource(from.to_string());
        match (from, to) {
            (Target::Module(source), Target::Module(target)) => {
                let found: Vec<_> = self
                    .matching(None)
                    .into_iter()
                    .filter(|instance| exactly_within(source, &instance.module))
                    .map(|instance| {
                        let steps = target
                            .steps()
                            .iter()
                            .chain(&instance.module.steps()[source.steps().len()..])
                            .cloned()
                            .collect();
                        let moved = ResourceInstance {
                            module: steps,
                            ..instance.clone()
                        };
                        (instance, moved)
                    })
                    .collect();
                if found.is_empty() {
                    Err(none())
                } else {
                    Ok(found)
                }
            }
            (Target::Module(_), _) => Err(kinds("the target must also be a module")),
            (_, Target::Module(_)) => Err(kinds("the target must not be a module")),
            (Target::Resource(source), target) => {
                let keys: Vec<Key> = self
                    .resources
                    .get(source)
                    .ok_or_else(none)?
                    .instances
                    .keys()
                    .cloned()
                    .collect();
                let (resource, key) = landing(target);
                same_type(source, &resource).map_err(kinds)?;
                if keys == [Key::None] {
                    let moved = resource.instance(key.unwrap_or_default());
                    return Ok(vec![(source.instance(Key::None), moved)]);
                }
                if key.is_some() {
                    return Err(kinds(
                        "a resource with several instances cannot become one instance",
                    ));
                }
                if self.resources.contains_key(&resource) && *source != resource {
                    return Err(MoveError::Occupied {
                        address: to.to_string(),
                        what: "a resource",
                    });
                }
                Ok(keys
                    .into_iter()
                    .map(|key| (source.instance(key.clone()), resource.instance(key)))
                    .collect())
            }
            (Target::Instance(source), target) => {
                if self.instance(source).is_none() {
                    return Err(none());
                }
                let (resource, key) = landing(target);
                same_type(&source.abs_resource(), &resource).map_err(kinds)?;
                Ok(vec![(
                    source.clone(),
                    resource.instance(key.unwrap_or_default()),
                )])
            }
        }
    }

    /// Gives the resources of one provider to another, and tells which.
    pub fn replace_provider(
        &mut self,
        from: &ProviderSource,
        to: &ProviderSource,
    ) -> Vec<AbsResource> {
        let mut changed = Vec::new();
        for (address, resource) in &mut self.resources {
            if resource.provider.provider == *from {
                resource.provider.provider = to.clone();
                changed.push(address.clone());
            }
        }
        changed
    }

    /// Marks the object in use for replacement, or takes the mark away.
    ///
    /// # Errors
    /// See [`MarkError`].
    pub fn mark(&mut self, address: &ResourceInstance, status: Status) -> Result<(), MarkError> {
        let missing = || MarkError::Missing(address.clone());
        let object = self
            .resources
            .get_mut(&address.abs_resource())
            .and_then(|resource| resource.instances.get_mut(&address.key))
            .and_then(|instance| instance.current.as_mut())
            .ok_or_else(missing)?;
        if status == Status::Ready && object.status != Status::Tainted {
            return Err(MarkError::NotTainted(address.clone()));
        }
        Arc::make_mut(object).status = status;
        Ok(())
    }
}

/// Below one instance of a module: a step without a key is the only instance of its call.
fn exactly_within(pattern: &ModuleInstance, module: &ModuleInstance) -> bool {
    module.steps().starts_with(pattern.steps())
}

fn landing(target: &Target) -> (AbsResource, Option<Key>) {
    match target {
        Target::Instance(instance) => (instance.abs_resource(), Some(instance.key.clone())),
        Target::Resource(resource) => (resource.clone(), None),
        Target::Module(module) => (
            AbsResource {
                module: module.clone(),
                resource: crate::address::Resource::managed("", ""),
            },
            None,
        ),
    }
}

fn same_type(from: &AbsResource, to: &AbsResource) -> Result<(), &'static str> {
    if from.resource.mode != to.resource.mode {
        Err("managed resources and data sources do not become one another")
    } else if from.resource.kind != to.resource.kind {
        Err("resource types don't match")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Object;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn state(addresses: &[&str]) -> State {
        let mut state = State::new();
        let provider = ProviderConfig::default_for(ProviderSource::implied("null"));
        for address in addresses {
            let address = match target(address) {
                Target::Instance(instance) => instance,
                Target::Resource(resource) => resource.instance(Key::None),
                Target::Module(_) => unreachable!("a module"),
            };
            let object = Some(Arc::new(Object::default()));
            state.set_object(&address, None, &provider, object);
        }
        state
    }

    fn listed(state: &State) -> Vec<String> {
        state
            .matching(None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn instances_resources_and_modules_are_moved() {
        let mut there = state(&[
            "null_resource.a",
            "null_resource.c[0]",
            "null_resource.c[1]",
        ]);
        let mut moved = |from: &str, to: &str| {
            let done = there.relocate(&target(from), &target(to), None);
            (done, listed(&there))
        };
        assert_eq!(
            moved("null_resource.a", "null_resource.b[\"x\"]"),
            (
                Ok(1),
                vec![
                    "null_resource.b[\"x\"]".to_owned(),
                    "null_resource.c[0]".to_owned(),
                    "null_resource.c[1]".to_owned(),
                ]
            )
        );
        assert_eq!(
            moved("null_resource.c", "module.m.null_resource.d").0,
            Ok(1)
        );
        let (done, left) = moved("module.m", "module.n[2]");
        assert_eq!(done, Ok(1));
        assert_eq!(
            left,
            [
                "null_resource.b[\"x\"]",
                "module.n[2].null_resource.d[0]",
                "module.n[2].null_resource.d[1]"
            ]
        );
    }

    #[test]
    fn a_move_that_cannot_be_made_changes_nothing() {
        let before = ["null_resource.a", "null_resource.b", "null_resource.c[0]"];
        let mut there = state(&before);
        let mut refused = |from: &str, to: &str| {
            there
                .relocate(&target(from), &target(to), None)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused("null_resource.x", "null_resource.y"),
            "Cannot move null_resource.x: does not match anything in the current state."
        );
        assert_eq!(
            refused("null_resource.a", "null_resource.b"),
            "Cannot move to null_resource.b: there is already a resource instance at that address \
             in the current state."
        );
        assert_eq!(
            refused("null_resource.a", "null_data.b"),
            "Cannot move null_resource.a to null_data.b: resource types don't match."
        );
        assert_eq!(
            refused("module.m", "null_resource.z"),
            "Cannot move module.m to null_resource.z: the target must also be a module."
        );
        assert_eq!(listed(&there), before);
    }

    #[test]
    fn what_is_moved_into_another_state_leaves_this_one() {
        let mut one = state(&["null_resource.a", "null_resource.b"]);
        let mut other = state(&["null_resource.b"]);
        let moved = one.relocate(
            &target("null_resource.a"),
            &target("null_resource.a"),
            Some(&mut other),
        );
        assert_eq!(moved, Ok(1));
        assert_eq!(listed(&one), ["null_resource.b"]);
        assert_eq!(listed(&other), ["null_resource.a", "null_resource.b"]);
    }

    #[test]
    fn a_mark_is_set_and_taken_away_once() {
        let mut there = state(&["null_resource.a"]);
        let address = there.matching(None).remove(0);
        there.mark(&address, Status::Tainted).unwrap();
        there.mark(&address, Status::Ready).unwrap();
        assert_eq!(
            there.mark(&address, Status::Ready).unwrap_err().to_string(),
            "Resource instance null_resource.a is not currently tainted, and so it cannot be untainted."
        );
    }
}
