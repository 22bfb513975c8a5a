//! Members that have work to do.

/// Members with work: as many as one packet visits. If there are ever more, all members are polled.
#[derive(Debug, Default)]
pub(super) struct Due {
    members: [u16; 4],
    count: usize,
}

impl Due {
    /// Returns `true` if no member has work.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a member. Returns `false` if the list is full.
    pub(super) fn push(&mut self, member: u16) -> bool {
        if self.members[..self.count].contains(&member) {
            return true;
        }
        let place = self.members.get_mut(self.count);
        let has_room = place.is_some();
        if let Some(place) = place {
            *place = member;
            self.count += 1;
        }
        has_room
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<u16> {
        self.count = self.count.checked_sub(1)?;
        self.members.get(self.count).copied()
    }
}
