package shop

deny[msg] {
	change := input.resource_changes[_]
	change.change.after.data.x == "y"
	msg := "x is y"
}
