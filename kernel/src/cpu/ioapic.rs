//! I/O APIC: interrupts of devices without MSI (82093AA datasheet).
#![allow(unsafe_code)] // registers

use core::ptr::with_exposed_provenance_mut;

use spin::Mutex;

use super::local::Cpu;
use super::vector::Vector;

/// Address of q35's I/O APIC. A register's number is written to [`SELECT`]; [`WINDOW`] then holds its value.
pub(super) const BASE: u64 = 0xfec0_0000;
const SELECT: u64 = BASE;
const WINDOW: u64 = BASE + 0x10;

/// First register of the redirection table, which has two for each input.
const REDIRECTION: u32 = 0x10;

static LOCK: Mutex<()> = Mutex::new(());

/// Routes an edge-triggered input to `vector` at `cpu`.
pub fn route(input: u8, vector: Vector, cpu: &Cpu) {
    let _lock = LOCK.lock();
    let write = |register: u32, value: u32| {
        // SAFETY: the registers are mapped; an input is routed only to a vector that has a handler.
        unsafe {
            with_exposed_provenance_mut::<u32>(SELECT as usize).write_volatile(register);
            with_exposed_provenance_mut::<u32>(WINDOW as usize).write_volatile(value);
        }
    };
    let entry = REDIRECTION + 2 * u32::from(input);
    write(entry + 1, cpu.apic_id() << 24);
    write(entry, u32::from(vector.number()));
}
