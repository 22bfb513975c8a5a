//! The driver of the emulated HCA.
#![no_std]
