//! Terraform configurations, modules, providers and state, planned and applied.

pub mod address;
