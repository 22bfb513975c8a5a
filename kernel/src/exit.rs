//! Exit codes of a machine.

/// Exit code: the kernel writes it to QEMU's `isa-debug-exit` device (I/O base 0xf4, size 4) to end the machine.
///
/// Values without a constant are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// I/O port of `isa-debug-exit`.
    pub const PORT: u16 = 0xf4;

    /// Success.
    pub const PASS: Self = Self(0x10);
    /// A kernel test returned an error.
    pub const FAIL: Self = Self(0x11);
    /// The kernel panicked.
    pub const PANIC: Self = Self(0x12);
    /// The processor raised an exception in the kernel.
    pub const FAULT: Self = Self(0x13);
    /// The command line names an unknown kernel test.
    pub const UNKNOWN: Self = Self(0x14);

    /// Returns the exit status of QEMU's process.
    #[must_use]
    pub const fn process_status(self) -> i32 {
        (self.0 as i32) << 1 | 1
    }

    /// Returns the code for an exit status of QEMU's process; `None` if the kernel did not end the machine.
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
    fn code_round_trips_through_qemus_status() {
        for code in [ExitCode::PASS, ExitCode::FAIL, ExitCode::PANIC, ExitCode::FAULT, ExitCode::UNKNOWN] {
            assert_eq!(ExitCode::from_process_status(code.process_status()), Some(code));
        }
    }

    #[test]
    fn status_without_a_code_is_none() {
        assert_eq!(ExitCode::from_process_status(0), None, "powered off");
        assert_eq!(ExitCode::from_process_status(1), None, "refused its command line");
        assert_eq!(ExitCode::from_process_status(-6), None, "killed");
    }
}
