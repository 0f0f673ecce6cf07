//! The ground: code that knows neither Hermes Agent nor s6.
//!
//! The modules that a process with root's rights relies on come first, then input (variables, parameters, signals,
//! time), then output.

// Root's own part: whose rights a process has, and which paths and files it trusts.
pub mod account;
pub mod beneath;
pub mod lock;
pub mod process;
pub mod roots_links;
pub mod trusted;

// Input of a process: variables, parameters, signals, time, memory.
pub mod deadline;
pub mod environment;
pub mod interrupt;
pub mod memory;
pub mod parameter;
pub mod profile;

// Output of a process.
pub mod error;
pub mod message;
pub mod record;
pub mod waiting;
