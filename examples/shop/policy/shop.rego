# What must hold for every change of the shop.
package shop

# A container that may take all memory of its machine takes its neighbours down with it.
deny contains sprintf("container %q of %s has no memory limit", [container.name, change.address]) if {
	some change in input.resource_changes
	some container in change.change.after.spec.template.spec.containers
	not container.resources.limits.memory
}

# The store's machine holds the only copy of the data.
deny contains sprintf("%s must not be deleted: it holds the shop's data", [change.address]) if {
	some change in input.resource_changes
	change.change.actions == ["delete"]
	change.change.before.labels.tier == "database"
	input.mode != "destroy"
}

warn contains sprintf("%s runs a single replica", [change.address]) if {
	some change in input.resource_changes
	change.type == "apps/v1/Deployment"
	change.change.after.spec.replicas == 1
	change.change.actions != ["no-op"]
}
