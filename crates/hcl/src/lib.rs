//! HCL: syntax trees with spans, values with unknowns and marks, and the functions of Terraform's language.
