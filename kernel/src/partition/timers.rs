//! When partitions asked to be interrupted: each has one timer.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use spin::Mutex;

use super::machine::Partition;
use super::scheduler;

/// By time, and by place in memory where two have the same.
static TIMERS: Mutex<BTreeMap<(u64, usize), Timer>> = Mutex::new(BTreeMap::new());

struct Timer {
    partition: Arc<Partition>,
    vector: u8,
}

/// Interrupts `partition` with `vector` at `time`, in nanoseconds since boot, and not when it had asked for before. With
/// vector 0 there is no timer.
///
/// The processor that runs it, and so is not asleep, is the one that calls this, and the one that sees to it.
pub(super) fn set(partition: &Arc<Partition>, time: u64, vector: u8) {
    let place = Arc::as_ptr(partition).addr();
    let mut timers = TIMERS.lock();
    let before = partition.timer.swap(time, Ordering::Relaxed);
    timers.remove(&(before, place));
    if vector != 0 {
        timers.insert((time, place), Timer { partition: partition.clone(), vector });
        drop(timers);
        scheduler::heed(time);
    }
}

/// Interrupts whose time has come by `now`; the time of the next.
pub(super) fn expire(now: u64) -> Option<u64> {
    loop {
        let mut timers = TIMERS.lock();
        let first = timers.first_entry()?;
        let &(time, _) = first.key();
        if time > now {
            return Some(time);
        }
        let timer = first.remove();
        drop(timers);
        timer.partition.interrupt(timer.vector);
    }
}
