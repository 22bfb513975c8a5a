//! Partitions and the fabric, joined: each partition of the table begins with its LHCA, and gives it back when it ends.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use lhca_contract::{Call, Status};
use lhca_engine::{Policy, Qp0};
use partition_table::{ImageName, Lhca, Program, Table};
use spin::Mutex;
use subnet::{LhcaId, Time};

use crate::carrier::{Bell, Lent};
use crate::clock;
use crate::cpu::{apic, local};
use crate::fabric::Fabric;
use crate::fw_cfg::FwCfg;
use crate::partition::image::Image;
use crate::partition::{Config, Hypercalls, Partition, Shared, scheduler};
use crate::pci::Bus;

/// The fabric, whose loop runs on the boot processor, and which every partition calls.
pub type SharedFabric = Arc<Mutex<Fabric<Bell, Shared>>>;

/// The partitions.
#[derive(Debug)]
pub struct Tenants {
    tenants: Vec<Arc<Tenant>>,
    hcas: Hcas,
}

/// HCAs that partitions drive themselves, by the number of the partition's row in the table.
pub type Hcas = Vec<Option<Arc<Lent>>>;

/// Takes from the bus the HCAs that `table` gives to partitions. One that cannot be had is told of.
#[must_use]
pub fn take_hcas(table: &Table<'_>, bus: &mut Bus) -> Hcas {
    let mut take = |lhca: &Lhca| {
        let taken = Lent::take(bus, lhca.hca, local::cpu());
        taken.inspect_err(|error| log::error!("partition {} has no HCA: {error}", lhca.name)).ok().map(Arc::new)
    };
    table.lhcas().iter().map(|lhca| if lhca.hca == 0 { None } else { take(lhca) }).collect()
}

/// A partition's LHCA, as the partition reaches it.
struct Tenant {
    fabric: SharedFabric,
    id: LhcaId,
    ended: AtomicBool,
}

impl Tenants {
    /// Starts each partition of `table`, whose LHCAs `fabric` has. One that cannot start is told of, and left.
    pub fn start(table: &Table<'_>, fabric: &SharedFabric, fw_cfg: &mut FwCfg, hcas: Hcas) -> Self {
        let mut images = Images { fw_cfg, files: Vec::new() };
        let mut tenants = Vec::new();
        for ((id, lhca), hca) in (0..).map(LhcaId).zip(table.lhcas()).zip(&hcas) {
            let Some(program) = lhca.partition() else { continue };
            let tenant = Arc::new(Tenant { fabric: fabric.clone(), id, ended: AtomicBool::new(false) });
            match images.get(program.image).and_then(|file| begin(lhca, &tenant, file, &program, hca.as_ref())) {
                Ok(()) => tenants.push(tenant),
                Err(error) => log::error!("partition {} cannot start: {error}", lhca.name),
            }
        }
        Self { tenants, hcas }
    }

    /// Hands on interrupts of HCAs that partitions drive, and takes the LHCAs of those that ended.
    pub fn tend(&self) {
        self.hcas.iter().flatten().for_each(|hca| hca.tend());
        for tenant in &self.tenants {
            if tenant.ended.load(Ordering::Relaxed) && tenant.ended.swap(false, Ordering::Acquire) {
                // Its memory is wiped after the fabric is free again.
                let gone = tenant.fabric.lock().detach(Time(clock::now()), tenant.id);
                drop(gone);
            }
        }
    }
}

fn begin(
    lhca: &Lhca,
    tenant: &Arc<Tenant>,
    file: &[u8],
    program: &Program<'_>,
    hca: Option<&Arc<Lent>>,
) -> Result<(), Box<dyn Error>> {
    let memory = program.bytes();
    let image = Image::elf(file, memory)?;
    let name = lhca.name.text();
    let partition = Partition::new(
        &Config { name, memory, arguments: program.arguments, starts: 1, lhca: Some(tenant.clone()), hca },
        &image,
    )?;
    let policy = Policy { qp0: qp0(lhca.qp0), ..Policy::default() };
    tenant.fabric.lock().attach(Time(clock::now()), tenant.id, Shared(partition.clone()), policy);
    scheduler::start(&partition);
    Ok(())
}

fn qp0(qp0: partition_table::Qp0) -> Qp0 {
    match qp0 {
        partition_table::Qp0::QUERY => Qp0::Query,
        partition_table::Qp0::MANAGER => Qp0::Manager,
        _ => Qp0::None,
    }
}

impl Hypercalls for Tenant {
    fn call(&self, call: Call, arguments: [u64; 3]) -> Result<u64, Status> {
        let (result, loop_wanted) = self.fabric.lock().call(Time(clock::now()), self.id, call, arguments);
        if loop_wanted {
            wake_loop();
        }
        result
    }

    fn ended(&self) {
        self.ended.store(true, Ordering::Release);
        wake_loop();
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Has the boot processor look after the fabric.
fn wake_loop() {
    apic::wake(local::cpu_at(0).apic_id());
}

/// Image files, each read once.
struct Images<'a> {
    fw_cfg: &'a mut FwCfg,
    files: Vec<(ImageName, Vec<u8>)>,
}

impl Images<'_> {
    fn get(&mut self, name: &ImageName) -> Result<&[u8], Box<dyn Error>> {
        let place = match self.files.iter().position(|(other, _)| other == name) {
            Some(place) => place,
            None => {
                let file = self.fw_cfg.read_file(&(String::from(ImageName::FW_CFG_FOLDER) + name.text()))?;
                self.files.push((*name, file));
                self.files.len() - 1
            }
        };
        Ok(&self.files[place].1)
    }
}
