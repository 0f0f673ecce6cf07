//! Reconciliation: every profile gets one slot, and the gateways with the intent to run are up (docs/DESIGN.md,
//! Reconciliation).

mod all;
mod crowd;
mod facts;
pub mod first_boot;
mod give_ports;
pub mod line;
mod pass;
mod removal;
mod rename;
mod served;
mod single;
mod wait;

pub use all::all;
pub use pass::Passed;
pub use single::{is_nothing, single};
pub use wait::wait;
