//! The one executable that `make install` ships; the tools are symbolic links to it.
fn main() {}
