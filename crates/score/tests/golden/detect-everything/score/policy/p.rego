package p

warn contains "it is looked at" if input.resource_changes
