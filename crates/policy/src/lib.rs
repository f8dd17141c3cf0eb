//! Rego policies over blueprints and requests, and the blast radius of a change.
