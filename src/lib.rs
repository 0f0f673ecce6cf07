//! hermes-s6: every Hermes Agent profile its own supervised gateway under s6.
//!
//! One library, many three-line executables. The library never exits, never panics on input and never prints: `cli::main`
//! maps an error to a message and a code.
#![forbid(unsafe_code)]

// The shared face of the tools.
pub mod cli;
pub mod exit;
pub mod message;
pub mod record;

// The volume, which is untrusted, and the account that it belongs to.
pub mod account;
pub mod beneath;
pub mod home;
pub mod intent;
pub mod lock;
pub mod profile;
pub mod state;

// s6, driven through its own programs.
pub mod nudge;
pub mod register;
pub mod retire;
pub mod s6;
pub mod scandir;
pub mod slot;
pub mod supervise;
pub mod template;
pub mod trusted;

// What stands on both.
pub mod attrs;
pub mod bootlog;
pub mod command;
pub mod environment;
pub mod gateway;
pub mod interrupt;
pub mod lifecycle;
pub mod port;
pub mod process;
pub mod reconcile;
pub mod sealed;
pub mod settings;
pub mod status;
pub mod watch;
