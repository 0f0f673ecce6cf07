//! hermes-s6: every Hermes Agent profile its own supervised gateway under s6.
#![forbid(unsafe_code)]
