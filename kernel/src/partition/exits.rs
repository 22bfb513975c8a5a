//! VM exits of a partition. An exit that is not handled ends the partition alone.

use alloc::sync::Arc;
use core::arch::x86_64::__cpuid_count;

use super::counts::Reason;
use super::logical_partition::{Body, Partition};
use super::outcome::{End, Next};
use super::{calls, cpuid};
use crate::svm::exit::{Exit, PortAccess};

/// Exceptions (APM vol. 2, 8.2).
const INVALID_OPCODE: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const ALIGNMENT_CHECK: u8 = 17;

/// The register EFER.
const EFER: u64 = 0xc000_0080;

/// Handles one VM exit.
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
        // Debug and alignment-check exceptions belong to the partition. They exit so that its time slice ends in a loop
        // of exceptions too.
        Exit::Exception(vector, error) => cpu.inject_exception(vector, (vector == ALIGNMENT_CHECK).then_some(error)),
        // The exception of a fault during delivery could not be delivered either.
        Exit::NestedFault { address, .. } if cpu.has_event() => return Next::End(End::BadMemory(address)),
        Exit::NestedFault { address, .. } => refuse(partition, body, "memory at", address, GENERAL_PROTECTION),
        Exit::Shutdown => return Next::End(End::TripleFault),
        Exit::Invalid => return Next::End(End::Invalid),
        Exit::Other(code) => return Next::End(End::Unhandled(code)),
    }
    Next::Resume
}

/// Returns the reason as which an exit is counted. Hypercalls are counted where their number is known.
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
    body.cpu.inject_exception(exception, (exception == GENERAL_PROTECTION).then_some(0));
}

fn refuse_port(partition: &Partition, body: &mut Body, access: PortAccess) {
    refuse(partition, body, "I/O port", access.port().into(), GENERAL_PROTECTION);
}

fn host_cpuid(leaf: u32) -> cpuid::Leaf {
    let answer = __cpuid_count(leaf, 0);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}
