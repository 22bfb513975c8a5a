//! A heap for images that use `alloc`.
#![allow(unsafe_code)] // hands memory to the allocator

use lhca_driver::Line;
use talc::TalcLock;
use talc::source::Manual;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Gives `lines` to the heap.
///
/// # Panics
/// If they are too few for a heap: an error of the image's own.
pub(crate) fn claim(lines: &'static mut [Line]) {
    let size = size_of_val(lines);
    // SAFETY: the owner of a `&'static mut` has the memory alone, and gives it away here for good.
    let heap = unsafe { HEAP.lock().claim(lines.as_mut_ptr().cast(), size) };
    assert!(heap.is_some(), "too little memory for a heap");
}
