package p

warn contains sprintf("%s: %v", [change.address, change.change.after_unknown]) if {
	some change in input.resource_changes
	change.change.after_unknown != {}
}
