//! Outlet of a node: packets that it sends and delivers, and its link requests.

use iba::PortNum;
use iba::attr::{LinkSpeed, LinkSpeedExt, LinkWidth, PortInfo};

/// Where a node's packets and wishes go.
///
/// A packet is the bytes from its local route header to its payload's end, without checksums, and is good only for the
/// call: an outlet copies what it keeps.
pub trait Outlet {
    /// Sends `packet` on the link at `port`.
    fn transmit(&mut self, port: PortNum, packet: &[u8]);

    /// Hands `packet`, which the node does not answer itself, to its consumers at `port`: a subnet manager, clients of
    /// the general services, queue pairs.
    fn deliver(&mut self, port: PortNum, packet: &[u8]);

    /// Requests a change of the link at `port`, after all packets that were sent before. The caller reports the outcome
    /// by `link_down` and `link_up`, now or later.
    fn link(&mut self, port: PortNum, request: LinkRequest);

    /// Tells the consumers at `port` what happened to it.
    fn event(&mut self, port: PortNum, event: Event) {
        let _ = (port, event);
    }
}

/// Link request of a subnet manager by Set(PortInfo) (14.2.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkRequest {
    /// Switch it off, until [`LinkRequest::Enable`].
    Disable,
    /// Switch it on again.
    Enable,
    /// Take it down and train it anew, so that both ends pass through Down.
    Retrain,
}

/// Something that happened to a port, of interest to those who use it (11.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The port is Active now.
    Active,
    /// The port is Active no more.
    Inactive,
    /// Its LID or its LID mask count changed.
    LidChange,
    /// Its P_Key table changed.
    PKeyChange,
    /// The subnet manager's LID or service level changed.
    SmChange,
    /// Its GID prefix or its GUIDs changed.
    GidChange,
    /// Clients are to register again with the subnet administration (14.4.11).
    ClientReregister,
}

impl Event {
    /// All events, in the order in which a port tells them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Inactive,
        Self::LidChange,
        Self::GidChange,
        Self::PKeyChange,
        Self::SmChange,
        Self::Active,
        Self::ClientReregister,
    ];
}

/// Properties of a link that came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Width, one flag.
    pub width: LinkWidth,
    /// Speed of each lane.
    pub speed: Speed,
}

impl Link {
    /// Four lanes of EDR: 100 Gb/s.
    pub const EDR_4X: Self = Self { width: LinkWidth::X4, speed: Speed::Edr };

    /// The best link that two ports have both enabled; `None` where they have nothing in common.
    #[must_use]
    pub fn between(one: &PortInfo, other: &PortInfo) -> Option<Self> {
        let widths = one.link_width_enabled & other.link_width_enabled;
        let speeds = one.link_speed_enabled() & other.link_speed_enabled();
        let speeds_ext = one.link_speed_ext_enabled() & other.link_speed_ext_enabled();
        let by_width = [LinkWidth::X12, LinkWidth::X8, LinkWidth::X4, LinkWidth::X2, LinkWidth::X1];
        let width = by_width.into_iter().find(|&width| widths.contains(width))?;
        let by_speed = [Speed::Hdr, Speed::Edr, Speed::Fdr, Speed::Qdr, Speed::Ddr, Speed::Sdr];
        let speed = by_speed.into_iter().find(|speed| match speed.active_ext() {
            ext if ext.is_empty() => speeds.contains(speed.active()),
            ext => speeds_ext.contains(ext),
        })?;
        Some(Self { width, speed })
    }
}

/// Speed of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Speed {
    /// 2.5 Gb/s.
    Sdr,
    /// 5 Gb/s.
    Ddr,
    /// 10 Gb/s.
    Qdr,
    /// 14.0625 Gb/s.
    Fdr,
    /// 25.78125 Gb/s.
    Edr,
    /// 53.125 Gb/s.
    Hdr,
}

impl Speed {
    /// PortInfo's LinkSpeedActive. An extended speed counts as the fastest of the others (14.2.5.6).
    pub(crate) fn active(self) -> LinkSpeed {
        match self {
            Self::Sdr => LinkSpeed::SDR,
            Self::Ddr => LinkSpeed::DDR,
            _ => LinkSpeed::QDR,
        }
    }

    /// PortInfo's LinkSpeedExtActive.
    pub(crate) fn active_ext(self) -> LinkSpeedExt {
        match self {
            Self::Sdr | Self::Ddr | Self::Qdr => LinkSpeedExt::empty(),
            Self::Fdr => LinkSpeedExt::FDR,
            Self::Edr => LinkSpeedExt::EDR,
            Self::Hdr => LinkSpeedExt::HDR,
        }
    }

    /// PortInfo's LinkSpeedSupported of a port that knows all speeds up to this one.
    pub(crate) fn supported(self) -> LinkSpeed {
        LinkSpeed::from_bits_retain(self.active().bits() * 2 - 1)
    }

    /// PortInfo's LinkSpeedExtSupported of a port that knows all speeds up to this one.
    pub(crate) fn supported_ext(self) -> LinkSpeedExt {
        LinkSpeedExt::from_bits_retain((self.active_ext().bits() * 2).saturating_sub(1))
    }
}
