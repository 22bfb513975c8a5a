//! The scheduler: one queue of partitions that are ready, from which every processor that runs partitions takes.
//!
//! It alone acts on partitions' states: a partition returns the act that a change needs, as `Wake` and `Next`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;

use super::exits;
use super::logical_partition::{Body, Partition};
use super::outcome::{End, Next, Wake};
use super::timers::{self, Due};
use crate::clock;
use crate::cpu::{self, MAX_CPUS, apic, idle, local, timer};
use crate::svm::{self, Host};

/// Time slice of a partition while others are ready, in nanoseconds.
const SLICE_NS: u64 = 5_000_000;

/// Time after which a partition with a pending interrupt is left in the shadow of an STI, in nanoseconds: the end of
/// that shadow causes no VM exit.
const SHADOW_NS: u64 = 100_000;

static READY: Mutex<VecDeque<Arc<Partition>>> = Mutex::new(VecDeque::new());
/// Processors that sleep, a bit each.
static IDLE: AtomicU64 = AtomicU64::new(0);
/// Processors whose time slice has no end, because no other partition was ready when it started; a bit each.
static UNTIMED: AtomicU64 = AtomicU64::new(0);
/// Time at which each processor must leave its partition.
static DEADLINES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(u64::MAX) }; MAX_CPUS];

/// Starts a new partition.
pub fn start(partition: &Arc<Partition>) {
    partition.bind_hca();
    wake(partition);
}

/// Interrupts `partition` with `vector`, as soon as it accepts interrupts. Wakes it if it waits.
#[inline]
pub fn interrupt(partition: &Arc<Partition>, vector: u8) {
    partition.note_interrupt(vector);
    wake(partition);
}

/// Ends `partition` at its next VM exit, which comes soon.
pub fn stop(partition: &Arc<Partition>) {
    partition.note_stop();
    wake(partition);
}

/// Makes `partition` see a change that was noted.
#[cold] // rare on the fast path of datagrams
fn wake(partition: &Arc<Partition>) {
    match partition.wake() {
        Wake::Enqueue => enqueue(partition.clone()),
        Wake::Kick(cpu) => apic::wake(local::cpu_at(cpu).apic_id()),
        Wake::Unneeded => {}
    }
}

/// Puts a partition that is ready into the queue, and wakes a processor for it.
fn enqueue(partition: Arc<Partition>) {
    READY.lock().push_back(partition);
    // A sleeping processor is woken, or else one whose time slice has no end. If that is this one, its slice gets an
    // end.
    let here = local::cpu().index();
    if let Some(cpu) = take_one(&IDLE, u64::MAX).or_else(|| take_one(&UNTIMED, !(1 << here))) {
        apic::wake(local::cpu_at(cpu).apic_id());
    } else if take_one(&UNTIMED, 1 << here).is_some() {
        end_slice_in_time(here);
    }
}

/// Limits the time slice that this processor, number `here`, has just started.
fn end_slice_in_time(here: usize) {
    leave_by(here, clock::now() + SLICE_NS);
}

/// Makes this processor, number `here`, leave its partition at `time` or earlier.
fn leave_by(here: usize, time: u64) {
    let deadline = DEADLINES[here].load(Ordering::Relaxed).min(time);
    DEADLINES[here].store(deadline, Ordering::Relaxed);
    timer::set(Some(deadline));
}

/// Takes a processor, one of `among`, out of a set, so that it is woken for one partition alone.
fn take_one(set: &AtomicU64, among: u64) -> Option<usize> {
    let lowest = |set: u64| 1_u64.checked_shl((set & among).trailing_zeros());
    let before = set.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |set| lowest(set).map(|bit| set & !bit));
    before.ok().map(|set| (set & among).trailing_zeros() as usize)
}

/// Runs the machine for good: this processor calls `chores`, the others run partitions. A machine's only processor does
/// both.
///
/// The chores have a processor of their own, so a management packet waits for no partition's time slice. It also keeps
/// partitions off the boot processor, on which they are not safe under QEMU's TCG (7.2 and later) beside other
/// processors: there FXRSTOR, on any processor, rewrites a word of the *boot* processor's state, guest mode included,
/// without a lock, so that a VM exit on the boot processor may lose that fact.
///
/// `chores` is called after each interrupt, and before each time slice if partitions run here. It returns the time (in
/// nanoseconds since boot) of its next call.
pub fn run(mut chores: impl FnMut() -> Option<u64>) -> ! {
    cpu::employ_others(|| run_partitions(|| None));
    if cpu::online() == 1 {
        run_partitions(chores);
    }
    loop {
        local::cpu().take_note();
        rest(chores());
    }
}

fn run_partitions(mut chores: impl FnMut() -> Option<u64>) -> ! {
    if let Err(error) = svm::enable() {
        log::error!("no partition runs on cpu {}: {error}", local::cpu().index());
        loop {
            local::cpu().take_note();
            rest(chores());
        }
    }
    loop {
        // A note from here on brings the processor back here.
        local::cpu().take_note();
        let deadline = earlier(chores(), expire_timers(clock::now()));
        let next = READY.lock().pop_front();
        match next {
            Some(partition) => run_slice(partition, deadline),
            None => sleep(deadline),
        }
    }
}

/// Interrupts the partitions whose timers are due at `now`. Returns the time of the next timer.
fn expire_timers(now: u64) -> Option<u64> {
    loop {
        match timers::take_due(now) {
            Due::Now(timer) => interrupt(&timer.partition, timer.vector),
            Due::Later(time) => return time,
        }
    }
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// Halts until an interrupt or the deadline, unless it is past.
fn rest(deadline: Option<u64>) {
    if deadline.is_none_or(|deadline| deadline > clock::now()) {
        timer::set(deadline);
        idle::wait();
    }
}

fn sleep(deadline: Option<u64>) {
    let bit = 1 << local::cpu().index();
    IDLE.fetch_or(bit, Ordering::SeqCst);
    // `enqueue` looks for sleepers after it has pushed: either it sees this bit, or this processor sees the partition.
    let idle = READY.lock().is_empty();
    if idle {
        rest(deadline);
    }
    IDLE.fetch_and(!bit, Ordering::SeqCst);
}

/// Runs a partition until its time slice ends, the processor is interrupted, or the partition waits. While no other is
/// ready, the slice has no end.
fn run_slice(partition: Arc<Partition>, deadline: Option<u64>) {
    partition.enter();
    let here = local::cpu().index();
    let bit = 1 << here;
    UNTIMED.fetch_or(bit, Ordering::SeqCst);
    // As in `sleep`: either `enqueue` sees the bit, or this processor sees the partition.
    DEADLINES[here].store(deadline.unwrap_or(u64::MAX), Ordering::Relaxed);
    if READY.lock().is_empty() {
        timer::set(deadline);
    } else {
        UNTIMED.fetch_and(!bit, Ordering::SeqCst);
        end_slice_in_time(here);
    }
    let left = svm::with_host(|host| run_until_left(&partition, host));
    UNTIMED.fetch_and(!bit, Ordering::SeqCst);
    match left {
        Next::End(end) => {
            timers::clear(&partition);
            partition.finish(end);
        }
        Next::Halt if partition.halt() => {}
        Next::Resume | Next::TimerSet | Next::Interrupted | Next::Halt => {
            partition.yield_now();
            READY.lock().push_back(partition);
        }
    }
}

fn run_until_left(partition: &Arc<Partition>, host: &mut Host) -> Next {
    let mut body = partition.body.lock();
    body.cpu.load(host);
    let next = run_loaded(partition, &mut body, host);
    body.cpu.put();
    next
}

fn run_loaded(partition: &Arc<Partition>, body: &mut Body, host: &Host) -> Next {
    loop {
        if partition.is_stopping() {
            return Next::End(End::Stopped);
        }
        if partition.may_have_interrupt() {
            inject_interrupt(partition, body);
        }
        let exit = body.cpu.run(host);
        match exits::handle(partition, body, exit) {
            Next::Resume => {}
            Next::TimerSet => leave_for_timer(partition),
            // A pending interrupt ends the halt at once.
            Next::Halt if partition.has_interrupt() => {}
            next => return next,
        }
    }
}

/// Makes this processor leave `partition` when its timer is due.
#[cold]
fn leave_for_timer(partition: &Partition) {
    leave_by(local::cpu().index(), timers::time_of(partition));
}

/// Injects a pending interrupt, or arranges for a VM exit when the guest accepts one.
#[cold]
fn inject_interrupt(partition: &Partition, body: &mut Body) {
    if body.cpu.takes_interrupts()
        && let Some(vector) = partition.take_interrupt()
    {
        body.cpu.inject_interrupt(vector);
    }
    let waits = partition.has_interrupt();
    body.cpu.await_window(waits);
    if waits && body.cpu.is_shadowed() {
        leave_by(local::cpu().index(), clock::now() + SHADOW_NS);
    }
}
