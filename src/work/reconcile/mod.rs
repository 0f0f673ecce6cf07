//! Reconciliation: every profile gets one slot, and the gateways with the intent to run are up (docs/DESIGN.md,
//! Reconciliation).

mod crowd;
pub mod first_boot;
mod give_ports;
pub mod line;
pub mod pass;
mod removal;
mod rename;
mod served;
