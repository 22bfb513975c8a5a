//! Outcomes of running a partition: the next act of the scheduler, and the end of the partition.

use core::fmt;

/// Reason for which a partition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The partition called EXIT with this code.
    Exited(u64),
    /// The manager stopped it.
    Stopped,
    /// A triple fault.
    TripleFault,
    /// A halt with interrupts off, from which nothing wakes it.
    Halted,
    /// No memory at this address, which the delivery of an interrupt or exception needs.
    BadMemory(u64),
    /// A VM exit with this code that the hypervisor does not handle.
    Unhandled(u64),
    /// The processor refused to run it.
    Invalid,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Stopped => f.write_str("was stopped"),
            Self::TripleFault => f.write_str("crashed: triple fault"),
            Self::Halted => f.write_str("halted for good: interrupts are off"),
            Self::BadMemory(address) => write!(f, "crashed: no memory at {address:#x}"),
            Self::Unhandled(code) => write!(f, "crashed: exit {code:#x}"),
            Self::Invalid => f.write_str("crashed: the processor refuses its state"),
        }
    }
}

/// Act of the scheduler after a VM exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Resume the partition.
    Resume,
    /// Resume it, and leave it when its timer, which it has just set, is due.
    TimerSet,
    /// Handle the processor's interrupt first.
    Interrupted,
    /// Wait until the partition is interrupted.
    Halt,
    /// End the partition.
    End(End),
}

/// Act of the scheduler after a change that a partition must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Wake {
    /// Put the partition into the queue of those that are ready.
    Enqueue,
    /// Interrupt this processor, which runs the partition: a VM exit follows, and the change is seen before the next
    /// entry.
    Kick(usize),
    /// Nothing: the partition sees the change before its next entry, or has ended.
    Unneeded,
}
