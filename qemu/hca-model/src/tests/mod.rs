//! The device beside a driver of the tests' own, written from the contract, and the far end of its cable.

mod generations;
mod hostile;
mod link;
mod traffic;
pub(super) mod world;
