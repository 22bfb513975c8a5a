//! Why a guest was left (APM vol. 2, appendix C).

use bitflags::bitflags;

/// Why the guest was left, as the manual names it; an unknown reason is a value too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A physical interrupt, non-maskable interrupt, or system management interrupt is the host's to take.
    Interrupt,
    /// The guest takes interrupts from here on, and one was to be announced.
    Window,
    /// An exception that is looked at: its vector and error code.
    Exception(u8, u32),
    /// CPUID.
    Cpuid,
    /// HLT.
    Halt,
    /// VMMCALL.
    Call,
    /// RDMSR.
    ReadMsr,
    /// WRMSR.
    WriteMsr,
    /// IN or OUT: what it does, and where the next instruction is.
    Port(PortAccess, u64),
    /// An access to a guest-physical address that is not mapped, or not so.
    NestedFault {
        /// The guest-physical address.
        address: u64,
        /// Page-fault error code.
        error: u64,
    },
    /// An instruction that partitions have no use for: it is refused with an undefined-opcode exception.
    Undefined(u64),
    /// A register that partitions may not touch: refused with a general-protection exception.
    Protected(u64),
    /// A triple fault.
    Shutdown,
    /// The processor refused to enter the guest at all; the save area is garbage.
    Invalid,
    /// Anything else.
    Other(u64),
}

bitflags! {
    /// An access to an I/O port, EXITINFO1 (APM vol. 2, 15.10.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PortAccess: u32 {
        /// IN; else OUT.
        const IN = 1 << 0;
        /// INS or OUTS.
        const STRING = 1 << 2;
        /// Eight bits.
        const BYTE = 1 << 4;
        /// Sixteen bits.
        const WORD = 1 << 5;
        /// Thirty-two bits.
        const DOUBLE = 1 << 6;
        /// The port's number.
        const PORT = 0xffff << 16;
    }
}

impl PortAccess {
    /// The port's number.
    #[must_use]
    pub const fn port(self) -> u16 {
        (self.bits() >> 16) as u16
    }
}

/// The code of [`Exit::Call`].
const CALL: u64 = 0x81;

impl Exit {
    /// The exit that the VMCB's fields EXITCODE, EXITINFO1 and EXITINFO2 tell of.
    #[inline]
    #[must_use]
    pub fn decode(code: u64, info_1: u64, info_2: u64) -> Self {
        // The one that comes most is found first.
        if code == CALL {
            return Self::Call;
        }
        // Of the code for an invalid guest only the low half is the same everywhere.
        if code as u32 == u32::MAX {
            return Self::Invalid;
        }
        match code {
            0x14 | 0x18 => Self::Protected(code), // writes of CR4 and CR8
            0x20..=0x3f => Self::Protected(code), // debug registers
            0x40..=0x5f => Self::Exception((code - 0x40) as u8, info_1 as u32),
            0x60..=0x62 => Self::Interrupt,
            0x64 => Self::Window,
            0x6f => Self::Protected(code), // RDPMC
            0x72 => Self::Cpuid,
            0x73 | 0x76 | 0x7a => Self::Undefined(code), // RSM, INVD, INVLPGA
            0x78 => Self::Halt,
            0x7b => Self::Port(PortAccess::from_bits_truncate(info_1 as u32), info_2),
            0x7c => {
                if info_1 & 1 == 0 {
                    Self::ReadMsr
                } else {
                    Self::WriteMsr
                }
            }
            0x7f => Self::Shutdown,
            0x80 | 0x82..=0x86 | 0x88..=0x8e => Self::Undefined(code), // VMRUN to SKINIT, ICEBP to RDPRU
            0x400 => Self::NestedFault { address: info_2, error: info_1 },
            _ => Self::Other(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_told_apart() {
        assert_eq!(Exit::decode(0x72, 0, 0), Exit::Cpuid);
        assert_eq!(Exit::decode(0x7c, 1, 0), Exit::WriteMsr);
        assert_eq!(Exit::decode(0x400, 6, 0x1234), Exit::NestedFault { address: 0x1234, error: 6 });
        assert_eq!(Exit::decode(0x51, 0, 0), Exit::Exception(17, 0));
        assert_eq!(Exit::decode(0x87, 0, 0), Exit::Other(0x87));
    }

    #[test]
    fn an_invalid_guest_is_told_by_the_low_half() {
        assert_eq!(Exit::decode(u64::MAX, 0, 0), Exit::Invalid);
        assert_eq!(Exit::decode(0xffff_ffff, 0, 0), Exit::Invalid);
    }

    #[test]
    fn a_port_access_shows_its_port() {
        let Exit::Port(access, next) = Exit::decode(0x7b, 0x03f8_0011, 0x1002) else { panic!("a port access") };
        assert_eq!((access.port(), next), (0x3f8, 0x1002));
        assert!(access.contains(PortAccess::IN | PortAccess::BYTE) && !access.contains(PortAccess::STRING));
    }

    #[test]
    fn any_code_is_decoded() {
        for code in 0..0x1000 {
            let _ = Exit::decode(code, u64::MAX, u64::MAX);
        }
    }
}
