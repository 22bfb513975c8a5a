//! Deadlines of the nodes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use subnet::Time;

/// The deadlines of all nodes.
#[derive(Debug)]
pub(super) struct Timers {
    /// By node.
    deadlines: Vec<Time>,
    /// The earliest first. An entry that is no longer its node's deadline is stale and skipped.
    queue: BinaryHeap<Reverse<(Time, usize)>>,
    /// Nodes with an event since their last poll: their deadlines may have changed.
    touched: Vec<usize>,
    is_touched: Vec<bool>,
}

impl Timers {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            deadlines: vec![Time::NEVER; nodes],
            queue: BinaryHeap::new(),
            touched: Vec::new(),
            is_touched: vec![false; nodes],
        }
    }

    /// Marks `node` for a poll before the event loop sleeps.
    pub(super) fn touch(&mut self, node: usize) {
        if !std::mem::replace(&mut self.is_touched[node], true) {
            self.touched.push(node);
        }
    }

    /// Returns a node to poll now: one that was touched, or whose deadline has come.
    pub(super) fn next(&mut self, now: Time) -> Option<usize> {
        if let Some(node) = self.touched.pop() {
            self.is_touched[node] = false;
            return Some(node);
        }
        let due = self.deadline()?;
        if due > now {
            return None;
        }
        self.queue.pop().map(|Reverse((_, node))| {
            self.deadlines[node] = Time::NEVER;
            node
        })
    }

    /// Sets the deadline that a node returned from its poll.
    pub(super) fn set(&mut self, node: usize, deadline: Option<Time>) {
        let deadline = deadline.unwrap_or(Time::NEVER);
        if self.deadlines[node] != deadline {
            self.deadlines[node] = deadline;
            if deadline != Time::NEVER {
                self.queue.push(Reverse((deadline, node)));
            }
        }
    }

    /// Returns the earliest deadline.
    pub(super) fn deadline(&mut self) -> Option<Time> {
        while let Some(&Reverse((deadline, node))) = self.queue.peek() {
            if self.deadlines[node] == deadline {
                return Some(deadline);
            }
            self.queue.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_node_is_due_once() {
        let mut timers = Timers::new(3);
        timers.touch(1);
        timers.touch(1);
        assert_eq!((timers.next(Time(0)), timers.next(Time(0))), (Some(1), None));
    }

    #[test]
    fn node_with_several_deadlines_is_due_at_the_last_one() {
        let mut timers = Timers::new(3);
        timers.set(0, Some(Time(30)));
        timers.set(1, Some(Time(20)));
        timers.set(2, Some(Time(10)));
        timers.set(2, Some(Time(40)));
        timers.set(1, None);
        assert_eq!(timers.deadline(), Some(Time(30)));
        assert_eq!(timers.next(Time(29)), None);
        assert_eq!(timers.next(Time(30)), Some(0));
        assert_eq!(timers.next(Time(30)), None);
        timers.set(0, Some(Time(30)));
        assert_eq!(timers.next(Time(30)), Some(0), "the same deadline again");
        assert_eq!(timers.next(Time(99)), Some(2));
        assert_eq!(timers.deadline(), None);
    }
}
