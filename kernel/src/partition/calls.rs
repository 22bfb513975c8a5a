//! Hypercalls: those that concern the partition alone are executed here, the others by its LHCA.

use alloc::sync::Arc;

use lhca_contract::{Call, Exits, Status, VERSION};
use zerocopy::IntoBytes;

use super::counts::Reason;
use super::logical_partition::{Body, Partition};
use super::outcome::{End, Next};
use super::timers;
use crate::clock;

/// Longest text of one CONSOLE call, in bytes.
const CONSOLE_PIECE: usize = 256;
/// Longest line of the console, in bytes; the rest of a longer one is dropped.
const CONSOLE_LINE: usize = 512;

/// Executes the call in the registers, and puts status and value there.
#[inline]
pub(super) fn handle(partition: &Arc<Partition>, body: &mut Body) -> Next {
    let call = Call(*body.cpu.rax());
    let arguments = [body.cpu.registers.rdi, body.cpu.registers.rsi, body.cpu.registers.rdx];
    if body.cpu.privilege() != 0 {
        partition.exits.count(Reason::Call);
        return answer(body, Err(Status::NOT_PERMITTED));
    }
    match call {
        Call::DOORBELL => {
            partition.exits.count(Reason::Doorbell);
            let status = partition.ring_doorbell(arguments[0]);
            put(body, status, 0)
        }
        Call::VERSION => {
            partition.exits.count(Reason::Call);
            answer(body, Ok(u64::from(VERSION)))
        }
        _ => {
            partition.exits.count(Reason::Call);
            handle_other(partition, body, call, arguments)
        }
    }
}

/// Executes the less frequent calls.
#[inline(never)]
fn handle_other(partition: &Arc<Partition>, body: &mut Body, call: Call, arguments: [u64; 3]) -> Next {
    let result = match call {
        Call::TIME => Ok(clock::now()),
        Call::CONSOLE => console(partition, body, arguments),
        Call::QUERY_EXITS => query_exits(partition, arguments),
        Call::SET_TIMER => return set_timer(partition, body, arguments),
        Call::EXIT => return Next::End(End::Exited(arguments[0])),
        _ => partition.call(call, arguments),
    };
    answer(body, result)
}

fn answer(body: &mut Body, result: Result<u64, Status>) -> Next {
    let (status, value) = match result {
        Ok(value) => (Status::OK, value),
        Err(status) => (status, 0),
    };
    put(body, status, value)
}

fn put(body: &mut Body, status: Status, value: u64) -> Next {
    *body.cpu.rax() = status.0;
    body.cpu.registers.rdx = value;
    Next::Resume
}

/// Sets the partition's timer; vector 0 clears it.
fn set_timer(partition: &Arc<Partition>, body: &mut Body, [time, vector, _]: [u64; 3]) -> Next {
    match u8::try_from(vector) {
        Ok(0) => {
            timers::clear(partition);
            answer(body, Ok(0))
        }
        Ok(vector @ 32..) => {
            timers::set(partition, time, vector);
            answer(body, Ok(0));
            Next::TimerSet
        }
        _ => answer(body, Err(Status::BAD_ARGUMENT)),
    }
}

fn query_exits(partition: &Partition, [address, ..]: [u64; 3]) -> Result<u64, Status> {
    if !address.is_multiple_of(align_of::<Exits>() as u64) {
        return Err(Status::BAD_ADDRESS);
    }
    partition.memory().write(address, partition.exits().as_bytes()).map(|()| 0).map_err(|_| Status::BAD_ADDRESS)
}

/// Takes a piece of console text, and logs each line that it completes. Returns the number of bytes taken.
#[cold]
fn console(partition: &Partition, body: &mut Body, [address, length, _]: [u64; 3]) -> Result<u64, Status> {
    let mut bytes = [0; CONSOLE_PIECE];
    let taken = bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    let bytes = &mut bytes[..taken];
    partition.memory().read(address, bytes).map_err(|_| Status::BAD_ADDRESS)?;
    for byte in bytes {
        match *byte {
            b'\n' => log::info!("{}: {}", partition.name(), core::mem::take(&mut body.console)),
            printable @ b' '..=b'~' if body.console.len() < CONSOLE_LINE => body.console.push(char::from(printable)),
            _ => {}
        }
    }
    Ok(taken as u64)
}
