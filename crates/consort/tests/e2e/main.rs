//! The whole system from outside: the real binary, driven by the real `kubectl`.
//!
//! Each test starts a server of its own in a network namespace of its own
//! ([`harness::Cluster`]), so tests neither see each other nor the host's network, and each ends by
//! asserting that nothing of it is left on the machine. They need root, `kubectl`, `busybox` (a
//! static one), `nft`, `ip`, `nsenter`, `setpriv`, `script`, `tar` and `timeout`.

mod administration;
mod cleanup;
mod drain;
mod errors;
mod harness;
mod images;
mod kills;
mod machines;
mod objects;
mod pull;
mod scores;
mod servers;
mod sessions;
mod shop;
mod site;
mod terraform;
mod terraform_test;
mod terraform_wrong;
