package shop

deny contains sprintf("%s has no owner", [change.address]) if {
	some change in input.resource_changes
	change.type == "v1/ConfigMap"
	not change.change.after.data.owner
}

warn contains "look twice" if count(input.resource_changes) > 1
