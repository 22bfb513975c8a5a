//! Output for the user: the steps of a run, the subnet as a tree, and tables.

pub(crate) mod agent;
pub(crate) mod progress;
pub(crate) mod subnet;
pub(crate) mod table;
mod tree;

pub(crate) use tree::Tree;
