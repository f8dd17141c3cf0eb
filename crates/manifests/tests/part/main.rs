//! A part of manifests against the real API, in process: planned, carried out, planned again.

mod carry;
mod cluster;
mod kinds;
mod plan;
