//! Any datagrams, one after the other, to a switch and to a channel adapter.
//!
//! An input is records of 285 bytes: what to do, and a packet. Unless the first byte says raw, the headers are put
//! right, so that what is fuzzed is the datagram in it.
#![no_main]

use std::time::Duration;

use iba::lrh::Lrh;
use iba::packet::{SmpPacket, UdHeader};
use iba::smp::Smp;
use iba::{Guid, Lid, PortNum, Qpn, Sl};
use libfuzzer_sys::fuzz_target;
use subnet::{AdapterConfig, ChannelAdapter, Link, LinkRequest, Node, NodeConfig, Outlet, Switch, SwitchConfig, Time};
use zerocopy::FromBytes;

/// Checks what leaves the node.
struct Check;

impl Outlet for Check {
    fn transmit(&mut self, _: PortNum, packet: &[u8]) {
        assert!(packet.len() >= size_of::<Lrh>(), "what leaves a node has a header");
    }

    fn deliver(&mut self, _: PortNum, packet: &[u8]) {
        assert!(packet.len() >= size_of::<Lrh>(), "what reaches a consumer has a header");
    }

    fn link(&mut self, _: PortNum, _: LinkRequest) {}
}

fn nodes() -> [Node; 2] {
    let node = |guid| NodeConfig::new(Guid::new(guid), "fuzz");
    let switch = Switch::new(&SwitchConfig { node: node(1), ports: 3, enforced_partitions: 32 });
    let adapter = ChannelAdapter::new(&AdapterConfig { node: node(2), port_guids: vec![Guid::new(3), Guid::new(4)] });
    [Node::Switch(switch.unwrap()), Node::ChannelAdapter(adapter.unwrap())]
}

fuzz_target!(|bytes: &[u8]| {
    let mut now = Time::default();
    let mut nodes = nodes();
    for node in &mut nodes {
        for port in 1..=3 {
            node.link_up(now, PortNum::new(port), Link::EDR_4X, &mut Check);
        }
    }
    for record in bytes.chunks(1 + size_of::<SmpPacket>()) {
        let (operation, packet) = (record[0], &mut record[1..].to_vec()[..]);
        let [raw, local, general, permissive] = [7, 6, 5, 4].map(|bit| operation >> bit & 1 == 1);
        if !raw {
            let Ok(smp) = SmpPacket::mut_from_bytes(packet) else { continue };
            let Lrh { slid, dlid, .. } = smp.header.lrh;
            let dlid = if permissive { Lid::PERMISSIVE } else { dlid };
            if general {
                smp.header = UdHeader::new(slid, dlid, Sl::new(0), size_of::<Smp>());
                smp.header.bth.dest_qp = Qpn::GSI;
            } else {
                smp.header = SmpPacket::new(slid, dlid, Sl::new(0), smp.smp).header;
            }
        }
        let port = PortNum::new(operation & 3);
        for node in &mut nodes {
            let packet = &mut packet.to_vec()[..];
            if local {
                node.send(now, port, packet, &mut Check);
            } else {
                node.receive(now, port, packet, &mut Check);
            }
            node.poll(now, &mut Check);
        }
        now = now.after(Duration::from_micros(u64::from(operation) << 8));
    }
});
