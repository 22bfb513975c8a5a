//! What a partition created, by names that are never used again.

use alloc::vec::Vec;

/// Values by place, and how often each place was used.
///
/// A name is that use's generation in the upper half; in the lower half a tag, which tells values of different kinds apart, and
/// the place.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    capacity: u8,
    tag: u8,
    first: Generation,
}

#[derive(Debug)]
struct Slot<T> {
    /// The name of what is here, or was last.
    name: u32,
    value: Option<T>,
}

/// The how manieth use of a place it is: from 1 to 65535, and then from 1 again. A place that was used in all of them is not
/// used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u16);

impl Generation {
    /// The first one.
    pub(crate) const FIRST: Self = Self(1);

    fn next(self) -> Self {
        self.0.checked_add(1).map_or(Self::FIRST, Self)
    }

    /// How many come after `first` until this one.
    fn since(self, first: Self) -> u16 {
        // There are 65535, so that a step over the end is by one more.
        self.0.checked_sub(first.0).unwrap_or_else(|| self.0.wrapping_sub(first.0).wrapping_sub(1))
    }
}

impl<T> Slot<T> {
    fn generation(&self) -> Generation {
        Generation((self.name >> 16) as u16)
    }
}

impl<T> Slots<T> {
    /// Room for `capacity` values, with `tag` in their names, and `first` in the first ones.
    pub(crate) const fn new(tag: u8, capacity: u8, first: Generation) -> Self {
        Self { slots: Vec::new(), capacity, tag, first }
    }

    /// A generation that no name has had, unless all are used up.
    pub(crate) fn unused(&self) -> Generation {
        let latest = self.slots.iter().map(Slot::generation).max_by_key(|latest| latest.since(self.first));
        latest.map_or(self.first, Generation::next)
    }

    /// Takes `value` in; its name, or nothing if there is no room.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        let free = |slot: &Slot<T>| slot.value.is_none() && slot.generation().next() != self.first;
        let index = self.slots.iter().position(free).unwrap_or(self.slots.len());
        let place = u8::try_from(index).ok().filter(|place| *place < self.capacity)?;
        let generation = self.slots.get(index).map_or(self.first, |slot| slot.generation().next());
        let [high, low] = generation.0.to_be_bytes();
        let name = u32::from_be_bytes([high, low, self.tag, place]);
        let slot = Slot { name, value: Some(value) };
        match self.slots.get_mut(index) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        Some(name)
    }

    #[inline(always)]
    pub(crate) fn get(&self, name: u32) -> Option<&T> {
        match self.slots.get(place(name)) {
            Some(Slot { name: own, value: Some(value) }) if *own == name => Some(value),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, name: u32) -> Option<&mut T> {
        match self.slots.get_mut(place(name)) {
            Some(Slot { name: own, value: Some(value) }) if *own == name => Some(value),
            _ => None,
        }
    }

    /// The place of what has this name: good as long as that is there.
    pub(crate) fn place_of(&self, name: u32) -> Option<usize> {
        self.get(name).map(|_| place(name))
    }

    /// What is at a place.
    #[inline(always)]
    pub(crate) fn at(&self, place: usize) -> Option<&T> {
        self.slots.get(place)?.value.as_ref()
    }

    pub(crate) fn remove(&mut self, name: u32) -> Option<T> {
        self.get(name)?;
        self.slots.get_mut(place(name))?.value.take()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    /// The name of what is at a place.
    pub(crate) fn name_at(&self, place: usize) -> Option<u32> {
        let slot = self.slots.get(place)?;
        slot.value.as_ref().map(|_| slot.name)
    }

    /// The places that were ever used.
    pub(crate) fn places(&self) -> core::ops::Range<usize> {
        0..self.slots.len()
    }
}

/// The place in a name.
fn place(name: u32) -> usize {
    (name & 0xff) as usize
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::string::String;

    use super::*;

    #[test]
    fn a_name_never_means_its_successor() {
        let mut slots = Slots::new(7, 2, Generation::FIRST);
        let first = slots.insert('a').unwrap();
        let second = slots.insert('b').unwrap();
        assert_eq!(slots.insert('c'), None, "full");
        assert_eq!((slots.remove(first), slots.remove(first)), (Some('a'), None));
        let third = slots.insert('c').unwrap();
        assert_ne!(third, first);
        assert!(slots.get(first).is_none() && slots.get_mut(first).is_none());
        assert_eq!(slots.values().collect::<String>(), "cb");
        assert_eq!((slots.get(0), slots.get(third ^ 0x100)), (None, None), "no name, and another kind's");
        assert_eq!((slots.name_at(0), slots.name_at(1), slots.name_at(2)), (Some(third), Some(second), None));
    }

    #[test]
    fn a_place_that_is_worn_out_is_left() {
        for first in [1, 2, 40_000, u16::MAX] {
            let mut slots = Slots::new(0, 1, Generation(first));
            let mut names = BTreeSet::new();
            while let Some(name) = slots.insert(()) {
                assert!(name >> 16 != 0 && names.insert(name), "{name:#x}");
                slots.remove(name);
            }
            assert_eq!(names.len(), usize::from(u16::MAX));
        }
    }

    #[test]
    fn the_generation_that_comes_next_was_none_of_any_place() {
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
