//! STUB
#![allow(missing_docs)]
pub fn is_truthy(v: &str) -> bool { matches!(v.trim().to_ascii_lowercase().as_str(), "1"|"true"|"yes"|"on") }
pub fn multiplex(_h: &crate::home::Home) -> bool { false }
