//! A partition: what it owns, and what it is doing.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use lhca_contract::{Call, Exits, InformationPage, OwnHca, Status, VERSION};
use lhca_engine::Guest;
use spin::Mutex;
use zerocopy::IntoBytes;

use super::counts::Counts;
use super::image::{Image, ImageError};
use super::interrupts::Pending;
use super::memory::{BadAddress, Memory};
use super::own::Own;
use super::rings::Ring;
use super::{scheduler, timers};
use crate::carrier::{Lent, Loan};
use crate::clock;
use crate::cpu::{apic, local};
use crate::memory::paging::MapError;
use crate::memory::{Caching, PAGE};
use crate::svm::VirtualCpu;

/// Where a partition finds its information page, and its first page tables: two pages, of which the second maps the first
/// 4 GiB at their own addresses with 1 GiB pages.
const INFORMATION: u64 = 0x1000;
const TABLES: [u64; 2] = [0x2000, 0x3000];

/// Where a partition finds an HCA of its own, and how that interrupts it. The addresses are above all memory that such a
/// partition may have, and as round as the HCA's memory is large, so that it takes large pages.
const HCA_REGISTERS: u64 = 0xc000_0000;
const HCA_MEMORY: u64 = 0xc080_0000;
const HCA_VECTOR: u8 = 33;

/// What a partition is made from.
#[derive(Debug)]
pub struct Config<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the image may read: at most 256 bytes.
    pub arguments: &'a str,
    /// How often it was started, this time included.
    pub starts: u32,
    /// Its LHCA; none, and it has no hypercalls but those that need nothing but itself.
    pub lhca: Option<Arc<dyn Hypercalls>>,
    /// An HCA that it drives itself.
    pub hca: Option<Loan>,
}

/// The hypercalls of a partition's LHCA.
pub trait Hypercalls: Send + Sync + fmt::Debug {
    /// Does what the most frequent one asks for, [`Call::DOORBELL`]: takes what is posted to the object `handle`. What the
    /// partition is told.
    fn ring(&self, handle: u64) -> Status;

    /// Does what any hypercall asks for; its value.
    ///
    /// # Errors
    /// What the partition is told.
    fn call(&self, call: Call, arguments: [u64; 3]) -> Result<u64, Status>;

    /// The partition ended, and touches its LHCA no more.
    fn ended(&self, end: End);

    /// Nothing of the partition is left: its memory is wiped, and free.
    fn gone(&self);
}

/// Why a partition could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Its image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It has too little memory for its image.
    #[error("the partition's memory is too small for its image")]
    TooSmall(#[from] BadAddress),
    /// Its HCA cannot be mapped.
    #[error("the partition's HCA cannot be mapped, if it is not for memory of more than 3 GiB: {0}")]
    Hca(#[from] MapError),
}

/// How a partition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It said so, with this code.
    Exited(u64),
    /// It was stopped.
    Stopped,
    /// A triple fault.
    TripleFault,
    /// It halted with interrupts off, so that nothing can wake it.
    Halted,
    /// It needs memory that it does not have, at this address, to take an interrupt or exception.
    BadMemory(u64),
    /// It was left for a reason that nothing handles.
    Unhandled(u64),
    /// The processor refused to run it.
    Invalid,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Stopped => f.write_str("was stopped"),
            Self::TripleFault => f.write_str("crashed: triple fault"),
            Self::Halted => f.write_str("halted for good: interrupts are off"),
            Self::BadMemory(address) => write!(f, "crashed: no memory at {address:#x}"),
            Self::Unhandled(code) => write!(f, "crashed: exit {code:#x}"),
            Self::Invalid => f.write_str("crashed: the processor refuses its state"),
        }
    }
}

/// What a partition is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// It waits for a processor.
    Ready,
    /// It runs on this processor.
    Running(usize),
    /// It halted, and waits for an interrupt.
    Waiting,
    /// It is over.
    Ended(End),
}

/// A partition.
#[derive(Debug)]
pub struct Partition {
    name: String,
    /// Dropped before the memory: whoever hears that this is free may begin anew with the HCA.
    hca: Option<Loan>,
    own: Own,
    pending: Pending,
    /// When its timer is due, or was; [`super::timers`] has those that are to come.
    pub(super) timer: AtomicU64,
    stopping: AtomicBool,
    refusals: AtomicU32,
    pub(super) exits: Counts,
    activity: Mutex<Activity>,
    pub(super) body: Mutex<Body>,
    lhca: Option<Arc<dyn Hypercalls>>,
}

/// What only the processor that runs it touches.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) cpu: VirtualCpu,
    pub(super) console: String,
}

impl Partition {
    /// A partition in the memory `own`, of which what has not been wiped is wiped now, with `image` laid into it. It does not run
    /// yet; see [`scheduler::start`].
    ///
    /// # Errors
    /// A [`StartError`].
    pub fn new(config: Config<'_>, mut own: Own, image: &Image<'_>) -> Result<Arc<Self>, StartError> {
        while own.wipe() {}
        for segment in &image.segments {
            own.memory.write(segment.address, segment.bytes)?;
        }
        let (image_start, image_end) = image.extent();
        let mut page = InformationPage {
            magic: InformationPage::MAGIC,
            version: VERSION,
            starts: config.starts,
            memory: own.memory.size(),
            image_start,
            image_end,
            tsc_hz: clock::ticks_per_second(),
            name: [0; 64],
            arguments: [0; 256],
            hca: OwnHca::default(),
        };
        if let Some(hca) = &config.hca {
            own.map_device(HCA_REGISTERS, hca.registers, PAGE, Caching::Uncached)?;
            own.map_device(HCA_MEMORY, hca.memory, hca_contract::BAR2_SIZE as u64, Caching::Cached)?;
            let doorbell = HCA_REGISTERS + Lent::DOORBELL;
            page.hca = OwnHca { memory: HCA_MEMORY, doorbell, vector: HCA_VECTOR, reserved: [0; 7] };
        }
        fill(&mut page.name, config.name);
        fill(&mut page.arguments, config.arguments);
        own.memory.write(INFORMATION, page.as_bytes())?;
        write_tables(&own.memory)?;
        let mut cpu = VirtualCpu::new(image.entry, own.memory.size(), TABLES[0], own.nested_cr3());
        cpu.registers.rdi = INFORMATION;
        own.told = config.lhca.clone();
        Ok(Arc::new(Self {
            name: config.name.into(),
            own,
            hca: config.hca,
            pending: Pending::default(),
            timer: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            exits: Counts::default(),
            activity: Mutex::new(Activity::Waiting),
            body: Mutex::new(Body { cpu, console: String::new() }),
            lhca: config.lhca,
        }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.own.memory
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match *self.activity.lock() {
            Activity::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// How often it was left.
    #[must_use]
    pub fn exits(&self) -> Exits {
        self.exits.exits()
    }

    /// How many of its instructions and calls were refused.
    #[must_use]
    pub fn refusals(&self) -> u32 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Counts a refusal; saturates. Whether it is worth a line: only the first few are, because there may be many.
    pub(super) fn count_refusal(&self) -> bool {
        const LOGGED: u32 = 4;
        let count = |count: u32| Some(count.saturating_add(1));
        self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok_and(|before| before < LOGGED)
    }

    /// Interrupts it with `vector`, as soon as it takes interrupts. Wakes it if it halted.
    pub fn interrupt(self: &Arc<Self>, vector: u8) {
        self.pending.set(vector);
        self.nudge();
    }

    /// Ends it, wherever it is.
    pub fn stop(self: &Arc<Self>) {
        self.stopping.store(true, Ordering::Release);
        self.nudge();
    }

    /// Sees to it that what was noted is looked at.
    fn nudge(self: &Arc<Self>) {
        let mut activity = self.activity.lock();
        match *activity {
            Activity::Waiting => {
                *activity = Activity::Ready;
                drop(activity);
                scheduler::enqueue(self.clone());
            }
            // An interrupt, whatever it is, leaves the guest, and it is looked at before the guest goes on.
            Activity::Running(cpu) if cpu != local::cpu().index() => apic::wake(local::cpu_at(cpu).apic_id()),
            Activity::Running(_) | Activity::Ready | Activity::Ended(_) => {}
        }
    }

    /// Begins: from made, and never run, to waiting for a processor.
    pub(super) fn begin(self: &Arc<Self>) {
        if let Some(hca) = &self.hca {
            hca.interrupt(self, HCA_VECTOR);
        }
        self.nudge();
    }

    /// Marks it as running here.
    pub(super) fn enter(&self) {
        *self.activity.lock() = Activity::Running(local::cpu().index());
    }

    /// Marks it as no longer running, and ready to go on.
    pub(super) fn yield_now(&self) {
        *self.activity.lock() = Activity::Ready;
    }

    /// Marks it as waiting for an interrupt; `false` if there is one already, or it is to stop.
    pub(super) fn halt(&self) -> bool {
        let mut activity = self.activity.lock();
        let waits = !self.pending.any() && !self.stopping();
        if waits {
            *activity = Activity::Waiting;
        }
        waits
    }

    /// Marks it as over.
    pub(super) fn finish(self: &Arc<Self>, end: End) {
        *self.activity.lock() = Activity::Ended(end);
        log::info!("partition {} {end}; it was left {} times", self.name, self.exits.all());
        // Who has a timer is kept by it.
        timers::set(self, 0, 0);
        if let Some(hca) = &self.hca {
            hca.reset();
        }
        if let Some(lhca) = &self.lhca {
            lhca.ended(end);
        }
    }

    /// Rings for an object of its LHCA.
    #[inline(always)]
    pub(super) fn ring(&self, handle: u64) -> Status {
        self.lhca.as_ref().map_or(Status::UNKNOWN_CALL, |lhca| lhca.ring(handle))
    }

    /// Does what a hypercall asks of its LHCA.
    pub(super) fn call(&self, call: Call, arguments: [u64; 3]) -> Result<u64, Status> {
        self.lhca.as_ref().ok_or(Status::UNKNOWN_CALL)?.call(call, arguments)
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether an interrupt waits. It does until the guest is given it at an entry: what the processor is told is only that
    /// the guest is to be left when it takes interrupts, so nothing that the processor forgets loses an interrupt.
    pub(super) fn has_interrupt(&self) -> bool {
        self.pending.any()
    }

    pub(super) fn may_have_interrupt(&self) -> bool {
        self.pending.maybe()
    }

    pub(super) fn take_interrupt(&self) -> Option<u8> {
        self.pending.take()
    }
}

/// A partition, as the engine of its LHCA sees it.
#[derive(Clone, Debug)]
pub struct Shared(pub Arc<Partition>);

impl Guest for Shared {
    type Ring<E> = Ring<E>;

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        self.0.memory().read(address, into)
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        self.0.memory().write(address, from)
    }

    fn ring<E>(&self, address: u64, log_entries: u8) -> Result<Ring<E>, BadAddress> {
        Ring::new(&self.0, address, log_entries)
    }

    #[inline(always)]
    fn copy(&self, address: u64, other: &Self, to: u64, skipped: usize, length: usize) -> Result<(), BadAddress> {
        self.0.memory().copy(address, other.0.memory(), to, skipped, length)
    }

    fn interrupt(&self, vector: u8) {
        self.0.interrupt(vector);
    }
}

/// Puts as much of `text` as fits at the front of `field`.
fn fill(field: &mut [u8], text: &str) {
    let length = text.floor_char_boundary(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

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
