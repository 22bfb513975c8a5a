//! When each node wants to be asked again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use subnet::Time;

/// The deadlines of all nodes.
#[derive(Debug)]
pub(super) struct Timers {
    /// Of each node.
    deadlines: Vec<Time>,
    /// The earliest first; those that are no longer their node's deadline are passed over.
    queue: BinaryHeap<Reverse<(Time, usize)>>,
    /// Nodes that something happened to, so that their deadlines may be others now.
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

    /// Something happened to `node`: it has to be polled before the fabric rests.
    pub(super) fn touch(&mut self, node: usize) {
        if !std::mem::replace(&mut self.is_touched[node], true) {
            self.touched.push(node);
        }
    }

    /// A node to poll now: one that was touched, or whose deadline came.
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

    /// What a node answered to being polled.
    pub(super) fn set(&mut self, node: usize, deadline: Option<Time>) {
        let deadline = deadline.unwrap_or(Time::NEVER);
        if self.deadlines[node] != deadline {
            self.deadlines[node] = deadline;
            if deadline != Time::NEVER {
                self.queue.push(Reverse((deadline, node)));
            }
        }
    }

    /// The earliest deadline.
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
    fn touched_nodes_come_at_once_and_once() {
        let mut timers = Timers::new(3);
        timers.touch(1);
        timers.touch(1);
        assert_eq!((timers.next(Time(0)), timers.next(Time(0))), (Some(1), None));
    }

    #[test]
    fn nodes_come_when_their_last_deadline_does() {
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
        assert_eq!(timers.next(Time(30)), Some(0), "a node may name the same deadline again");
        assert_eq!(timers.next(Time(99)), Some(2));
        assert_eq!(timers.deadline(), None);
    }
}
