//! Everything between the engine and a Terraform provider.
//!
//! [`Provider`] is what the engine talks to. A plugin process ([`plugin`]) and the provider that
//! is part of the binary ([`builtin`]) are behind the same trait: values go in and out, and the wire, the
//! process and the encoding stay inside.
//!
//! A provider says by [`schema`] what its resources look like. From the schema follow the decoding of a
//! configuration body ([`schema::Block::decode`]), and the rules by which a planned and an applied object are
//! compared with what was asked for ([`objects`]).

pub mod builtin;
mod call;
mod diagnostic;
pub mod objects;
pub mod plugin;
pub mod schema;

pub use call::{
    Applied, Apply, Call, Configure, DataRead, Deferred, FunctionError, Import, ImportTarget,
    Imported, ImportedResource, MoveState, Moved, OpenEphemeral, Opened, Plan, Planned, Provider,
    RawState, Read, ReadData, ReadDone, Renewed, UpgradeIdentity, UpgradeState, UpgradedIdentity,
    UpgradedState, Validate,
};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
