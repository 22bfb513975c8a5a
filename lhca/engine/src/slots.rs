//! Objects by handles that are never used again.

use alloc::vec::Vec;

/// Slots for values of one kind.
///
/// | bits of a handle | meaning |
/// |---|---|
/// | 31:16 | [`Generation`] of the slot |
/// | 15:8 | tag of the kind of value |
/// | 7:0 | index of the slot |
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    capacity: u8,
    tag: u8,
    first: Generation,
}

#[derive(Debug)]
struct Slot<T> {
    /// Handle of the value, or of the last one.
    handle: u32,
    value: Option<T>,
}

/// Generation of a slot: number of allocations, 1..=65535, wrapping to 1. A slot that had all of them is not used
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u16);

impl Generation {
    /// The first generation.
    pub(crate) const FIRST: Self = Self(1);

    fn next(self) -> Self {
        self.0.checked_add(1).map_or(Self::FIRST, Self)
    }

    /// Returns the number of generations from `first` to this one.
    fn since(self, first: Self) -> u16 {
        // 0 is no generation, so a difference across the wrap is one less.
        self.0.checked_sub(first.0).unwrap_or_else(|| self.0.wrapping_sub(first.0).wrapping_sub(1))
    }
}

impl<T> Slot<T> {
    fn generation(&self) -> Generation {
        Generation((self.handle >> 16) as u16)
    }
}

impl<T> Slots<T> {
    /// Creates `capacity` empty slots, with `tag` and at first the generation `first` in their handles.
    pub(crate) const fn new(tag: u8, capacity: u8, first: Generation) -> Self {
        Self { slots: Vec::new(), capacity, tag, first }
    }

    /// Returns a generation that no handle has had, unless all are used up.
    pub(crate) fn unused(&self) -> Generation {
        let latest = self.slots.iter().map(Slot::generation).max_by_key(|latest| latest.since(self.first));
        latest.map_or(self.first, Generation::next)
    }

    /// Stores `value` and returns its handle, or `None` if no slot is free.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        let free = |slot: &Slot<T>| slot.value.is_none() && slot.generation().next() != self.first;
        let index = self.slots.iter().position(free).unwrap_or(self.slots.len());
        let place = u8::try_from(index).ok().filter(|place| *place < self.capacity)?;
        let generation = self.slots.get(index).map_or(self.first, |slot| slot.generation().next());
        let [high, low] = generation.0.to_be_bytes();
        let handle = u32::from_be_bytes([high, low, self.tag, place]);
        let slot = Slot { handle, value: Some(value) };
        match self.slots.get_mut(index) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        Some(handle)
    }

    #[inline(always)]
    pub(crate) fn get(&self, handle: u32) -> Option<&T> {
        match self.slots.get(place(handle)) {
            Some(Slot { handle: own, value: Some(value) }) if *own == handle => Some(value),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, handle: u32) -> Option<&mut T> {
        match self.slots.get_mut(place(handle)) {
            Some(Slot { handle: own, value: Some(value) }) if *own == handle => Some(value),
            _ => None,
        }
    }

    /// Returns the index of the slot with the handle's value; valid as long as the value is there.
    pub(crate) fn index_of(&self, handle: u32) -> Option<usize> {
        self.get(handle).map(|_| place(handle))
    }

    /// Returns the value in a slot.
    #[inline(always)]
    pub(crate) fn at(&self, place: usize) -> Option<&T> {
        self.slots.get(place)?.value.as_ref()
    }

    pub(crate) fn remove(&mut self, handle: u32) -> Option<T> {
        self.get(handle)?;
        self.slots.get_mut(place(handle))?.value.take()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    /// Returns the handle of the value in a slot.
    pub(crate) fn handle_at(&self, place: usize) -> Option<u32> {
        let slot = self.slots.get(place)?;
        slot.value.as_ref().map(|_| slot.handle)
    }

    /// Returns the indices of the slots that have ever been used.
    pub(crate) fn indices(&self) -> core::ops::Range<usize> {
        0..self.slots.len()
    }
}

/// Returns the index of the slot in a handle.
fn place(handle: u32) -> usize {
    (handle & 0xff) as usize
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::string::String;

    use super::*;

    #[test]
    fn handle_of_a_removed_value_is_never_valid_again() {
        let mut slots = Slots::new(7, 2, Generation::FIRST);
        let first = slots.insert('a').unwrap();
        let second = slots.insert('b').unwrap();
        assert_eq!(slots.insert('c'), None, "full");
        assert_eq!((slots.remove(first), slots.remove(first)), (Some('a'), None));
        let third = slots.insert('c').unwrap();
        assert_ne!(third, first);
        assert!(slots.get(first).is_none() && slots.get_mut(first).is_none());
        assert_eq!(slots.values().collect::<String>(), "cb");
        assert_eq!((slots.get(0), slots.get(third ^ 0x100)), (None, None), "no handle, and another kind's");
        assert_eq!((slots.handle_at(0), slots.handle_at(1), slots.handle_at(2)), (Some(third), Some(second), None));
    }

    #[test]
    fn slot_with_all_generations_used_is_not_used_again() {
        for first in [1, 2, 40_000, u16::MAX] {
            let mut slots = Slots::new(0, 1, Generation(first));
            let mut names = BTreeSet::new();
            while let Some(handle) = slots.insert(()) {
                assert!(handle >> 16 != 0 && names.insert(handle), "{handle:#x}");
                slots.remove(handle);
            }
            assert_eq!(names.len(), usize::from(u16::MAX));
        }
    }

    #[test]
    fn unused_generation_is_none_of_any_slot() {
        for first in [1, 2, 40_000, u16::MAX - 1, u16::MAX] {
            let mut slots = Slots::new(0, 2, Generation(first));
            assert_eq!(slots.unused(), Generation(first));
            let mut last = slots.insert(()).unwrap();
            slots.insert(()).unwrap(); // which stays
            let mut used = BTreeSet::from([Generation(first).0]);
            for _ in 0..5 {
                slots.remove(last);
                last = slots.insert(()).unwrap();
                used.insert((last >> 16) as u16);
                assert!(!used.contains(&slots.unused().0), "{used:?}");
            }
        }
    }
}
