//! Timers of partitions: each partition has one.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use spin::Mutex;

use super::logical_partition::Partition;

/// Timers by time, and by the partition's address where two have the same.
static TIMERS: Mutex<BTreeMap<(u64, usize), Timer>> = Mutex::new(BTreeMap::new());

/// A timer that is set.
pub(super) struct Timer {
    pub(super) partition: Arc<Partition>,
    pub(super) vector: u8,
}

/// Sets the timer of `partition` to `time`, in nanoseconds since boot, with the interrupt `vector`, in place of its
/// former one. The processor that runs the partition calls this, and must leave the partition at `time`.
pub(super) fn set(partition: &Arc<Partition>, time: u64, vector: u8) {
    let mut timers = TIMERS.lock();
    remove(&mut timers, partition, time);
    timers.insert((time, address(partition)), Timer { partition: partition.clone(), vector });
}

/// Returns the time to which the timer of `partition` was set last.
pub(super) fn time_of(partition: &Partition) -> u64 {
    partition.timer.load(Ordering::Relaxed)
}

/// Clears the timer of `partition`.
pub(super) fn clear(partition: &Arc<Partition>) {
    remove(&mut TIMERS.lock(), partition, 0);
}

/// Takes a timer that is due at `now`, or returns the time of the next one.
pub(super) fn take_due(now: u64) -> Due {
    let mut timers = TIMERS.lock();
    let Some(first) = timers.first_entry() else { return Due::Later(None) };
    let &(time, _) = first.key();
    if time > now { Due::Later(Some(time)) } else { Due::Now(first.remove()) }
}

/// The next timer.
pub(super) enum Due {
    /// This timer is due.
    Now(Timer),
    /// No timer is due before this time; `None` if none is set.
    Later(Option<u64>),
}

/// Removes the timer of `partition`, and notes `time` as that of its next one.
fn remove(timers: &mut BTreeMap<(u64, usize), Timer>, partition: &Arc<Partition>, time: u64) {
    let before = partition.timer.swap(time, Ordering::Relaxed);
    timers.remove(&(before, address(partition)));
}

fn address(partition: &Arc<Partition>) -> usize {
    Arc::as_ptr(partition).addr()
}
