package shop

deny[msg] {
	change := input.resource_changes[_]
	change.change.after.data.x == "why"
	msg := "x is why"
}
