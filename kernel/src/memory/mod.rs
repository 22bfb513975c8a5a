//! Memory: the memory map, free frames, page tables, and the heap.

pub mod frames;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod kernel;
pub mod map;
pub mod paging;

#[cfg(target_os = "none")]
pub use kernel::{Caching, allocate, available, free, init, map_device};
#[cfg(target_os = "none")]
pub(crate) use kernel::{KernelTables, Wiping, allocate_as_it_is, root};

/// Size of a frame and of the smallest page.
pub const PAGE: u64 = 4096;
