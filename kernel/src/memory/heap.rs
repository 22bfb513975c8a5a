//! The kernel's heap.
#![allow(unsafe_code)] // hands memory to the allocator

use core::ptr::with_exposed_provenance_mut;

use talc::TalcLock;
use talc::source::Manual;

use super::map::Range;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Gives `range` to the heap.
///
/// # Safety
/// Nothing else uses this memory, from now on.
///
/// # Panics
/// If it is too small for a heap.
pub(super) unsafe fn claim(range: Range) {
    let size = usize::try_from(range.len()).unwrap_or(0);
    // SAFETY: the caller promises that the memory is the heap's alone.
    let heap = unsafe { HEAP.lock().claim(with_exposed_provenance_mut(range.start as usize), size) };
    heap.expect("the heap's memory is large enough");
}
