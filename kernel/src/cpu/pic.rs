//! Legacy interrupt controllers (8259A), masked: interrupts come through the APICs.
#![allow(unsafe_code)] // ports

use x86_64::instructions::port::Port;

/// Command ports of the two controllers; each data port follows.
const CONTROLLERS: [u16; 2] = [0x20, 0xa0];
/// First vectors of the controllers, for spurious interrupts; the kernel uses none of these vectors.
const VECTORS: [u8; 2] = [0x20, 0x28];
/// Cascade: the second controller is at input 2 of the first.
const CASCADE: [u8; 2] = [1 << 2, 2];

/// Initializes both controllers and masks all their inputs (Intel 8259A, initialization command words 1 to 4).
pub(super) fn mask() {
    for ((command, vector), cascade) in CONTROLLERS.into_iter().zip(VECTORS).zip(CASCADE) {
        // SAFETY: only the interrupt controller is behind these ports.
        unsafe {
            Port::new(command).write(0x11_u8);
            let mut data = Port::new(command + 1);
            for byte in [vector, cascade, 0x01, 0xff] {
                data.write(byte);
            }
        }
    }
}
