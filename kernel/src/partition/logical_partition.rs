//! A logical partition: its memory, its virtual processor and its state.

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use lhca_contract::{Call, Exits, InformationPage, OwnHca, Status, VERSION};
use spin::Mutex;
use zerocopy::IntoBytes;

use super::counts::Counts;
use super::hypercalls::Hypercalls;
use super::image::{Image, ImageError};
use super::interrupts::Pending;
use super::memory::{BadAddress, Memory};
use super::outcome::{End, Wake};
use super::partition_memory::PartitionMemory;
use crate::assignable_hca::{DOORBELL, HcaAssignment};
use crate::clock;
use crate::cpu::local;
use crate::memory::paging::MapError;
use crate::memory::{Caching, PAGE};
use crate::svm::VirtualCpu;

/// Addresses of a partition's information page, and of its first page tables: two pages, of which the second maps the
/// first 4 GiB at their own addresses with 1 GiB pages.
const INFORMATION: u64 = 0x1000;
const TABLES: [u64; 2] = [0x2000, 0x3000];

/// Addresses and interrupt vector of an HCA that is assigned to a partition. The addresses are above all memory that
/// such a partition may have, and aligned to the size of the HCA's memory, so that large pages map it.
const HCA_REGISTERS: u64 = 0xc000_0000;
const HCA_MEMORY: u64 = 0xc080_0000;
const HCA_VECTOR: u8 = 33;

/// Properties of a new partition.
#[derive(Debug)]
pub struct Config<'a> {
    /// Its name.
    pub name: &'a str,
    /// Arguments for the image, at most 256 bytes.
    pub arguments: &'a str,
    /// Number of its starts, this one included.
    pub starts: u32,
    /// Its LHCA. Without one the partition has the hypercalls that concern itself alone.
    pub lhca: Option<Arc<dyn Hypercalls>>,
    /// HCA that is assigned to it.
    pub hca: Option<HcaAssignment<Partition>>,
}

/// Reason for which a partition could not be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Its image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The partition has too little memory for its image.
    #[error("cannot load the image: the partition's memory is too small; give it more")]
    TooSmall(#[from] BadAddress),
    /// Its HCA cannot be mapped.
    #[error("cannot map the partition's HCA: {0}; give the partition at most 3 GiB of memory")]
    Hca(#[from] MapError),
}

/// State of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The partition is in the queue for a processor, or about to be.
    Ready,
    /// This processor runs it.
    Running(usize),
    /// The partition waits for an interrupt, or for its start.
    Waiting,
    /// The partition has ended.
    Ended(End),
}

/// A partition.
#[derive(Debug)]
pub struct Partition {
    name: String,
    /// Dropped before the memory: once the memory is free, a successor may get the HCA.
    hca: Option<HcaAssignment<Partition>>,
    memory: PartitionMemory,
    pending: Pending,
    /// Time of its timer; [`super::timers`] has those that are set.
    pub(super) timer: AtomicU64,
    stopping: AtomicBool,
    refusals: AtomicU32,
    pub(super) exits: Counts,
    state: Mutex<State>,
    pub(super) body: Mutex<Body>,
    lhca: Option<Arc<dyn Hypercalls>>,
}

/// The part that only the processor that runs the partition touches.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) cpu: VirtualCpu,
    pub(super) console: String,
}

impl Partition {
    /// Creates a partition in `memory`, which is scrubbed first as far as it is not yet, and loads `image` into it. The
    /// partition does not run before [`start`](super::scheduler::start).
    ///
    /// # Errors
    /// A [`StartError`].
    pub fn new(config: Config<'_>, mut memory: PartitionMemory, image: &Image<'_>) -> Result<Arc<Self>, StartError> {
        while memory.scrub() {}
        for segment in &image.segments {
            memory.contents().write(segment.address, segment.bytes)?;
        }
        let (image_start, image_end) = image.extent();
        let mut page = InformationPage {
            magic: InformationPage::MAGIC,
            version: VERSION,
            starts: config.starts,
            memory: memory.contents().size(),
            image_start,
            image_end,
            tsc_hz: clock::ticks_per_second(),
            name: [0; 64],
            arguments: [0; 256],
            hca: OwnHca::default(),
        };
        if let Some(hca) = &config.hca {
            memory.map_device(HCA_REGISTERS, hca.registers(), PAGE, Caching::Uncached)?;
            memory.map_device(HCA_MEMORY, hca.memory(), hca_contract::BAR2_SIZE as u64, Caching::Cached)?;
            let doorbell = HCA_REGISTERS + DOORBELL;
            page.hca = OwnHca { memory: HCA_MEMORY, doorbell, vector: HCA_VECTOR, reserved: [0; 7] };
        }
        fill(&mut page.name, config.name);
        fill(&mut page.arguments, config.arguments);
        memory.contents().write(INFORMATION, page.as_bytes())?;
        write_tables(memory.contents())?;
        let mut cpu = VirtualCpu::new(image.entry, memory.contents().size(), TABLES[0], memory.nested_cr3());
        cpu.registers.rdi = INFORMATION;
        memory.set_lhca(config.lhca.clone());
        Ok(Arc::new(Self {
            name: config.name.into(),
            memory,
            hca: config.hca,
            pending: Pending::default(),
            timer: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            exits: Counts::default(),
            state: Mutex::new(State::Waiting),
            body: Mutex::new(Body { cpu, console: String::new() }),
            lhca: config.lhca,
        }))
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its memory.
    #[inline(always)]
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.memory.contents()
    }

    /// Returns the reason of its end, if it has ended.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match *self.state.lock() {
            State::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// Returns the number of its VM exits by reason.
    #[must_use]
    pub fn exits(&self) -> Exits {
        self.exits.exits()
    }

    /// Returns the number of its refused instructions.
    #[must_use]
    pub fn refusals(&self) -> u32 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Counts a refusal, saturating. Returns `true` for the first few, which are logged.
    pub(super) fn count_refusal(&self) -> bool {
        const LOGGED: u32 = 4;
        let count = |count: u32| Some(count.saturating_add(1));
        self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok_and(|before| before < LOGGED)
    }

    /// Notes an interrupt with `vector`. [`Self::wake`] must follow.
    #[inline]
    pub(super) fn note_interrupt(&self, vector: u8) {
        self.pending.set(vector);
    }

    /// Notes that the partition must end. [`Self::wake`] must follow.
    pub(super) fn note_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Returns the act after which the partition sees a change that was noted.
    pub(super) fn wake(&self) -> Wake {
        let mut state = self.state.lock();
        match *state {
            State::Waiting => {
                *state = State::Ready;
                Wake::Enqueue
            }
            State::Running(cpu) if cpu != local::cpu().index() => Wake::Kick(cpu),
            State::Running(_) | State::Ready | State::Ended(_) => Wake::Unneeded,
        }
    }

    /// Directs the interrupts of an assigned HCA to the partition.
    pub(super) fn bind_hca(self: &Arc<Self>) {
        if let Some(hca) = &self.hca {
            hca.set_driver(self, HCA_VECTOR);
        }
    }

    /// Marks it as running here.
    pub(super) fn enter(&self) {
        *self.state.lock() = State::Running(local::cpu().index());
    }

    /// Marks it as no longer running, and ready to go on.
    pub(super) fn yield_now(&self) {
        *self.state.lock() = State::Ready;
    }

    /// Marks it as waiting for an interrupt. Returns `false` if there is one already, or if it must stop.
    pub(super) fn halt(&self) -> bool {
        let mut state = self.state.lock();
        let waits = !self.pending.any() && !self.is_stopping();
        if waits {
            *state = State::Waiting;
        }
        waits
    }

    /// Marks it as ended and releases its LHCA. Its timer must be cleared.
    pub(super) fn finish(&self, end: End) {
        *self.state.lock() = State::Ended(end);
        log::info!("partition {} {end}; it was left {} times", self.name, self.exits.all());
        if let Some(hca) = &self.hca {
            hca.reset();
        }
        if let Some(lhca) = &self.lhca {
            lhca.ended(end);
        }
    }

    /// Rings the doorbell of an object of its LHCA.
    #[inline(always)]
    pub(super) fn ring_doorbell(&self, handle: u64) -> Status {
        self.lhca.as_ref().map_or(Status::UNKNOWN_CALL, |lhca| lhca.ring_doorbell(handle))
    }

    /// Executes a hypercall of its LHCA.
    pub(super) fn call(&self, call: Call, arguments: [u64; 3]) -> Result<u64, Status> {
        self.lhca.as_ref().ok_or(Status::UNKNOWN_CALL)?.call(call, arguments)
    }

    /// Returns `true` if the partition must stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Returns `true` if an interrupt is pending. It is until it is injected at an entry: the processor only knows that
    /// it must leave the guest when the guest accepts interrupts, so no interrupt is lost with the processor's state.
    pub(super) fn has_interrupt(&self) -> bool {
        self.pending.any()
    }

    /// Returns `false` if no interrupt is pending, at less cost than [`Self::has_interrupt`].
    pub(super) fn may_have_interrupt(&self) -> bool {
        self.pending.maybe()
    }

    /// Takes the pending interrupt of the highest vector.
    pub(super) fn take_interrupt(&self) -> Option<u8> {
        self.pending.take()
    }
}

/// Copies as much of `text` as fits to the front of `field`.
fn fill(field: &mut [u8], text: &str) {
    let length = text.floor_char_boundary(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// Writes the first page tables.
fn write_tables(memory: &Memory) -> Result<(), BadAddress> {
    const TABLE: u64 = 0b11; // present, writable
    const GIB_PAGE: u64 = 0b1000_0011; // and large
    memory.write(TABLES[0], &(TABLES[1] | TABLE).to_le_bytes())?;
    for nth in 0..4_u64 {
        memory.write(TABLES[1] + 8 * nth, &(nth << 30 | GIB_PAGE).to_le_bytes())?;
    }
    Ok(())
}

const _: () = assert!(size_of::<InformationPage>() as u64 <= PAGE);
