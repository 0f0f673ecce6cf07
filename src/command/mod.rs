//! The tools: options in, library call, records out.

use crate::cli::Tool;

pub mod port_alloc;

/// Every tool, for the one executable that looks at its own name.
pub static TOOLS: [&Tool; 1] = [&port_alloc::TOOL];
