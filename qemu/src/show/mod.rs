//! What the user sees: the steps of a run, and the subnet as a tree.

pub(crate) mod agent;
pub(crate) mod progress;
pub(crate) mod subnet;
mod tree;

pub(crate) use tree::Tree;
