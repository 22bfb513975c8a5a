//! Content of datagrams.

use iba::Lid;

/// Immediate data: whose datagram it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// First sender.
    pub sender: Lid,
    /// Its number among the sender's, or one of those with a meaning.
    pub number: u16,
}

impl Tag {
    /// A call for peers.
    pub const CALL: u16 = 0xffff;
    /// The sender is done.
    pub const FINISH: u16 = 0xfffe;

    /// As immediate data.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.sender.get().to_be_bytes(), self.number.to_be_bytes());
        [a, b, c, d]
    }

    /// Of immediate data.
    #[must_use]
    pub fn from_bytes([a, b, c, d]: [u8; 4]) -> Self {
        Self { sender: Lid::new(u16::from_be_bytes([a, b])), number: u16::from_be_bytes([c, d]) }
    }
}

/// Parameters of a datagram's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Sender.
    pub sender: Lid,
    /// Whom to: a port, or the group.
    pub receiver: Lid,
    /// Its number among the sender's.
    pub number: u16,
}

impl Key {
    /// Fills a payload, whose length goes into it as well.
    pub fn fill(self, payload: &mut [u8]) {
        let words = self.words(payload.len());
        for (chunk, word) in payload.chunks_mut(8).zip(words) {
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Returns `true` if a payload is unchanged.
    #[must_use]
    pub fn holds(self, payload: &[u8]) -> bool {
        let words = self.words(payload.len());
        payload.chunks(8).zip(words).all(|(chunk, word)| *chunk == word[..chunk.len()])
    }

    fn words(self, length: usize) -> impl Iterator<Item = [u8; 8]> {
        let [sender, receiver] = [self.sender, self.receiver].map(|lid| u64::from(lid.get()));
        let start = mix(sender << 48 | receiver << 32 | u64::from(self.number) << 16 | length as u64);
        (0_u64..).map(move |nth| mix(start.wrapping_add(nth)).to_le_bytes())
    }
}

/// Mixes bits so that each of the result's depends on all.
fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ value >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    value ^ value >> 32
}
