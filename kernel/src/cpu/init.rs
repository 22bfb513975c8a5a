//! First step of each processor.

use super::{local, tables};

/// Loads the tables and stacks of this processor, the `index`th; the boot processor has index 0.
pub fn init(index: usize) {
    tables::load(index);
    local::init(index);
}
