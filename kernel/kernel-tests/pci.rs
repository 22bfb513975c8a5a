//! Tests of PCI: functions and their interrupts. They use a network adapter (e1000e), which raises an interrupt on
//! request (82574 datasheet, 10.2.4).
#![allow(unsafe_code)] // device registers

use portico_kernel::cpu::Vector;
use portico_kernel::cpu::{idle, local};
use portico_kernel::kernel_test;
use portico_kernel::memory::Caching;
use portico_kernel::pci::{Bus, PciError};

const HOST_BRIDGE: (u16, u16) = (0x8086, 0x29c0);
const E1000E: (u16, u16) = (0x8086, 0x10d3);

/// Register that raises the causes written to it.
const INTERRUPT_CAUSE_SET: u64 = 0xc8;
/// Register that unmasks causes.
const INTERRUPT_MASK_SET: u64 = 0xd0;
/// Register of causes that are cleared when raised.
const AUTO_CLEAR: u64 = 0xdc;
/// Register of the causes' MSI-X interrupts, four bits each; the highest is the valid bit.
const INTERRUPT_VECTORS: u64 = 0xe4;
/// Causes of the first and the second receive queue.
const CAUSES: [u32; 2] = [1 << 20, 1 << 21];

fn functions_are_found() {
    let bus = Bus::open().expect("configuration space");
    for id in [HOST_BRIDGE, E1000E] {
        assert!(bus.find(id).is_some(), "{id:04x?}");
    }
    assert!(bus.find((0x1234, 0x11e8)).is_none());
    assert!(bus.functions().all(|function| function.id().0 != 0xffff));
}
kernel_test!(functions_are_found, machine: "-netdev hubport,hubid=0,id=net -device e1000e,netdev=net,romfile=");

fn claimed_device_is_missing_on_the_bus() {
    let mut bus = Bus::open().expect("configuration space");
    assert_eq!(bus.claim(9).err(), Some(PciError::NoDevice(9)));
    assert_eq!(bus.claim(8).expect("the adapter").id(), E1000E);
    assert!(bus.find(E1000E).is_none());
    assert_eq!(bus.claim(8).err(), Some(PciError::NoDevice(8)));
}
kernel_test!(claimed_device_is_missing_on_the_bus, machine: "-netdev hubport,hubid=0,id=net -device e1000e,netdev=net,romfile=,addr=8");

fn msix_interrupts_come_without_firmware() {
    msix_interrupts_come_to_their_vectors();
}
kernel_test!(msix_interrupts_come_without_firmware, machine: "flash -netdev hubport,hubid=0,id=net -device e1000e,netdev=net,romfile=");

fn msix_interrupts_come_to_their_vectors() {
    let bus = Bus::open().expect("configuration space");
    let mut function = bus.find(E1000E).expect("the adapter");
    let (registers, size) = function.map_bar(&bus, 0, Caching::Uncached).expect("registers");
    assert_eq!(size, 128 << 10);
    let mut msix = function.msix(&bus).expect("MSI-X");
    let vectors: [Vector; 2] = [0, 1].map(|number| msix.route(number, local::cpu()).expect("a vector"));
    assert_eq!(msix.route(5, local::cpu()), Err(PciError::NoInterrupt(5)), "it has five");
    // SAFETY: the registers are mapped, and the adapter does nothing else.
    let write = |register: u64, value: u32| unsafe { ((registers + register) as *mut u32).write_volatile(value) };
    write(INTERRUPT_VECTORS, 0x98);
    write(AUTO_CLEAR, CAUSES[0] | CAUSES[1]);
    let raise = |nth: usize| {
        let before = vectors[nth].count();
        write(INTERRUPT_MASK_SET, CAUSES[nth]); // the adapter masks what it raised
        write(INTERRUPT_CAUSE_SET, CAUSES[nth]);
        while vectors[nth].count() == before {
            idle::wait();
        }
    };
    (0..100).for_each(|_| raise(0));
    assert_eq!(vectors[1].count(), 0, "the other is another vector");
    (0..100).for_each(|round| raise(round % 2));
}
kernel_test!(msix_interrupts_come_to_their_vectors, machine: "-netdev hubport,hubid=0,id=net -device e1000e,netdev=net,romfile=");
