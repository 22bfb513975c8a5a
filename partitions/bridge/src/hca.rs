//! The HCA that the partition drives itself.
#![allow(unsafe_code)] // its memory and its doorbell

use core::ptr::{NonNull, with_exposed_provenance_mut};

use hca_driver::{Bar2, Doorbell, Hca};
use lhca_contract::OwnHca;

/// The driver of the HCA that `own` tells of; `None` if it tells of none. To be called once.
pub(crate) fn open(own: &OwnHca) -> Option<Hca<Bell>> {
    let memory = NonNull::new(with_exposed_provenance_mut(own.memory as usize))?;
    // SAFETY: the hypervisor says that the HCA's memory is there, for good; it is mapped at its own address,
    // page-aligned, and nothing else in this program reaches it.
    let memory = unsafe { Bar2::new(memory) };
    Some(Hca::new(memory, Bell(own.doorbell)))
}

/// The doorbell register.
#[derive(Debug)]
pub(crate) struct Bell(u64);

impl Doorbell for Bell {
    fn notify(&mut self, target: u16, vector: u16) {
        let register = with_exposed_provenance_mut::<u32>(self.0 as usize);
        // SAFETY: the hypervisor says that the register is there; a target or vector that does not exist is ignored.
        // Stores are not reordered among each other on this architecture, and a volatile one not by the compiler among
        // volatiles.
        unsafe { register.write_volatile(u32::from(target) << 16 | u32::from(vector)) }
    }
}
