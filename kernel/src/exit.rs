//! How a machine ends, and what it says of it to whoever started QEMU.

/// What the kernel writes to QEMU's `isa-debug-exit` device (I/O base 0xf4, size 4) to end the machine.
///
/// Any other value is a value too: whoever reads it sees a machine that ended in a way that nobody named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// The I/O port of `isa-debug-exit`.
    pub const PORT: u16 = 0xf4;

    /// All that was asked for was done.
    pub const PASS: Self = Self(0x10);
    /// A check said no.
    pub const FAIL: Self = Self(0x11);
    /// The kernel panicked.
    pub const PANIC: Self = Self(0x12);
    /// The processor raised an exception that nothing expects.
    pub const FAULT: Self = Self(0x13);
    /// The kernel was asked for what it does not have, such as a kernel test of an unknown name.
    pub const UNKNOWN: Self = Self(0x14);

    /// The status with which QEMU's process ends.
    #[must_use]
    pub const fn process_status(self) -> i32 {
        (self.0 as i32) << 1 | 1
    }

    /// What the kernel wrote, from the status of QEMU's process; `None` if QEMU ended by itself.
    #[must_use]
    pub const fn from_process_status(status: i32) -> Option<Self> {
        if status & 1 == 1 && status >= Self::PASS.process_status() && status <= 0xff {
            Some(Self((status >> 1) as u8))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_the_way_through_qemu() {
        for code in [ExitCode::PASS, ExitCode::FAIL, ExitCode::PANIC, ExitCode::FAULT, ExitCode::UNKNOWN] {
            assert_eq!(ExitCode::from_process_status(code.process_status()), Some(code));
        }
    }

    #[test]
    fn qemus_own_ends_are_no_code() {
        assert_eq!(ExitCode::from_process_status(0), None, "powered off");
        assert_eq!(ExitCode::from_process_status(1), None, "refused its command line");
        assert_eq!(ExitCode::from_process_status(-6), None, "killed");
    }
}
