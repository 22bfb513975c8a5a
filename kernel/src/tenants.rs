//! Partitions that run on this machine's processors, each with its LHCA.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use lhca_contract::{Call, Exits, Status};
use lhca_engine::{BadAddress, Doorbell};
use partition_table::{AssignedHca, FIRST_HCA, ImageName, Lhca, MAX_HCAS};
use spin::{Mutex, Once};
use subnet::{LhcaId, Time};

use crate::carrier::{Bell, CarrierError, Lent, Loan};
use crate::cpu::{apic, local};
use crate::fabric::Fabric;
use crate::fw_cfg::{FwCfg, ReadError};
use crate::life::{Run, Runner};
use crate::partition::image::Image;
use crate::partition::{Config, End, Hypercalls, Own, Partition, Shared, scheduler, tidy};
use crate::pci::{Bus, PciError};
use crate::{clock, memory};

/// The fabric, whose loop runs on the boot processor, and which every partition calls.
///
/// Who holds its lock may interrupt partitions, and no more; nobody waits for it who holds another lock than that of the
/// partition that it runs.
pub type SharedFabric = Arc<Mutex<Fabric<Bell, Shared>>>;

/// Makes partitions of images that fw_cfg has.
pub struct Tenants {
    fabric: SharedFabric,
    images: Images,
    hcas: Hcas,
    over: Arc<AtomicU32>,
}

/// HCAs that partitions drive themselves, one after another.
pub type Hcas = Vec<Arc<Lent>>;

/// Takes from the bus the HCAs that partitions drive. One that cannot be had is told of.
#[must_use]
pub fn take_hcas(bus: &mut Bus) -> Hcas {
    let take = |device| match Lent::take(bus, device, local::cpu()) {
        Ok(hca) => Some(Arc::new(hca)),
        Err(CarrierError::Pci(PciError::NoDevice(_))) => None,
        Err(error) => {
            log::error!("PCI device {device} is no HCA for partitions: {error}");
            None
        }
    };
    (FIRST_HCA..FIRST_HCA + MAX_HCAS).filter_map(take).collect()
}

/// What a partition is to be made in: its memory, and an HCA if it drives one.
#[derive(Debug)]
pub struct Blank {
    own: Own,
    hca: Option<Loan>,
}

/// A partition that the scheduler runs.
#[derive(Debug)]
pub struct Scheduled {
    partition: Weak<Partition>,
    lease: Arc<Lease>,
}

/// A partition's LHCA, as the partition reaches it, as long as it runs.
struct Lease {
    fabric: SharedFabric,
    id: LhcaId,
    end: Once<End>,
    is_over: AtomicBool,
    over: Arc<AtomicU32>,
}

impl Tenants {
    /// Makes partitions, whose LHCAs `fabric` has, and which `hcas` are for.
    #[must_use]
    pub fn new(fabric: SharedFabric, fw_cfg: FwCfg, hcas: Hcas) -> Self {
        Self { fabric, hcas, images: Images { fw_cfg, files: Vec::new() }, over: Arc::default() }
    }
}

impl Tenants {
    /// An HCA that nobody has.
    fn free_hca(&self) -> Result<Loan, String> {
        self.hcas.iter().find_map(Lent::lend).ok_or_else(|| match self.hcas.len() {
            0 => "this machine has no HCAs that partitions could drive: it was given none when it began".to_string(),
            all => format!("others drive all {all} HCAs that this machine has for partitions: stop one of them"),
        })
    }
}

impl Runner for Tenants {
    type Guest = Shared;
    type Run = Scheduled;

    type Blank = Blank;

    fn prepare(&mut self, row: &Lhca) -> Result<Blank, String> {
        let program = row.partition().ok_or("it has no image")?;
        Image::elf(self.images.get(program.image)?, program.bytes()).map_err(|error| error.to_string())?;
        let hca = (row.hca() == AssignedHca::Present).then(|| self.free_hca()).transpose()?;
        let bytes = program.bytes();
        let own = Own::new(bytes);
        let own = own.ok_or_else(|| {
            let free = self.free_memory() >> 20;
            format!(
                "there are no {} MiB of memory in one piece, and {free} MiB in all: ask for less, or boot with more",
                program.memory
            )
        })?;
        Ok(Blank { own, hca })
    }

    fn wipe(&mut self, blank: &mut Blank) -> bool {
        blank.own.wipe() || blank.hca.as_mut().is_some_and(Loan::wipe)
    }

    fn make(&mut self, blank: Blank, row: &Lhca, id: LhcaId, starts: u32) -> Result<(Shared, Scheduled), String> {
        let program = row.partition().ok_or("it has no image")?;
        let Blank { own, hca } = blank;
        let image = Image::elf(self.images.get(program.image)?, program.bytes()).map_err(|error| error.to_string())?;
        let (fabric, over) = (self.fabric.clone(), self.over.clone());
        let lease = Arc::new(Lease { fabric, id, end: Once::new(), is_over: AtomicBool::new(false), over });
        let config =
            Config { name: row.name().text(), arguments: program.arguments, starts, lhca: Some(lease.clone()), hca };
        let partition = Partition::new(config, own, &image).map_err(|error| error.to_string())?;
        Ok((Shared(partition.clone()), Scheduled { partition: Arc::downgrade(&partition), lease }))
    }

    fn tidy(&mut self) -> bool {
        tidy()
    }

    fn over(&self) -> u32 {
        self.over.load(Ordering::Acquire)
    }

    fn free_memory(&self) -> u64 {
        memory::available()
    }
}

impl Run for Scheduled {
    fn begin(&self) {
        if let Some(partition) = self.partition.upgrade() {
            scheduler::start(&partition);
        }
    }

    fn stop(&self) {
        if let Some(partition) = self.partition.upgrade() {
            partition.stop();
        }
    }

    fn end(&self) -> Option<String> {
        self.lease
            .is_over
            .load(Ordering::Acquire)
            .then(|| self.lease.end.get().map_or_else(String::new, End::to_string))
    }

    fn exits(&self) -> Option<Exits> {
        Some(self.partition.upgrade()?.exits())
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        self.partition.upgrade().ok_or(BadAddress)?.memory().read(address, into)
    }
}

impl Lease {
    /// Passes the requests of a queue pair on the fast path. Returns `true` if the doorbell is done with that.
    #[inline(always)]
    fn pass(&self, handle: u64) -> bool {
        let doorbell = self.fabric.lock().pass(Time(clock::now()), self.id, handle);
        if doorbell == Doorbell::DoneAndPending {
            wake_loop();
        }
        doorbell != Doorbell::Unfinished
    }
}

impl Hypercalls for Lease {
    fn ring(&self, handle: u64) -> Status {
        let passed = self.pass(handle);
        if passed { Status::OK } else { self.call(Call::DOORBELL, [handle, 0, 0]).err().unwrap_or(Status::OK) }
    }

    fn call(&self, call: Call, arguments: [u64; 3]) -> Result<u64, Status> {
        let (result, loop_wanted) = self.fabric.lock().call(Time(clock::now()), self.id, call, arguments);
        if loop_wanted {
            wake_loop();
        }
        result
    }

    fn ended(&self, end: End) {
        self.end.call_once(|| end);
        let gone = self.fabric.lock().detach(Time(clock::now()), self.id);
        // Here, and not under the lock: if nobody else has the partition, it is taken apart now.
        drop(gone);
        wake_loop();
    }

    fn gone(&self) {
        self.is_over.store(true, Ordering::Release);
        self.over.fetch_add(1, Ordering::Release);
        wake_loop();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Has the boot processor look after the fabric.
fn wake_loop() {
    apic::wake(local::cpu_at(0).apic_id());
}

/// Image files, each read once.
struct Images {
    fw_cfg: FwCfg,
    files: Vec<(ImageName, Vec<u8>)>,
}

impl Images {
    fn get(&mut self, name: &ImageName) -> Result<&[u8], String> {
        let place = match self.files.iter().position(|(other, _)| other == name) {
            Some(place) => place,
            None => {
                let path = String::from(ImageName::FW_CFG_FOLDER) + name.text();
                let file = self.fw_cfg.read_file(&path).map_err(|error| match error {
                    ReadError::Missing => format!("the machine was not given an image {name} when it began"),
                    error => format!("image {name}: {error}"),
                })?;
                self.files.push((*name, file));
                self.files.len() - 1
            }
        };
        Ok(&self.files[place].1)
    }
}
