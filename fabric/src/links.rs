//! The links of the fabric: how cables train, and what nodes, peers and operators do to them.

use iba::attr::{LinkWidth, PortInfo};
use subnet::{LinkRequest, Speed};

use super::net::Net;
use super::wires::Peer;
use cable::{Abilities, Link, LinkChange};
use umad_server::NodePort;

impl Net {
    /// Trains all cables in memory for the first time. Those to other processes train when somebody plugs in.
    pub(super) fn train_all(&mut self) {
        for node in 0..self.wires.ends.len() {
            for number in (1_u8..).take(self.wires.ends[node].len()) {
                let at = NodePort { node, port: number.into() };
                self.refresh(at);
                self.train(at);
            }
        }
    }

    /// Does to the link at `at` what its node wants.
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
            Peer::Port(_) | Peer::None => match request {
                LinkRequest::Disable => end.machine.disable(),
                LinkRequest::Enable => {
                    end.machine.enable();
                    None
                }
                LinkRequest::Retrain => end.machine.retrain(),
            },
        };
        self.changed(at, change);
        self.train(at);
    }

    /// Pulls the cable at `at`, or plugs it in again. Nothing happens where there is none.
    pub(super) fn pull(&mut self, at: NodePort, pulled: bool) {
        let Some(end) = self.wires.end(at) else {
            return;
        };
        match end.peer {
            Peer::None => {}
            Peer::Uplink(index) => {
                let change = self.wires.uplinks[index].pull(pulled);
                self.changed(at, change);
            }
            Peer::Port(peer) => {
                for at in [at, peer] {
                    if let Some(end) = self.wires.end_mut(at) {
                        end.pulled = pulled;
                        end.told = None;
                        let change = if pulled { end.machine.unplugged() } else { None };
                        self.changed(at, change);
                    }
                }
                self.train(at);
            }
        }
    }

    /// The link at `at` came up or went down: tells its node.
    pub(super) fn changed(&mut self, at: NodePort, change: Option<LinkChange>) {
        if let (Some(lent), Some(_)) = (self.lent_mut(at), change) {
            lent.link_changed();
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

    /// Has ports count what went wrong on their cables.
    pub(super) fn count_errors(&mut self) {
        for uplink in &mut self.wires.uplinks {
            let at = uplink.at();
            for (error, times) in uplink.take_errors() {
                if let Some(Some(node)) = self.nodes.get_mut(at.node).filter(|_| times > 0) {
                    node.count(at.port, error, times);
                }
            }
        }
    }

    /// Carries announcements between the ends of a cable in memory until neither has anything new to say.
    fn train(&mut self, at: NodePort) {
        let Some(Peer::Port(peer)) = self.wires.end(at).filter(|end| !end.pulled).map(|end| end.peer) else {
            return;
        };
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for (from, to) in [(at, peer), (peer, at)] {
                let Some(news) = self.wires.end_mut(from).and_then(|end| end.news()) else {
                    continue;
                };
                quiet = false;
                let change = self.wires.end_mut(to).and_then(|end| end.machine.hear(news));
                self.changed(to, change);
            }
        }
    }

    /// What the port may train to: what its PortInfo enables, and the cable is good for.
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
            Peer::Port(_) | Peer::None => end.machine.set_abilities(abilities),
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
