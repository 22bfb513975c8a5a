//! Operations of all nodes, of either kind.

use iba::attr::{GuidInfo, NodeDescription, NodeInfo, PKeyTable, PortInfo, SwitchInfo};
use iba::lrh::Lrh;
use iba::packet::SmpPacket;
use iba::{Guid, PortNum};

use zerocopy::FromBytes;

use crate::adapter::ChannelAdapter;
use crate::body::{Body, Chore, Verdict};
use crate::counters::{Counters, PortError};
use crate::directed::NodeKind;
use crate::gsi::Key;
use crate::outlet::{Link, Outlet};
use crate::switch::Switch;
use crate::time::Time;

/// A switch or a channel adapter, for who holds either.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A switch.
    Switch(Switch),
    /// A channel adapter.
    ChannelAdapter(ChannelAdapter),
}

impl Node {
    pub(crate) fn body(&self) -> &Body {
        match self {
            Self::Switch(node) => node.body(),
            Self::ChannelAdapter(node) => node.body(),
        }
    }

    pub(crate) fn body_mut(&mut self) -> &mut Body {
        match self {
            Self::Switch(node) => node.body_mut(),
            Self::ChannelAdapter(node) => node.body_mut(),
        }
    }
}

/// Gives nodes what all nodes can do; they give it their body.
macro_rules! nodes {
    ($($node:ident)*) => { $(
        impl $node {
            /// Deals with `packet`, which the link at `port` brought. It is changed in place.
            #[inline]
            pub fn receive(&mut self, now: Time, port: PortNum, packet: &mut [u8], out: &mut impl Outlet) {
                let body = self.body_mut();
                match body.manage_quickly(now, port, packet) {
                    Some(Verdict::Transmit(port)) => out.transmit(port, packet),
                    Some(_) => {}
                    None => body.receive_slowly(now, port, packet, out),
                }
            }

            /// Deals with `packet`, which a consumer at `port` sends: a subnet manager, a client of the general
            /// services, a queue pair. A switch's consumers are at its management port, 0. A directed route begins with
            /// hop pointer 0; a wrong source LID is put right. What is for this port itself is answered or delivered
            /// without leaving. The packet is changed in place.
            pub fn send(&mut self, now: Time, port: PortNum, packet: &mut [u8], out: &mut impl Outlet) {
                let body = self.body_mut();
                let verdict = body.send(now, port, packet);
                body.carry_out(now, verdict, port, packet, out);
                body.do_due(now, out);
            }

            /// The link at `port` came up. Nothing happens where it was up, or is switched off.
            pub fn link_up(&mut self, now: Time, port: PortNum, link: Link, out: &mut impl Outlet) {
                self.body_mut().link_up(now, port, link);
                self.body_mut().do_due(now, out);
            }

            /// The link at `port` went down.
            pub fn link_down(&mut self, now: Time, port: PortNum, out: &mut impl Outlet) {
                self.body_mut().link_down(now, port);
                self.body_mut().do_due(now, out);
            }

            /// A subnet manager begins (`true`) or ends at `port`, where consumers are.
            pub fn set_is_sm(&mut self, now: Time, port: PortNum, is_sm: bool, out: &mut impl Outlet) {
                self.body_mut().set_is_sm(now, port, is_sm);
                self.body_mut().do_due(now, out);
            }

            /// Gives the node another name.
            pub fn set_description(&mut self, now: Time, description: NodeDescription, out: &mut impl Outlet) {
                self.body_mut().set_description(now, description);
                self.body_mut().do_due(now, out);
            }

            /// Does what is due, and says when to come again if nothing else calls before; `None` means never.
            pub fn poll(&mut self, now: Time, out: &mut impl Outlet) -> Option<Time> {
                self.body_mut().do_due(now, out);
                Some(self.body().deadline).filter(|&deadline| deadline != Time::NEVER)
            }

            /// Counts errors that the link at `port` told of.
            pub fn count(&mut self, port: PortNum, error: PortError, times: u32) {
                self.body_mut().count(port, error, times);
            }

            /// A consumer at `port` refused `packet` because of its P_Key or Q_Key: that is a violation, which is
            /// counted and told of by trap 257 or 258 (10.9.4, 10.2.4). Queue pair 1's packets are seen to already.
            pub fn refused(&mut self, now: Time, port: PortNum, key: Key, packet: &[u8], out: &mut impl Outlet) {
                self.body_mut().refused(now, port, key, packet);
                self.body_mut().do_due(now, out);
            }

            /// Which kind it is.
            #[must_use]
            pub fn kind(&self) -> NodeKind {
                self.body().kind
            }

            /// NodeInfo; PortGUID and LocalPortNum are those of the port that receives the request.
            #[must_use]
            pub fn node_info(&self) -> &NodeInfo {
                &self.body().node_info
            }

            /// The name.
            #[must_use]
            pub fn description(&self) -> &NodeDescription {
                &self.body().description
            }

            /// SwitchInfo, of a switch.
            #[must_use]
            pub fn switch_info(&self) -> Option<&SwitchInfo> {
                self.body().relay.as_ref().map(|relay| &relay.info)
            }

            /// PortInfo of `port`, if there is such a port.
            #[must_use]
            pub fn port_info(&self, port: PortNum) -> Option<&PortInfo> {
                self.body().port(port).map(|port| &port.info)
            }

            /// The GUID of `port`, if there is such a port; a switch's ports have none but for the management port.
            #[must_use]
            pub fn port_guid(&self, port: PortNum) -> Option<Guid> {
                self.body().port(port).map(|port| port.guid)
            }

            /// The first block of the GUID table of `port`, its own GUID first, if packets end at it.
            #[must_use]
            pub fn guids(&self, port: PortNum) -> Option<&GuidInfo> {
                self.body().port(port).and_then(|port| port.end.as_ref()).map(|end| &end.guids)
            }

            /// The first block of the P_Key table of `port`, if there is such a port and it has a table.
            #[must_use]
            pub fn p_keys(&self, port: PortNum) -> Option<&PKeyTable> {
                self.body().port(port).and_then(|port| port.p_keys.first())
            }

            /// The counters of `port`, if there is such a port.
            #[must_use]
            pub fn counters(&self, port: PortNum) -> Option<&Counters> {
                self.body().port(port).map(|port| &port.counters)
            }
        }
    )* };
}

nodes! { Switch ChannelAdapter Node }

impl Body {
    /// Does the chores that are due.
    #[inline]
    fn do_due(&mut self, now: Time, out: &mut impl Outlet) {
        if now >= self.deadline {
            self.do_chores(now, out);
        }
    }

    #[cold]
    fn do_chores(&mut self, now: Time, out: &mut impl Outlet) {
        let mut packet = [0; size_of::<SmpPacket>()];
        while let Some(chore) = self.chore(now, &mut packet) {
            match chore {
                Chore::Link(port, request) => out.link(port, request),
                Chore::Event(port, event) => out.event(port, event),
                Chore::Trap(verdict) => self.carry_out(now, verdict, PortNum::MANAGEMENT, &mut packet, out),
            }
        }
    }

    #[inline(never)]
    fn receive_slowly(&mut self, now: Time, number: PortNum, packet: &mut [u8], out: &mut impl Outlet) {
        let verdict = self.receive(now, number, packet);
        self.carry_out(now, verdict, number, packet, out);
        self.do_due(now, out);
    }

    /// Lets a packet out that came in by port `from`.
    fn carry_out(&mut self, now: Time, verdict: Verdict, from: PortNum, packet: &mut [u8], out: &mut impl Outlet) {
        match verdict {
            Verdict::Done => {}
            Verdict::Transmit(port) => out.transmit(port, packet),
            Verdict::Deliver(port) => out.deliver(port, packet),
            Verdict::Multicast => {
                let Ok((&lrh, _)) = Lrh::ref_from_prefix(packet) else { return };
                for port in self.group(from, &lrh) {
                    match port {
                        PortNum::MANAGEMENT => out.deliver(port, packet),
                        _ if self.leave_with_data(now, from, port, lrh, packet) != Verdict::Done => {
                            out.transmit(port, packet);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
