//! hermes-s6 gives every Hermes Agent profile its own supervised gateway under s6.
//!
//! The crate is one library in five modules ("rooms") and one three-line executable for each tool. A room uses only the
//! rooms above it in this list, which `scripts/lint-rooms` checks. docs/DESIGN.md describes how a profile becomes a
//! running gateway.
#![forbid(unsafe_code)]

// Code that knows neither Hermes Agent nor s6: errors, files, accounts, processes. Root's own rights are used here.
mod ground;

// The files on the volume. All of them are untrusted, and are accessed with the runtime account's rights.
mod volume;

// The scan directory and its slots, driven through s6's own programs. Nothing here touches the volume.
mod s6;

// The operations that need both: registering, starting, stopping, reconciling, status, the watcher, the gateway's own
// start.
mod work;

// One file for each tool: it parses the options, makes one call, and prints the records.
mod tools;

pub use tools::main_of;

/// What tests and benches outside of this crate use of the library. No tool needs this module.
#[doc(hidden)]
pub mod under_test {
    pub use crate::ground::account::Account;
    pub use crate::ground::deadline::Deadline;
    pub use crate::ground::environment::Environment;
    pub use crate::ground::error::Kind;
    pub use crate::ground::message::Silent;
    pub use crate::ground::profile::Profile;
    pub use crate::s6::supervise::is_held;
    pub use crate::volume::home::Home;
    pub use crate::volume::ports::{self, Assignment, Book, Range, preferred};
    pub use crate::volume::settings::{Inherited, Settings, multiplex_with};
}
