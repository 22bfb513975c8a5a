//! Heap of the kernel.
#![allow(unsafe_code)] // passes memory to the allocator

use core::ptr::with_exposed_provenance_mut;

use talc::TalcLock;
use talc::source::Manual;

use super::map::Range;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Adds `range` to the heap.
///
/// # Safety
/// From now on only the heap uses the memory.
///
/// # Panics
/// The range is too small for a heap.
pub(super) unsafe fn claim(range: Range) {
    let size = usize::try_from(range.len()).unwrap_or(0);
    // SAFETY: the caller promises that the memory is the heap's alone.
    let heap = unsafe { HEAP.lock().claim(with_exposed_provenance_mut(range.start as usize), size) };
    heap.expect("the heap's memory is large enough");
}
