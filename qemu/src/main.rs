//! The command `cargo portico`.

fn main() {}
