//! Events of a running machine.

use std::process::ExitStatus;

/// An event of a machine.
#[derive(Debug)]
pub enum Event {
    /// The user asked for the end by a signal.
    Interrupted,
    /// A process of the machine ended.
    Ended(Process, ExitStatus),
    /// OpenSM reported that the subnet is up.
    SubnetUp,
}

/// A process of a machine; a number is an index of its HCAs or hypervisors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Model of an HCA.
    Model(usize),
    /// QEMU of a hypervisor.
    Qemu(usize),
    /// OpenSM.
    OpenSm,
}
