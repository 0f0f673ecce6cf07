//! The tools: options in, library call, records out. One file each.

pub mod gateway_ready;
pub mod run_gateway;
pub mod run_logger;

use crate::cli::Tool;

/// Every tool, for the one executable that looks at its own name.
pub static TOOLS: &[&Tool] = &[&gateway_ready::TOOL, &run_gateway::TOOL, &run_logger::TOOL];
