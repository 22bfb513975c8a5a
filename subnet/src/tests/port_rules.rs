//! Effect of Set(PortInfo) on a port, byte by byte (14.2.5.6): the table to which tests compare the code.

/// Kind of port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Adapter,
    Management,
    External,
}

/// Bits that a port at which packets end takes as they are, by byte.
const OF_ENDS: [(usize, usize, u8); 5] =
    [(0, 20, 0xff), (26, 28, 0xff), (34, 35, 0xc7), (36, 37, 0x0f), (51, 52, 0x1f)];
/// Bits that a port with a link takes as they are.
const OF_LINKS: [(usize, usize, u8); 3] = [(36, 37, 0xf0), (38, 39, 0xff), (53, 54, 0xff)];
/// Bits that a switch's port with a link takes besides, with partitions enforced.
const OF_EXTERNALS: [(usize, usize, u8); 2] = [(42, 43, 0xff), (43, 44, 0x0c)];

/// PortInfo as it is after a Set, its link's fall apart; `None` where the Set is refused.
pub(super) fn set(role: Role, old: &[u8; 64], set: &[u8; 64], extended: bool) -> Option<[u8; 64]> {
    let mut new = *old;
    let mut take = |ranges: &[(usize, usize, u8)]| {
        for &(from, to, bits) in ranges {
            for byte in from..to {
                new[byte] = new[byte] & !bits | set[byte] & bits;
            }
        }
    };
    let (ends, links) = (role != Role::External, role != Role::Management);
    if ends {
        take(&OF_ENDS);
    }
    if links {
        take(&OF_LINKS);
    }
    if role == Role::External {
        take(&OF_EXTERNALS);
    }
    if ends {
        let lid = u16::from_be_bytes([set[16], set[17]]);
        let sm = u16::from_be_bytes([set[18], set[19]]);
        let low = (1u16 << (set[34] & 7)) - 1;
        let unicast = |lid: u16| lid != 0 && lid < 0xc000;
        if !unicast(lid) || lid & low != 0 || !unicast(lid | low) || !unicast(sm) {
            return None;
        }
        if role == Role::Management && low != 0 {
            return None;
        }
    }
    // Counters of violations: M_Key's and Q_Key's where packets end, P_Key's everywhere.
    for (counter, here) in [(44, ends), (46, true), (48, ends)] {
        if here && set[counter..counter + 2] == [0, 0] {
            new[counter..counter + 2].fill(0);
        }
    }
    if links {
        set_link(&mut new, old, set, extended)?;
        set_state(&mut new, old, set)?;
    }
    Some(new)
}

/// Fields with values that mean "as it is", or "all that there is".
fn set_link(new: &mut [u8; 64], old: &[u8; 64], set: &[u8; 64], extended: bool) -> Option<()> {
    let one_of = |value: u8, nothing: u8, all: u8, supported: u8, before: u8| match value {
        _ if value == nothing => Some(before),
        _ if value == all => Some(supported),
        _ if value & !supported == 0 => Some(value),
        _ => None,
    };
    new[29] = one_of(set[29], 0, 0xff, old[30], old[29])?;
    new[35] = old[35] & 0xf0 | one_of(set[35] & 0x0f, 0, 0x0f, old[32] >> 4, old[35] & 0x0f)?;
    if extended {
        let (asked, supported, before) = (set[63] & 0x1f, old[62] & 0x0f, old[63] & 0x1f);
        let speeds = if asked == 30 { Some(0) } else { one_of(asked, 0, 31, supported, before) };
        new[63] = old[63] & 0xe0 | speeds?;
    }
    let mtu = set[36] >> 4;
    if !(1..=old[41] & 0x0f).contains(&mtu) {
        return None;
    }
    let vls = set[43] >> 4;
    if vls > old[37] >> 4 {
        return None;
    }
    if vls != 0 {
        new[43] = new[43] & 0x0f | vls << 4;
    }
    match set[33] & 0x0f {
        0 => {}
        state @ (1 | 2) => new[33] = new[33] & 0xf0 | state,
        _ => return None,
    }
    Some(())
}

/// States: what is set (rows: none, Down, Init, Armed, Active) with the physical state that is set, and with what the
/// port is.
fn set_state(new: &mut [u8; 64], old: &[u8; 64], set: &[u8; 64]) -> Option<()> {
    let (state, physical, is) = (set[32] & 0x0f, set[33] >> 4, old[32] & 0x0f);
    match (state, physical, is) {
        (0 | 1, 0..=3, _) => {}
        (3, 0, 2) | (4, 0, 3) => new[32] = new[32] & 0xf0 | state,
        _ => return None,
    }
    Some(())
}
