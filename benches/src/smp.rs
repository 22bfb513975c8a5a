//! Answers one request again and again: `smp REQUEST ROUNDS`.

use std::env;
use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use iba::attr::{PortInfo, PortPhysicalState, PortState};
use iba::mad::{Attribute, Method, Status};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Guid, Lid, MKey, PortNum, Sl};
use portico_benches::{Request, smp};
use subnet::{AdapterConfig, ChannelAdapter, Link, LinkRequest, Node, NodeConfig, Outlet, Switch, SwitchConfig, Time};
use zerocopy::IntoBytes;

/// The key that the node's port has, and that every request shows.
const KEY: MKey = MKey::new(0x0123_4567_89ab_cdef);

/// The port that requests come in by.
const PORT: PortNum = PortNum::new(1);

const NOW: Time = Time(1);

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().context("usage: smp REQUEST ROUNDS");
    let name = argument()?;
    let request = Request::from_name(&name).with_context(|| format!("no request is called {name}"))?;
    let rounds: u32 = argument()?.parse().context("cannot read the number of rounds")?;

    let mut node = node(request)?;
    let mut answers = Answers(0);
    node.link_up(NOW, PORT, Link::EDR_4X, &mut answers);
    protect(&mut node)?;
    let asked = arriving(request.smp(1));
    let mut packet = asked;
    for _ in 0..rounds {
        // What an answer changes, but for the attribute, which a Get's sender leaves open and a Set's is answered with.
        packet.header = asked.header;
        packet.smp.header = asked.smp.header;
        measured(&mut node, black_box(&mut packet), &mut answers);
    }
    ensure!(answers.0 == rounds, "{rounds} requests had {} answers", answers.0);
    check(&packet.smp)
}

/// Callgrind counts what is done in here, and nothing else: it knows the name.
#[inline(never)]
fn measured(node: &mut Node, packet: &mut SmpPacket, answers: &mut Answers) {
    node.receive(NOW, PORT, packet.as_mut_bytes(), answers);
}

/// Counts what leaves.
struct Answers(u32);

impl Outlet for Answers {
    fn transmit(&mut self, _: PortNum, _: &[u8]) {
        self.0 += 1;
    }

    fn deliver(&mut self, _: PortNum, _: &[u8]) {}

    fn link(&mut self, _: PortNum, _: LinkRequest) {}
}

/// A node that answers `request`.
fn node(request: Request) -> Result<Node> {
    let node = NodeConfig::new(Guid::new(0x0200_0000_0000_0010), "bench");
    Ok(if request.is_for_switch() {
        Node::Switch(Switch::new(&SwitchConfig { node, ports: 16, enforced_partitions: 0 })?)
    } else {
        let port_guids = vec![Guid::new(0x0200_0000_0000_0011)];
        Node::ChannelAdapter(ChannelAdapter::new(&AdapterConfig { node, port_guids })?)
    })
}

/// Gives the node's port a key, as a subnet manager does it.
fn protect(node: &mut Node) -> Result<()> {
    let end = if matches!(node, Node::Switch(_)) { PortNum::MANAGEMENT } else { PORT };
    let mut info = *node.port_info(end).context("the node lacks a port")?;
    info.m_key = KEY;
    info.set_m_key_protect_bits(2);
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    (info.lid, info.master_sm_lid) = (Lid::new(2), Lid::new(1));
    let mut set = smp(Method::SET, PortInfo::ID, 1);
    set.header.attribute_modifier = u32::from(end.get()).into();
    set.set_attribute(&info);
    let mut packet = arriving(set);
    node.receive(NOW, PORT, packet.as_mut_bytes(), &mut Answers(0));
    check(&packet.smp)
}

/// A request as it comes in by the link, one hop behind it.
fn arriving(mut smp: Smp) -> SmpPacket {
    smp.m_key = KEY;
    smp.set_hop_pointer(1);
    SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::new(0), smp)
}

/// Checks that `answer` is the response to a request that was executed.
fn check(answer: &Smp) -> Result<()> {
    ensure!(
        answer.header.method == Method::GET_RESP && answer.status() == Status::OK,
        "the node refused: {:?}, {:?}",
        answer.header.method,
        answer.status()
    );
    Ok(())
}
