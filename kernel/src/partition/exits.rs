//! What is done when a partition's processor is left. Whatever is not handled ends the partition, and never more.

use alloc::sync::Arc;
use core::arch::x86_64::__cpuid_count;

use super::counts::Reason;
use super::machine::{Body, End, Partition};
use super::{calls, cpuid};
use crate::svm::exit::{Exit, PortAccess};

/// Exceptions (APM vol. 2, 8.2).
const INVALID_OPCODE: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const ALIGNMENT_CHECK: u8 = 17;

/// The register EFER.
const EFER: u64 = 0xc000_0080;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The partition goes on.
    Resume,
    /// The processor has an interrupt to look at first.
    Interrupted,
    /// The partition has nothing to do until it is interrupted.
    Halt,
    /// The partition is over.
    End(End),
}

/// Deals with one exit.
#[inline]
pub(super) fn handle(partition: &Arc<Partition>, body: &mut Body, exit: Exit) -> Next {
    if let Some(reason) = reason(exit) {
        partition.exits.count(reason);
    }
    let cpu = &mut body.cpu;
    match exit {
        Exit::Interrupt => return Next::Interrupted,
        Exit::Window => {}
        Exit::Call => {
            cpu.skip(3);
            return calls::handle(partition, body);
        }
        Exit::Halt => {
            cpu.skip(1);
            return if cpu.interrupts_enabled() { Next::Halt } else { Next::End(End::Halted) };
        }
        Exit::Cpuid => {
            let [a, b, c, d] = cpuid::answer(*cpu.rax() as u32, host_cpuid).map(u64::from);
            *cpu.rax() = a;
            (cpu.registers.rbx, cpu.registers.rcx, cpu.registers.rdx) = (b, c, d);
            cpu.skip(2);
        }
        Exit::ReadMsr if cpu.registers.rcx as u32 as u64 == EFER => {
            let value = cpu.efer();
            *cpu.rax() = value & 0xffff_ffff;
            cpu.registers.rdx = value >> 32;
            cpu.skip(2);
        }
        Exit::WriteMsr if cpu.registers.rcx as u32 as u64 == EFER => {
            let value = cpu.registers.rdx << 32 | *cpu.rax() & 0xffff_ffff;
            if cpu.set_efer(value) {
                cpu.skip(2);
            } else {
                refuse(partition, body, "EFER", value, GENERAL_PROTECTION);
            }
        }
        Exit::ReadMsr | Exit::WriteMsr => {
            let msr = cpu.registers.rcx & 0xffff_ffff;
            refuse(partition, body, "model-specific register", msr, GENERAL_PROTECTION);
        }
        Exit::Port(access, _) => refuse_port(partition, body, access),
        Exit::Undefined(code) => refuse(partition, body, "instruction, exit", code, INVALID_OPCODE),
        Exit::Protected(code) => refuse(partition, body, "register, exit", code, GENERAL_PROTECTION),
        // Debug and alignment-check exceptions are the partition's own affair; that it is left for them, and its time
        // slice looked at, is all that is wanted.
        Exit::Exception(vector, error) => cpu.refuse(vector, (vector == ALIGNMENT_CHECK).then_some(error)),
        // There is no handler where the exception itself cannot be delivered.
        Exit::NestedFault { address, .. } if cpu.has_event() => return Next::End(End::BadMemory(address)),
        Exit::NestedFault { address, .. } => refuse(partition, body, "memory at", address, GENERAL_PROTECTION),
        Exit::Shutdown => return Next::End(End::TripleFault),
        Exit::Invalid => return Next::End(End::Invalid),
        Exit::Other(code) => return Next::End(End::Unhandled(code)),
    }
    Next::Resume
}

/// As what an exit is counted here. A hypercall is where it is known what it asks for.
#[inline(always)]
fn reason(exit: Exit) -> Option<Reason> {
    match exit {
        Exit::Call => None,
        Exit::Halt => Some(Reason::Halt),
        Exit::Interrupt => Some(Reason::Interrupt),
        _ => Some(Reason::Other),
    }
}

#[cold]
fn refuse(partition: &Partition, body: &mut Body, what: &str, number: u64, exception: u8) {
    if partition.count_refusal() {
        log::warn!("partition {} may not use {what} {number:#x}, from rip {:#x}", partition.name(), body.cpu.rip());
    }
    body.cpu.refuse(exception, (exception == GENERAL_PROTECTION).then_some(0));
}

fn refuse_port(partition: &Partition, body: &mut Body, access: PortAccess) {
    refuse(partition, body, "I/O port", access.port().into(), GENERAL_PROTECTION);
}

fn host_cpuid(leaf: u32) -> cpuid::Leaf {
    let answer = __cpuid_count(leaf, 0);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}
