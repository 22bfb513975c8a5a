//! Attacks of the image `hostile`, as far as they need no machine: arguments, addresses and summaries.
#![no_std]
#![forbid(unsafe_code)]

mod arguments;
mod attempt;
mod pages;
mod summary;

pub use arguments::{Arguments, Random, boundaries, every_call};
pub use attempt::Attempt;
pub use pages::{END, PAGE, foreign_places, large_pages, strange_pages};
pub use summary::Summary;
