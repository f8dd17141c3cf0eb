package a

deny contains msg if {
	msg := concat(
}
