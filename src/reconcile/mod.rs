//! Reconciliation: one slot per profile, and exactly the intended gateways up (DESIGN, section 5).

pub mod first_boot;
pub mod line;
pub mod pass;
pub mod role;
mod stale;
