//! Kubernetes objects as a layer: read from files, planned by dry run, applied with field ownership, awaited and pruned.
