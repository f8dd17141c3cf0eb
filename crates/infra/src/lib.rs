//! Terraform configurations, modules, providers and state, planned and applied.

pub mod address;
pub mod config;
pub mod encryption;
pub mod engine;
pub mod generate_config;
pub mod install;
pub mod layer;
pub mod plan_file;
pub mod provider;
pub mod provisioner;
pub mod render;
pub mod render_json;
pub mod session;
pub mod state;
pub mod testing;
pub mod version;
