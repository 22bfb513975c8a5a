//! Partitions on this machine's processors and memory, each bound to its LHCA.

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

use crate::assignable_hca::{AssignableHca, HcaAssignment};
use crate::carrier::{CarrierError, DoorbellRegister};
use crate::cpu::{apic, local};
use crate::fabric::Fabric;
use crate::fw_cfg::{FwCfg, ReadError};
use crate::manager::{PartitionFactory, RunningPartition};
use crate::partition::image::Image;
use crate::partition::{Config, End, Hypercalls, Partition, PartitionGuest, PartitionMemory, scheduler, scrub_pending};
use crate::pci::{Bus, PciError};
use crate::{clock, memory};

/// The fabric, whose loop runs on the boot processor, and which every partition calls.
///
/// Lock order: the partition that runs on the processor, then the fabric, then a partition that is interrupted.
pub type SharedFabric = Arc<Mutex<Fabric<DoorbellRegister, PartitionGuest>>>;

/// HCAs for partitions.
pub type AssignableHcas = Vec<Arc<AssignableHca<Partition>>>;

/// Creates partitions of images that fw_cfg has.
pub struct MachinePartitions {
    fabric: SharedFabric,
    images: Images,
    hcas: AssignableHcas,
    ends: Arc<AtomicU32>,
}

/// Memory, and an HCA if one is assigned, for a partition that will be created.
#[derive(Debug)]
pub struct Reservation {
    memory: PartitionMemory,
    hca: Option<HcaAssignment<Partition>>,
}

/// A partition that the scheduler runs.
#[derive(Debug)]
pub struct ScheduledPartition {
    partition: Weak<Partition>,
    binding: Arc<LhcaBinding>,
}

/// The binding of a running partition to its LHCA.
struct LhcaBinding {
    fabric: SharedFabric,
    id: LhcaId,
    end: Once<End>,
    is_released: AtomicBool,
    ends: Arc<AtomicU32>,
}

/// Claims the HCAs for partitions. One that cannot be claimed is logged.
#[must_use]
pub fn claim_hcas(bus: &mut Bus) -> AssignableHcas {
    let claim = |device| match AssignableHca::claim(bus, device, local::cpu()) {
        Ok(hca) => Some(Arc::new(hca)),
        Err(CarrierError::Pci(PciError::NoDevice(_))) => None,
        Err(error) => {
            log::error!("cannot assign PCI device {device} to partitions: {error}");
            None
        }
    };
    (FIRST_HCA..FIRST_HCA + MAX_HCAS).filter_map(claim).collect()
}

impl MachinePartitions {
    /// Creates the factory of partitions whose LHCAs `fabric` has, and to which `hcas` may be assigned.
    #[must_use]
    pub fn new(fabric: SharedFabric, fw_cfg: FwCfg, hcas: AssignableHcas) -> Self {
        Self { fabric, hcas, images: Images { fw_cfg, files: Vec::new() }, ends: Arc::default() }
    }

    /// Assigns a free HCA.
    fn assign_hca(&self) -> Result<HcaAssignment<Partition>, String> {
        self.hcas.iter().find_map(AssignableHca::assign).ok_or_else(|| match self.hcas.len() {
            0 => "this machine has no HCAs that partitions could drive: it was given none when it began".to_string(),
            all => format!("others drive all {all} HCAs that this machine has for partitions: stop one of them"),
        })
    }
}

impl PartitionFactory for MachinePartitions {
    type Guest = PartitionGuest;
    type Running = ScheduledPartition;
    type Reservation = Reservation;

    fn reserve(&mut self, row: &Lhca) -> Result<Reservation, String> {
        let program = row.partition().ok_or("it has no image")?;
        Image::elf(self.images.get(program.image)?, program.bytes()).map_err(|error| error.to_string())?;
        let hca = (row.hca() == AssignedHca::Present).then(|| self.assign_hca()).transpose()?;
        let memory = PartitionMemory::new(program.bytes()).ok_or_else(|| {
            let free = self.free_memory() >> 20;
            format!(
                "cannot allocate {} MiB in one piece, {free} MiB are free in all: ask for less, or boot with more memory",
                program.memory
            )
        })?;
        Ok(Reservation { memory, hca })
    }

    fn scrub(&mut self, reservation: &mut Reservation) -> bool {
        reservation.memory.scrub() || reservation.hca.as_mut().is_some_and(HcaAssignment::scrub)
    }

    fn create(
        &mut self,
        reservation: Reservation,
        row: &Lhca,
        id: LhcaId,
        starts: u32,
    ) -> Result<(PartitionGuest, ScheduledPartition), String> {
        let program = row.partition().ok_or("it has no image")?;
        let Reservation { memory, hca } = reservation;
        let image = Image::elf(self.images.get(program.image)?, program.bytes()).map_err(|error| error.to_string())?;
        let (fabric, ends) = (self.fabric.clone(), self.ends.clone());
        let binding = Arc::new(LhcaBinding { fabric, id, end: Once::new(), is_released: AtomicBool::new(false), ends });
        let (name, lhca) = (row.name().text(), binding.clone());
        let config = Config { name, arguments: program.arguments, starts, lhca: Some(lhca), hca };
        let partition = Partition::new(config, memory, &image).map_err(|error| error.to_string())?;
        let running = ScheduledPartition { partition: Arc::downgrade(&partition), binding };
        Ok((PartitionGuest(partition), running))
    }

    fn scrub_pending(&mut self) -> bool {
        scrub_pending()
    }

    fn ends(&self) -> u32 {
        self.ends.load(Ordering::Acquire)
    }

    fn free_memory(&self) -> u64 {
        memory::available()
    }
}

impl RunningPartition for ScheduledPartition {
    fn start(&self) {
        if let Some(partition) = self.partition.upgrade() {
            scheduler::start(&partition);
        }
    }

    fn stop(&self) {
        if let Some(partition) = self.partition.upgrade() {
            scheduler::stop(&partition);
        }
    }

    fn end(&self) -> Option<String> {
        let is_released = self.binding.is_released.load(Ordering::Acquire);
        is_released.then(|| self.binding.end.get().map_or_else(String::new, End::to_string))
    }

    fn exits(&self) -> Option<Exits> {
        Some(self.partition.upgrade()?.exits())
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        self.partition.upgrade().ok_or(BadAddress)?.memory().read(address, into)
    }
}

impl LhcaBinding {
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

impl Hypercalls for LhcaBinding {
    fn ring_doorbell(&self, handle: u64) -> Status {
        let is_done = self.pass(handle);
        if is_done { Status::OK } else { self.call(Call::DOORBELL, [handle, 0, 0]).err().unwrap_or(Status::OK) }
    }

    fn call(&self, call: Call, arguments: [u64; 3]) -> Result<u64, Status> {
        let (result, needs_loop) = self.fabric.lock().call(Time(clock::now()), self.id, call, arguments);
        if needs_loop {
            wake_loop();
        }
        result
    }

    fn ended(&self, end: End) {
        self.end.call_once(|| end);
        let guest = self.fabric.lock().detach(Time(clock::now()), self.id);
        // Without the lock: if this is the last reference, the partition is dropped now.
        drop(guest);
        wake_loop();
    }

    fn released(&self) {
        self.is_released.store(true, Ordering::Release);
        self.ends.fetch_add(1, Ordering::Release);
        wake_loop();
    }
}

impl fmt::Debug for LhcaBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LhcaBinding").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Wakes the boot processor for a turn of the fabric.
fn wake_loop() {
    apic::wake(local::cpu_at(0).apic_id());
}

/// Image files, each read once.
struct Images {
    fw_cfg: FwCfg,
    files: Vec<(ImageName, Vec<u8>)>,
}

impl Images {
    /// Returns the file of an image.
    ///
    /// # Errors
    /// The reason, for people.
    fn get(&mut self, name: &ImageName) -> Result<&[u8], String> {
        let index = match self.files.iter().position(|(other, _)| other == name) {
            Some(index) => index,
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
        Ok(&self.files[index].1)
    }
}
