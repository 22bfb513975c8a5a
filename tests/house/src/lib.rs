//! Checks of the source itself, for the tests of this package.
//!
//! - [`rooms`]: the table of rooms in ARCHITECTURE.md against the arrows in Cargo.toml and in the code.
//! - [`modules`]: the files of a crate and which of them import each other.
//! - [`words`]: doc summaries, names and messages against the wording rules that a program can see.

pub mod modules;
pub mod rooms;
pub mod source;
pub mod words;
