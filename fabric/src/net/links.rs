//! Links of the fabric: training, requests of nodes, and plugging.

use iba::attr::{LinkWidth, PortInfo};
use subnet::{LinkRequest, Speed};

use super::Net;
use super::wires::{Peer, Plug};
use cable::{Abilities, Link, LinkChange};
use umad_server::NodePort;

impl Net {
    /// Trains all cables in memory for the first time. A cable to another process trains when that process connects.
    pub(crate) fn train_every_cable(&mut self) {
        for node in 0..self.wires.ends.len() {
            for number in (1_u8..).take(self.wires.ends[node].len()) {
                let at = NodePort { node, port: number.into() };
                self.refresh(at);
                self.train(at);
            }
        }
    }

    /// Applies a request of a node to its link at `at`.
    pub(super) fn request(&mut self, at: NodePort, request: LinkRequest) {
        self.refresh(at);
        let Some(end) = self.wires.end_mut(at) else {
            return;
        };
        let change = match end.peer {
            Peer::Uplink(index) => self.wires.uplinks[index].with_end(|end| match request {
                LinkRequest::Disable => end.disable(),
                LinkRequest::Enable => {
                    end.enable();
                    None
                }
                LinkRequest::Retrain => end.retrain(),
            }),
            Peer::Port(_) | Peer::Absent => match request {
                LinkRequest::Disable => end.machine.disable(),
                LinkRequest::Enable => {
                    end.machine.enable();
                    None
                }
                LinkRequest::Retrain => end.machine.retrain(),
            },
        };
        self.handle_link_change(at, change);
        self.train(at);
    }

    /// Pulls the cable at `at`; does nothing without a cable.
    pub(crate) fn unplug(&mut self, at: NodePort) {
        self.set_plug(at, Plug::Out);
    }

    /// Plugs the cable at `at` in again; does nothing without a cable.
    pub(crate) fn plug(&mut self, at: NodePort) {
        self.set_plug(at, Plug::In);
    }

    fn set_plug(&mut self, at: NodePort, plug: Plug) {
        let Some(end) = self.wires.end(at) else {
            return;
        };
        match end.peer {
            Peer::Absent => {}
            Peer::Uplink(index) => {
                let uplink = &mut self.wires.uplinks[index];
                let change = match plug {
                    Plug::In => uplink.plug(),
                    Plug::Out => uplink.unplug(),
                };
                self.handle_link_change(at, change);
            }
            Peer::Port(peer) => {
                for at in [at, peer] {
                    if let Some(end) = self.wires.end_mut(at) {
                        end.set_plug(plug);
                        let change = if plug == Plug::Out { end.machine.unplugged() } else { None };
                        self.handle_link_change(at, change);
                    }
                }
                self.train(at);
            }
        }
    }

    /// Notifies the node of the port `at` of a change of its link.
    pub(crate) fn handle_link_change(&mut self, at: NodePort, change: Option<LinkChange>) {
        if let (Some(bridge), Some(_)) = (self.bridge_mut(at), change) {
            bridge.handle_link_change();
            return;
        }
        match change {
            Some(LinkChange::Up(link)) => {
                let link = subnet::Link { width: LinkWidth::from_bits_retain(link.width), speed: speed(link) };
                self.with_node(at.node, 0, |node, now, out| node.link_up(now, at.port, link, out));
            }
            Some(LinkChange::Down) => {
                self.with_node(at.node, 0, |node, now, out| node.link_down(now, at.port, out));
                self.refresh(at);
            }
            None => {}
        }
    }

    /// Adds the errors of cables to the counters of their ports.
    pub(crate) fn count_errors(&mut self) {
        for uplink in &mut self.wires.uplinks {
            let at = uplink.at();
            for (error, times) in uplink.take_errors() {
                if let Some(Some(node)) = self.nodes.get_mut(at.node).filter(|_| times > 0) {
                    node.count(at.port, error, times);
                }
            }
        }
    }

    /// Exchanges announcements between the ends of a cable in memory until neither has a new one.
    fn train(&mut self, at: NodePort) {
        let Some(Peer::Port(peer)) = self.wires.end(at).filter(|end| end.plug == Plug::In).map(|end| end.peer) else {
            return;
        };
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for (from, to) in [(at, peer), (peer, at)] {
                let Some(news) = self.wires.end_mut(from).and_then(|end| end.take_announcement()) else {
                    continue;
                };
                quiet = false;
                let change = self.wires.end_mut(to).and_then(|end| end.machine.hear(news));
                self.handle_link_change(to, change);
            }
        }
    }

    /// Sets the widths and speeds to train to: those that both PortInfo enables and the cable has.
    fn refresh(&mut self, at: NodePort) {
        let Some(Some(node)) = self.nodes.get(at.node) else {
            return;
        };
        let (Some(info), Some(end)) = (node.port_info(at.port), self.wires.end_mut(at)) else {
            return;
        };
        let abilities = enabled(info, end.limit);
        match end.peer {
            Peer::Uplink(index) => self.wires.uplinks[index].with_end(|end| end.set_abilities(abilities)),
            Peer::Port(_) | Peer::Absent => end.machine.set_abilities(abilities),
        }
    }
}

fn enabled(info: &PortInfo, limit: Abilities) -> Abilities {
    Abilities {
        widths: info.link_width_enabled.bits() & limit.widths,
        speeds: info.link_speed_enabled().bits() & limit.speeds,
        speeds_ext: info.link_speed_ext_enabled().bits() & limit.speeds_ext,
    }
}

fn speed(link: Link) -> Speed {
    match (link.speed_ext, link.speed) {
        (0, 0..2) => Speed::Sdr,
        (0, 2..4) => Speed::Ddr,
        (0, _) => Speed::Qdr,
        (1, _) => Speed::Fdr,
        (2..4, _) => Speed::Edr,
        _ => Speed::Hdr,
    }
}
