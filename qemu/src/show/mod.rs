//! What the user sees: the steps of a run, and the subnet as a tree.

pub(crate) mod progress;
