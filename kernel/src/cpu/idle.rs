//! Halting until an interrupt.

use x86_64::instructions::interrupts;

use super::local::cpu;

/// Halts this processor until an interrupt. Returns at once if one came since the last call. Enables interrupts.
pub fn wait() {
    interrupts::disable();
    if cpu().take_note() {
        interrupts::enable();
        return;
    }
    // STI takes effect after the next instruction, so nothing can slip in between the check and HLT.
    interrupts::enable_and_hlt();
    cpu().take_note();
}
