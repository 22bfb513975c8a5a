//! Partitions that only seem to run, on a fabric with a subnet manager that does one thing at a time.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::fmt::{self, Write};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU32, AtomicU64};

use std::rc::Rc;

use iba::Lid;
use iba::attr::{PortInfo, PortState, SwitchInfo};
use iba::mad::AttributeId;
use lhca_contract::Exits;
use lhca_contract::ring::ENTRIES;
use lhca_engine::{BadAddress, Guest, Ring};
use partition_table::{ImageName, Lhca, Program, Start};
use subnet::LhcaId;
use zerocopy::IntoBytes;

use super::{PartitionFactory, RunningPartition};
use crate::fabric::tests::{Rig, rig_of, row};

/// A partition without memory.
#[derive(Clone)]
pub(crate) struct NoMemory;

impl Guest for NoMemory {
    type Ring<E> = NoRing<E>;

    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), BadAddress> {
        Err(BadAddress)
    }
    fn write(&self, _: u64, _: &[u8]) -> Result<(), BadAddress> {
        Err(BadAddress)
    }
    fn ring<E>(&self, _: u64, _: u8) -> Result<NoRing<E>, BadAddress> {
        Err(BadAddress)
    }
    fn copy(&self, _: u64, _: &Self, _: u64, _: usize, _: usize) -> Result<(), BadAddress> {
        Err(BadAddress)
    }
    fn interrupt(&self, _: u8) {}
}

/// A ring in such memory: there is none.
pub(crate) struct NoRing<E>(Infallible, PhantomData<E>);

impl<E> fmt::Debug for NoRing<E> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl<E> Ring for NoRing<E> {
    type Entry = E;

    fn mask(&self) -> u32 {
        match self.0 {}
    }
    fn control(&self) -> &[AtomicU32; ENTRIES / 4] {
        match self.0 {}
    }
    fn entry(&self, _: u32) -> &[AtomicU64] {
        match self.0 {}
    }
}

/// Where partitions seem to run. A test ends them.
#[derive(Clone, Default)]
pub(crate) struct Stage(Rc<Backstage>);

#[derive(Default)]
struct Backstage {
    ends: Cell<u32>,
    /// Pieces to wipe of each partition's memory but the first, and of what they left.
    pieces: Cell<u32>,
    left: Cell<u32>,
    /// In the order in which they were made.
    players: RefCell<Vec<Player>>,
}

/// A partition that seems to run.
#[derive(Clone)]
pub(crate) struct Player(Rc<PlayerState>);

struct PlayerState {
    id: LhcaId,
    starts: u32,
    begun: Cell<bool>,
    stopping: Cell<bool>,
    end: RefCell<Option<String>>,
    memory: RefCell<Vec<u8>>,
}

impl PartitionFactory for Stage {
    type Guest = NoMemory;
    type Running = Player;
    type Reservation = u32;

    fn reserve(&mut self, row: &Lhca) -> Result<u32, String> {
        let program = row.partition().unwrap();
        if program.image.text() == "bad" { Err("no such image".into()) } else { Ok(self.0.pieces.get()) }
    }

    fn scrub(&mut self, reservation: &mut u32) -> bool {
        *reservation = reservation.saturating_sub(1);
        *reservation > 0
    }

    fn create(&mut self, reservation: u32, row: &Lhca, id: LhcaId, starts: u32) -> Result<(NoMemory, Player), String> {
        assert_eq!(reservation, 0, "all is wiped");
        let program = row.partition().unwrap();
        if program.image.text() == "damaged" {
            return Err("the image is damaged".into());
        }
        let (begun, stopping, end) = Default::default();
        let memory = RefCell::new(vec![starts as u8; program.bytes() as usize]);
        let player = Player(Rc::new(PlayerState { id, starts, begun, stopping, end, memory }));
        self.0.players.borrow_mut().push(player.clone());
        Ok((NoMemory, player))
    }

    fn scrub_pending(&mut self) -> bool {
        self.0.left.set(self.0.left.get().saturating_sub(1));
        self.0.left.get() > 0
    }

    fn ends(&self) -> u32 {
        self.0.ends.get()
    }

    fn free_memory(&self) -> u64 {
        4096
    }
}

impl RunningPartition for Player {
    fn start(&self) {
        self.0.begun.set(true);
    }
    fn stop(&self) {
        self.0.stopping.set(true);
    }
    fn end(&self) -> Option<String> {
        self.0.end.borrow().clone()
    }
    fn exits(&self) -> Option<Exits> {
        Some(Exits { doorbells: 1, calls: 2, halts: 3, interrupts: 4, others: 5 })
    }
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        let (memory, start) = (self.0.memory.borrow(), address as usize);
        into.copy_from_slice(memory.get(start..start + into.len()).ok_or(BadAddress)?);
        Ok(())
    }
}

impl Stage {
    fn last(&self) -> Player {
        self.0.players.borrow().last().unwrap().clone()
    }

    /// The last partition that was made ends, as the scheduler does it; what the control line says of that.
    fn end_last<D: hca_driver::Doorbell>(&self, rig: &mut Rig<D>, why: &str) -> String {
        self.end(rig, &self.last(), why);
        let mut answer = rig.poll();
        while rig.manager.is_busy() {
            answer += &rig.poll();
        }
        rig.settle();
        answer
    }

    fn end<D: hca_driver::Doorbell>(&self, rig: &mut Rig<D>, Player(state): &Player, why: &str) {
        rig.fabric.lock().detach(rig.now, state.id);
        *state.end.borrow_mut() = Some(why.into());
        self.0.ends.set(self.0.ends.get() + 1);
    }
}

/// Asks for a digest; what is said of it, and in how many turns.
fn digest<D: hca_driver::Doorbell>(rig: &mut Rig<D>, name: &str) -> (String, usize) {
    let mut answer = rig.ask(&format!("digest {name}"));
    for turn in 1.. {
        assert!(answer.is_empty() && rig.manager.is_waiting() && rig.manager.is_busy());
        answer = rig.poll();
        if !answer.is_empty() {
            assert!(!rig.manager.is_waiting());
            return (answer, turn);
        }
    }
    unreachable!()
}

/// A row with a partition.
fn partition(nth: u16, image: &str) -> Lhca {
    let image = ImageName::new(image).unwrap();
    row(nth).with_partition(&Program { image: &image, memory: 2, arguments: "" })
}

fn digits(row: &Lhca) -> String {
    row.as_bytes().iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    })
}

/// The port of the logical switch, from its side.
fn state<D: hca_driver::Doorbell>(rig: &mut Rig<D>, port: u32) -> PortState {
    rig.state(port, &[])
}

#[test]
fn a_partition_begins_at_boot_or_when_asked() {
    let stage = Stage::default();
    let later = partition(2, "echo").with_start(Start::OnDemand);
    let mut rig = rig_of(&[partition(1, "echo"), later, row(3)], 0, stage.clone());
    assert_eq!([2, 3, 4].map(|port| state(&mut rig, port)), [PortState::INIT, PortState::DOWN, PortState::INIT]);
    let list = rig.say("list");
    assert!(
        list.starts_with("partition running starts 1 memory 2 image echo qp0 none name lhca-1\nport 1 at 1/2 guid")
    );
    assert!(list.contains("\npartition stopped starts 0 memory 2 image echo qp0 none name lhca-2\nport 1 at 1/3 guid"));
    assert!(list.contains("lid 0 state Down cable out\nbecause its cable is out\n"), "{list}");
    assert_eq!(rig.say("start lhca-1"), "error: lhca-1 runs already\n");
    assert_eq!(rig.say("stop lhca-2"), "error: lhca-2 does not run\n");
    assert_eq!(rig.say("start lhca-2"), "ok\n");
    assert_eq!((stage.last().0.starts, stage.last().0.begun.get()), (1, true));
    assert_eq!(state(&mut rig, 3), PortState::INIT);
    let status = rig.say("status");
    assert!(
        status.contains("\nheld lhcas 2 queue-pairs 0 ") && status.ends_with("\nfree memory 4096\nok\n"),
        "{status}"
    );
    let status = rig.say("status lhca-1");
    assert!(status.ends_with("\nexits doorbells 1 calls 2 halts 3 interrupts 4 others 5\nok\n"), "{status}");
}

#[test]
fn a_cable_is_pulled_and_plugged_while_its_partition_runs() {
    let stage = Stage::default();
    let mut rig = rig_of(&[partition(1, "echo"), row(2)], 0, stage.clone());
    for port in [2, 3] {
        assert_eq!(rig.say(&format!("port {port} down")), "ok\n");
        assert_eq!(state(&mut rig, port), PortState::DOWN);
        assert_eq!(rig.say(&format!("port 1/{port} up")), "ok\n");
        assert_eq!(state(&mut rig, port), PortState::INIT);
    }
    stage.end_last(&mut rig, "crashed: triple fault");
    assert_eq!(rig.say("port 2 up"), "error: lhca-1 does not run: `start lhca-1` plugs it in\n");
    assert_eq!(state(&mut rig, 2), PortState::DOWN);
}

#[test]
fn partition_that_cannot_start_is_reported_and_starts_later() {
    let mut rig = rig_of(&[partition(1, "bad"), partition(2, "echo")], 1, Stage::default());
    let list = rig.say("list");
    assert!(
        list.starts_with("partition stopped starts 0 memory 2 image bad qp0 none name lhca-1\nbecause no such image\n")
    );
    assert!(list.contains("partition running starts 1"), "the others run: {list}");
    assert_eq!(rig.say("start lhca-1"), "error: no such image\n");
    assert_eq!(state(&mut rig, 2), PortState::DOWN);
    let add = format!("add {}", digits(&partition(3, "bad")));
    assert_eq!(rig.say(&add), "error: no such image\n");
    assert_eq!(rig.say("remove lhca-3"), "error: cannot find the LHCA \"lhca-3\": use a name that `list` shows\n");
}

#[test]
fn an_answer_waits_until_the_partition_is_over() {
    let stage = Stage::default();
    let mut rig = rig_of(&[partition(1, "echo")], 0, stage.clone());
    rig.get(AttributeId::SWITCH_INFO, 0, &[]);
    assert_eq!(rig.say("stop lhca-1"), "");
    assert!(rig.manager.is_waiting() && stage.last().0.stopping.get());
    assert!(rig.manager.poll(rig.now).is_none(), "it is not over yet");
    assert_eq!(stage.end_last(&mut rig, "was stopped"), "ok\n");
    assert!(!rig.manager.is_waiting());
    assert!(rig.say("list").starts_with("partition stopped starts 1 "));
    assert_eq!(state(&mut rig, 2), PortState::DOWN);
    assert!(rig.get(AttributeId::SWITCH_INFO, 0, &[]).attribute::<SwitchInfo>().port_state_change());
    assert!(rig.say("status").contains("\nheld lhcas 0 "));

    // It comes back with its GUIDs, and so with its LID.
    rig.say("start lhca-1");
    rig.set_port(1, &[2], |info| info.lid = Lid::new(9));
    assert_eq!(rig.say("restart lhca-1"), "");
    assert_eq!(stage.end_last(&mut rig, "was stopped"), "ok\n");
    assert_eq!(stage.last().0.starts, 3);
    assert_eq!(state(&mut rig, 2), PortState::INIT);
    let guid = row(1).node_guid().get() + 1;
    assert!(
        rig.say("list")
            .contains(&format!("starts 3 memory 2 image echo qp0 none name lhca-1\nport 1 at 1/2 guid {guid:#018x}"))
    );
}

#[test]
fn others_have_their_turn_while_memory_is_wiped() {
    const PIECES: u32 = 50;
    let stage = Stage::default();
    let mut rig = rig_of(&[partition(1, "echo"), partition(2, "echo")], 0, stage.clone());
    let players = stage.0.players.borrow().clone();
    stage.0.pieces.set(PIECES);
    stage.end(&mut rig, &players[1], "crashed: triple fault");
    rig.poll();
    assert_eq!(rig.ask("restart lhca-2"), "");
    for turn in 1..PIECES {
        assert!(rig.manager.is_busy() && rig.manager.is_waiting(), "{turn}");
        assert_eq!(rig.poll(), "", "{turn}");
        // A manager is answered meanwhile; and another's end is not what is waited for.
        assert_eq!(state(&mut rig, 3), PortState::DOWN);
        if turn == 10 {
            stage.end(&mut rig, &players[0], "exited with code 0");
            stage.0.left.set(10);
        }
    }
    // While what the other has left is wiped, the new one waits.
    let rest = (0..20).map(|_| rig.poll()).collect::<String>();
    assert_eq!((rest.as_str(), rig.manager.is_busy(), rig.manager.is_waiting()), ("ok\n", false, false));
    rig.settle();
    assert_eq!(state(&mut rig, 3), PortState::INIT);
    assert!(rig.say("list").contains("because exited with code 0\n"));
}

#[test]
fn partition_that_cannot_be_created_is_reported() {
    let stage = Stage::default();
    let mut rig = rig_of(&[partition(1, "damaged")], 1, stage);
    assert!(rig.say("list").contains("because the image is damaged\n"));
    assert_eq!(rig.say("start lhca-1"), "error: the image is damaged\n");
    assert_eq!(state(&mut rig, 2), PortState::DOWN);
}

#[test]
fn a_partition_that_ends_by_itself_says_how() {
    let stage = Stage::default();
    let mut rig = rig_of(&[partition(1, "echo"), partition(2, "echo")], 0, stage.clone());
    assert_eq!(stage.end_last(&mut rig, "crashed: triple fault"), "", "no request is pending");
    let list = rig.say("list");
    assert!(list.contains(
        "partition ended starts 1 memory 2 image echo qp0 none name lhca-2\nbecause crashed: triple fault\n"
    ));
    assert!(list.starts_with("partition running"), "{list}");
    assert_eq!(rig.say("restart lhca-2"), "ok\n", "there is nothing to wait for");
    assert_eq!(stage.last().0.starts, 2);
}

#[test]
fn a_digest_is_of_every_byte_and_taken_in_turns() {
    let stage = Stage::default();
    let mut rig = rig_of(&[partition(1, "echo"), row(2)], 0, stage.clone());
    let (before, turns) = digest(&mut rig, "lhca-1");
    // The memory is all ones, and this is what a table of the polynomial makes of them, without the crate.
    assert_eq!(before, "digest 0x2a350d8adcff3a21 bytes 2097152\nok\n");
    assert_eq!(turns, 32, "the fabric has its turn in between");
    assert_eq!(digest(&mut rig, "lhca-1").0, before);
    for place in [0, (64 << 10) - 1, 64 << 10, (2 << 20) - 1] {
        let flip = |memory: &mut Vec<u8>| memory[place] ^= 0x80;
        flip(&mut stage.last().0.memory.borrow_mut());
        assert_ne!(digest(&mut rig, "lhca-1").0, before, "{place:#x}");
        flip(&mut stage.last().0.memory.borrow_mut());
    }
    assert_eq!(digest(&mut rig, "lhca-1").0, before);
    assert_eq!(rig.say("digest lhca-2"), "error: lhca-2 has no partition, and so no memory\n");
    assert!(rig.say("digest lhca-3").starts_with("error: cannot find the LHCA"));
    // It ends before the digest does.
    assert_eq!((rig.ask("digest lhca-1"), rig.poll()), (String::new(), String::new()));
    assert_eq!(stage.end_last(&mut rig, "was stopped"), "error: lhca-1 ended meanwhile\n");
    assert!(!rig.manager.is_waiting());
}

#[test]
fn lhcas_come_and_go() {
    let stage = Stage::default();
    let mut rig = rig_of(&[partition(1, "echo")], 1, stage.clone());
    assert_eq!(state(&mut rig, 3), PortState::DOWN);
    let add = |nth| format!("add {}", digits(&partition(nth, "echo")));
    assert_eq!(rig.say(&add(1)), "error: the name lhca-1 is taken: choose another, or remove lhca-1 first\n");
    assert_eq!(rig.say(&add(7)), "ok\n");
    assert_eq!(state(&mut rig, 3), PortState::INIT);
    assert_eq!(rig.get(AttributeId::PORT_INFO, 1, &[3]).attribute::<PortInfo>().port_state(), PortState::INIT);
    assert!(rig.say(&add(8)).starts_with("error: cannot add an LHCA at uplink 1: all ports are taken"));
    // In its place comes another.
    assert_eq!(rig.say("remove lhca-7"), "");
    assert_eq!(stage.end_last(&mut rig, "was stopped"), "ok\n");
    assert_eq!(state(&mut rig, 3), PortState::DOWN);
    assert_eq!(rig.say(&format!("add {}", digits(&row(9)))), "ok\n");
    assert_eq!(state(&mut rig, 3), PortState::INIT);
    assert!(rig.say("list").contains("\npartition none qp0 none name lhca-9\nport 1 at 1/3 "));
    assert_eq!(rig.say("stop lhca-9"), "ok\n");
    assert_eq!(state(&mut rig, 3), PortState::DOWN);
    assert_eq!(rig.say("remove lhca-9"), "ok\n");
    assert_eq!(rig.say("list").matches("partition").count(), 1);
}

#[test]
fn what_is_no_row_is_not_added() {
    let mut rig = rig_of(&[], 1, Stage::default());
    let good = digits(&row(1));
    let long = format!("{good}00");
    let sign = format!("+{}", &good[1..]);
    let no_guid = good.replace(&format!("{:016x}", row(1).node_guid().get()), &"0".repeat(16));
    for bad in ["", "00", &long, &sign, &"00".repeat(good.len() / 2), &no_guid] {
        assert!(rig.say(&format!("add {bad}")).starts_with("error: "), "{bad}");
    }
    assert_eq!(rig.say("list"), "ok\n");
}
