//! The machine that a partition runs on.
#![allow(unsafe_code)] // VMMCALL

use lhca_contract::{Call, Status};

/// Machine, as the driver needs it.
pub trait Platform {
    /// CPUID's EAX, EBX, ECX and EDX at `leaf`.
    fn cpuid(&self, leaf: u32) -> [u32; 4];

    /// Makes a hypercall, and gives its status and value.
    ///
    /// What `arguments` point to must live through the call; the hypervisor reads or fills it.
    fn call(&self, call: Call, arguments: [u64; 3]) -> (Status, u64);

    /// The partition-physical address of what `pointer` points to.
    fn physical(&self, pointer: *const u8) -> u64;
}

impl<P: Platform> Platform for &P {
    fn cpuid(&self, leaf: u32) -> [u32; 4] {
        (**self).cpuid(leaf)
    }

    fn call(&self, call: Call, arguments: [u64; 3]) -> (Status, u64) {
        (**self).call(call, arguments)
    }

    fn physical(&self, pointer: *const u8) -> u64 {
        (**self).physical(pointer)
    }
}

/// A partition's processor, with memory mapped at its own addresses, as partitions start.
#[cfg(target_os = "none")]
#[derive(Clone, Copy, Debug)]
pub struct Vmmcall;

#[cfg(target_os = "none")]
impl Platform for Vmmcall {
    fn cpuid(&self, leaf: u32) -> [u32; 4] {
        let leaf = core::arch::x86_64::__cpuid(leaf);
        [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]
    }

    #[inline]
    fn call(&self, call: Call, [rdi, rsi, rdx]: [u64; 3]) -> (Status, u64) {
        let (status, value);
        // SAFETY: the hypervisor changes RAX and RDX, and memory only where an argument points; the driver passes
        // addresses of live values, behind pointers that it gave away before. The asm block counts as touching memory.
        unsafe {
            core::arch::asm!(
                "vmmcall",
                inlateout("rax") call.0 => status,
                in("rdi") rdi,
                in("rsi") rsi,
                inlateout("rdx") rdx => value,
                options(nostack),
            );
        }
        (Status(status), value)
    }

    fn physical(&self, pointer: *const u8) -> u64 {
        pointer.expose_provenance() as u64
    }
}
