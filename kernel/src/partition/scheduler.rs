//! Which partition runs where: one queue of those that are ready, from which every processor takes that runs any.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;

use super::exits::{self, Next};
use super::machine::{Body, End, Partition};
use super::timers;
use crate::clock;
use crate::cpu::{self, MAX_CPUS, apic, idle, local, timer};
use crate::svm::{self, Host};

/// How long a partition runs while others wait.
const SLICE_NS: u64 = 5_000_000;

/// How long a partition with an interrupt that waits runs on from behind an STI, unless it is left before: of the end of that
/// one instruction nothing tells.
const SHADOW_NS: u64 = 100_000;

static READY: Mutex<VecDeque<Arc<Partition>>> = Mutex::new(VecDeque::new());
/// The processors that sleep, a bit for each.
static IDLE: AtomicU64 = AtomicU64::new(0);
/// The processors whose partition has no end of its time slice, because nobody else waited when it began.
static UNTIMED: AtomicU64 = AtomicU64::new(0);
/// By when each processor is to leave its partition.
static DEADLINES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(u64::MAX) }; MAX_CPUS];

/// Lets a new partition run.
pub fn start(partition: &Arc<Partition>) {
    partition.begin();
}

/// Puts a partition that is ready into the queue, and wakes a processor for it.
pub(super) fn enqueue(partition: Arc<Partition>) {
    READY.lock().push_back(partition);
    // Who sleeps is woken; if nobody does, who never looks whether somebody waits. Here, the slice gets an end now.
    let here = local::cpu().index();
    if let Some(cpu) = take_one(&IDLE, u64::MAX).or_else(|| take_one(&UNTIMED, !(1 << here))) {
        apic::wake(local::cpu_at(cpu).apic_id());
    } else if take_one(&UNTIMED, 1 << here).is_some() {
        end_slice_in_time(here);
    }
}

/// Ends the time slice that this processor, the `here`th, began just now.
fn end_slice_in_time(here: usize) {
    leave_by(here, clock::now() + SLICE_NS);
}

/// Has this processor, the `here`th, which runs a partition, leave it by `time` if it was to do so later.
fn leave_by(here: usize, time: u64) {
    let deadline = DEADLINES[here].load(Ordering::Relaxed).min(time);
    DEADLINES[here].store(deadline, Ordering::Relaxed);
    timer::set(Some(deadline));
}

/// Has this processor, which runs the partition that asks, see to what is due at `time` when it is.
pub(super) fn heed(time: u64) {
    leave_by(local::cpu().index(), time);
}

/// Takes a processor, one of `among`, out of a set: each is woken for one partition.
fn take_one(set: &AtomicU64, among: u64) -> Option<usize> {
    let lowest = |set: u64| 1_u64.checked_shl((set & among).trailing_zeros());
    let before = set.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |set| lowest(set).map(|bit| set & !bit));
    before.ok().map(|set| (set & among).trailing_zeros() as usize)
}

/// Puts every processor to work for good: this one sees to `chores`, the others run partitions. A machine's only
/// processor does both.
///
/// That the chores have a processor to themselves keeps what a partition does out of their way: a management packet waits
/// for nobody's time slice. It also keeps partitions off the boot processor, on which they are not safe under QEMU's TCG
/// (7.2 and later) beside other processors: there FXRSTOR, on any processor, rewrites a word of the *boot* processor's
/// state, guest mode included, without a lock, so that one that is just left by its guest may lose that fact.
///
/// `chores` is called after each interrupt, and before each time slice if there are any here. It says by when (in
/// nanoseconds since boot) it wants to be called again.
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
        // What is noted from here on brings the processor back here.
        local::cpu().take_note();
        let deadline = earlier(chores(), timers::expire(clock::now()));
        let next = READY.lock().pop_front();
        match next {
            Some(partition) => run_slice(partition, deadline),
            None => sleep(deadline),
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
    // Who enqueues looks for sleepers after that: either it sees this one, or this one sees what it enqueued.
    let idle = READY.lock().is_empty();
    if idle {
        rest(deadline);
    }
    IDLE.fetch_and(!bit, Ordering::SeqCst);
}

/// Runs a partition until its time slice is over, the processor is interrupted, or it has nothing to do. While nobody else
/// waits, the slice has no end.
fn run_slice(partition: Arc<Partition>, deadline: Option<u64>) {
    partition.enter();
    let here = local::cpu().index();
    let bit = 1 << here;
    UNTIMED.fetch_or(bit, Ordering::SeqCst);
    // As in `sleep`: either who enqueues sees the bit, or this one sees what it enqueued.
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
            timers::set(&partition, 0, 0);
            partition.finish(end);
        }
        Next::Halt if partition.halt() => {}
        Next::Resume | Next::Interrupted | Next::Halt => {
            partition.yield_now();
            READY.lock().push_back(partition);
        }
    }
}

fn run_until_left(partition: &Arc<Partition>, host: &mut Host) -> Next {
    let mut body = partition.body.lock();
    body.cpu.settle(host);
    let next = run_settled(partition, &mut body, host);
    body.cpu.unsettle();
    next
}

fn run_settled(partition: &Arc<Partition>, body: &mut Body, host: &Host) -> Next {
    loop {
        if partition.stopping() {
            return Next::End(End::Stopped);
        }
        if partition.may_have_interrupt() {
            give_interrupt(partition, body);
        }
        let exit = body.cpu.run(host);
        match exits::handle(partition, body, exit) {
            Next::Resume => {}
            // An interrupt that the guest has not taken yet wakes it at once.
            Next::Halt if partition.has_interrupt() => {}
            next => return next,
        }
    }
}

/// Gives the guest the interrupt that waits, or sees to it that it is left when it takes one.
#[cold]
fn give_interrupt(partition: &Partition, body: &mut Body) {
    if body.cpu.takes_interrupts()
        && let Some(vector) = partition.take_interrupt()
    {
        body.cpu.interrupt(vector);
    }
    let waits = partition.has_interrupt();
    body.cpu.await_window(waits);
    if waits && body.cpu.is_shadowed() {
        heed(clock::now() + SHADOW_NS);
    }
}
