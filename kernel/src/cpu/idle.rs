//! Waiting without burning time.

use x86_64::instructions::interrupts;

use super::local::cpu;

/// Halts this processor until something is noted: an interrupt that came since the last call ends the wait at once.
/// Interrupts are enabled from then on.
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
