package p

approval contains "the first of its kind" if input.resource_changes
