//! The volume: the profiles and the files of each. The runtime account owns all of it, so it is read and written with
//! that account's rights. Only `give_back` acts as root; its documentation says why this is safe.

pub mod autostart;
pub mod boot_log;
pub mod client;
pub mod gateway_lock;
pub mod give_back;
pub mod home;
pub mod intent;
mod json_shape;
pub mod last_words;
pub mod log_files;
pub mod log_line;
pub mod mode;
pub mod planned_stop;
pub mod ports;
pub mod root_left;
pub mod settings;
pub mod stale;
pub mod start_now;
pub mod state;
pub mod writable;
