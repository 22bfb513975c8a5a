//! What a partition created, by names that are never used again.

use alloc::vec::Vec;

/// Values by place, and how often each place was used.
///
/// A name is that use's number, from 1, in the upper half; in the lower half a tag, which tells values of different kinds
/// apart, and the place.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    capacity: u8,
    tag: u8,
}

#[derive(Debug)]
struct Slot<T> {
    /// From 1; a place that was used 65535 times is not used again.
    generation: u16,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// Room for `capacity` values, with `tag` in their names.
    pub(crate) const fn new(tag: u8, capacity: u8) -> Self {
        Self { slots: Vec::new(), capacity, tag }
    }

    /// Takes `value` in; its name, or nothing if there is no room.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        let free = |slot: &Slot<T>| slot.value.is_none() && slot.generation < u16::MAX;
        let place = match self.slots.iter().position(free) {
            Some(place) => place,
            None if self.slots.len() < usize::from(self.capacity) => {
                self.slots.push(Slot { generation: 0, value: None });
                self.slots.len() - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[place];
        slot.generation += 1;
        slot.value = Some(value);
        self.name_at(place)
    }

    #[inline(always)]
    pub(crate) fn get(&self, name: u32) -> Option<&T> {
        let slot = self.slots.get(self.place(name)?)?;
        slot.value.as_ref().filter(|_| slot.generation == generation(name))
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, name: u32) -> Option<&mut T> {
        let place = self.place(name)?;
        let slot = self.slots.get_mut(place)?;
        slot.value.as_mut().filter(|_| slot.generation == generation(name))
    }

    pub(crate) fn remove(&mut self, name: u32) -> Option<T> {
        self.get(name)?;
        let place = self.place(name)?;
        self.slots.get_mut(place)?.value.take()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    /// The name of what is at a place.
    pub(crate) fn name_at(&self, place: usize) -> Option<u32> {
        let slot = self.slots.get(place)?;
        slot.value.as_ref()?;
        let [high, low] = slot.generation.to_be_bytes();
        Some(u32::from_be_bytes([high, low, self.tag, u8::try_from(place).ok()?]))
    }

    /// The places that were ever used.
    pub(crate) fn places(&self) -> core::ops::Range<usize> {
        0..self.slots.len()
    }

    #[inline(always)]
    fn place(&self, name: u32) -> Option<usize> {
        let [.., tag, place] = name.to_be_bytes();
        (tag == self.tag).then_some(place.into())
    }
}

fn generation(name: u32) -> u16 {
    (name >> 16) as u16
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::String;

    use super::*;

    #[test]
    fn a_name_never_means_its_successor() {
        let mut slots = Slots::new(7, 2);
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
        let mut slots = Slots::new(0, 1);
        for generation in 1..=u32::from(u16::MAX) {
            let name = slots.insert(()).unwrap();
            assert_eq!(name, generation << 16);
            slots.remove(name);
        }
        assert_eq!(slots.insert(()), None);
    }
}
