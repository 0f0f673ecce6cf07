//! The operations that need both the volume and the scan directory.

pub mod action;
pub mod await_watcher;
pub mod container;
pub mod context;
pub mod gateway;
pub mod logs;
pub mod note;
pub mod reconcile;
pub mod register;
pub mod restart;
pub mod start;
pub mod status;
pub mod stop;
pub mod unregister;
pub mod versions;
pub mod watch;
pub mod whose;
