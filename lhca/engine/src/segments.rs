//! Memory of a partition that a work request's segments handle.

use lhca_contract::{Access, CompletionStatus, MemoryRegion, Segment};
use zerocopy::{FromZeros, IntoBytes};

use crate::guest::{BadAddress, Guest};
use crate::slots::Slots;

/// Registered memory regions by L_Key.
pub(crate) type Regions = Slots<MemoryRegion>;

/// Pieces of the partition's memory for one payload, checked.
#[derive(Debug)]
pub(crate) struct Pieces {
    pieces: [(u64, usize); Segment::MAX as usize],
    count: usize,
}

impl Pieces {
    /// Resolves `segments`. For `write` their regions must allow it.
    ///
    /// # Errors
    /// The status for the completion.
    pub(crate) fn direct(regions: &Regions, segments: &[Segment], write: bool) -> Result<Self, CompletionStatus> {
        let mut pieces = [(0, 0); Segment::MAX as usize];
        if segments.len() > pieces.len() {
            return Err(CompletionStatus::MALFORMED);
        }
        for (piece, segment) in pieces.iter_mut().zip(segments) {
            *piece = (physical(regions, segment, write)?, segment.length as usize);
        }
        Ok(Self { pieces, count: segments.len() })
    }

    /// Resolves the `count` segments of the list in memory that `list` names.
    ///
    /// # Errors
    /// The status for the completion.
    pub(crate) fn indirect(
        guest: &impl Guest,
        regions: &Regions,
        list: &Segment,
        count: u8,
        write: bool,
    ) -> Result<Self, CompletionStatus> {
        let mut segments = [Segment::new_zeroed(); Segment::MAX as usize];
        let segments = segments.get_mut(..usize::from(count)).ok_or(CompletionStatus::MALFORMED)?;
        if !list.address.is_multiple_of(8) || (list.length as usize) < size_of_val(segments) {
            return Err(CompletionStatus::MALFORMED);
        }
        let address = physical(regions, list, false)?;
        guest.read(address, segments.as_mut_bytes()).map_err(|BadAddress| CompletionStatus::PROTECTION)?;
        Self::direct(regions, segments, write)
    }

    /// Returns the pieces that are not empty: an empty one may have any address.
    fn iter(&self) -> impl Iterator<Item = (u64, usize)> {
        self.pieces.iter().copied().take(self.count).filter(|(_, length)| *length > 0)
    }

    /// Returns the length of all pieces together, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.iter().map(|(_, length)| length).fold(0, usize::saturating_add)
    }

    /// Copies all pieces to the front of `into`, which must have room.
    pub(crate) fn gather(&self, guest: &impl Guest, mut into: &mut [u8]) -> Result<(), CompletionStatus> {
        for (address, length) in self.iter() {
            let (piece, rest) = into.split_at_mut_checked(length).ok_or(CompletionStatus::LENGTH)?;
            guest.read(address, piece).map_err(|BadAddress| CompletionStatus::PROTECTION)?;
            into = rest;
        }
        Ok(())
    }

    /// Copies `from` to the pieces, from the byte `skip` of them on.
    pub(crate) fn scatter(&self, guest: &impl Guest, skip: usize, mut from: &[u8]) -> Result<(), CompletionStatus> {
        let mut skip = skip;
        for (address, length) in self.iter() {
            let skipped = skip.min(length);
            skip -= skipped;
            let (piece, rest) = from.split_at(from.len().min(length - skipped));
            if piece.is_empty() {
                continue; // a piece that is not needed may have any address
            }
            let address = address.checked_add(skipped as u64).ok_or(CompletionStatus::PROTECTION)?;
            guest.write(address, piece).map_err(|BadAddress| CompletionStatus::PROTECTION)?;
            from = rest;
        }
        if from.is_empty() { Ok(()) } else { Err(CompletionStatus::LENGTH) }
    }
}

/// Returns the partition-physical address of a segment. The copy checks that its end is in memory too.
fn physical(regions: &Regions, segment: &Segment, write: bool) -> Result<u64, CompletionStatus> {
    if segment.l_key == Segment::PHYSICAL {
        return Ok(segment.address);
    }
    let region = regions.get(segment.l_key).ok_or(CompletionStatus::PROTECTION)?;
    let offset = segment.address.wrapping_sub(region.address);
    let inside = offset.checked_add(segment.length.into()).is_some_and(|end| end <= region.length);
    if !inside || write && !region.access.contains(Access::LOCAL_WRITE) {
        return Err(CompletionStatus::PROTECTION);
    }
    Ok(region.physical + offset)
}
