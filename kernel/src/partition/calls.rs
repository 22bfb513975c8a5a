//! Hypercalls: those that need nothing but the partition itself are done here, the others by its LHCA.

use alloc::sync::Arc;

use lhca_contract::{Call, Exits, Status, VERSION};
use zerocopy::IntoBytes;

use super::counts::Reason;
use super::exits::Next;
use super::machine::{Body, End, Partition};
use super::timers;
use crate::clock;

/// The longest piece of text that one call takes.
const CONSOLE_PIECE: usize = 256;
/// A line of the console that is longer is cut.
const CONSOLE_LINE: usize = 512;

/// Does what the registers ask for, and puts the answer there.
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
            let status = partition.ring(arguments[0]);
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

/// Does what is asked for seldom.
fn handle_other(partition: &Arc<Partition>, body: &mut Body, call: Call, arguments: [u64; 3]) -> Next {
    let result = match call {
        Call::TIME => Ok(clock::now()),
        Call::SET_TIMER => set_timer(partition, arguments),
        Call::CONSOLE => console(partition, body, arguments),
        Call::QUERY_EXITS => query_exits(partition, arguments),
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

fn set_timer(partition: &Arc<Partition>, [time, vector, _]: [u64; 3]) -> Result<u64, Status> {
    match u8::try_from(vector) {
        Ok(vector @ (0 | 32..)) => {
            timers::set(partition, time, vector);
            Ok(0)
        }
        _ => Err(Status::BAD_ARGUMENT),
    }
}

fn query_exits(partition: &Partition, [address, ..]: [u64; 3]) -> Result<u64, Status> {
    if !address.is_multiple_of(align_of::<Exits>() as u64) {
        return Err(Status::BAD_ADDRESS);
    }
    partition.memory().write(address, partition.exits().as_bytes()).map(|()| 0).map_err(|_| Status::BAD_ADDRESS)
}

/// Takes text, and logs each line that it ends.
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
