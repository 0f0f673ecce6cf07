//! What runs in a slot: the gateway's environment, its lock, and the takeover from a gateway whose supervisor was
//! killed.

pub mod exec;
pub mod hook;
pub mod identity;
pub mod label;
pub mod limit;
pub mod listener;
pub mod orphan;
pub mod pass_through;
pub mod port;
pub mod readiness;
pub mod scrub;
pub mod take_lock;
pub mod turn;
