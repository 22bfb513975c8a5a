//! The hypervisor.
//!
//! The hypervisor boots by PVH. QEMU (7.2 or later) needs these options:
//!
//! ```text
//! qemu-system-x86_64 -machine q35 -cpu max -smp 2 -m 256M -nodefaults -no-reboot -display none
//!     -kernel portico-kernel
//!     -serial file:console.log                                          COM1: what the kernel says
//!     -chardev socket,id=control,server=on,wait=off,path=control
//!     -serial chardev:control                                           COM2: the control line
//!     -chardev socket,id=hca,path=hca
//!     -device ivshmem-doorbell,chardev=hca,vectors=5                    the HCA
//!     -chardev socket,id=lent,path=lent
//!     -device ivshmem-doorbell,chardev=lent,vectors=5,addr=0x10         one for a partition to drive
//!     -device isa-debug-exit,iobase=0xf4,iosize=4                       says how it ended
//!     -fw_cfg name=opt/org.portico/table,file=table                     the partition table
//!     -fw_cfg name=opt/org.portico/image/echo,file=echo                 an image that partitions run
//!     -fw_cfg name=opt/org.portico/cmdline,string=log=debug             words that steer it
//! ```
//!
//! As a flash image ([`portico_kernel::rom::pack`]) it boots without any firmware: `-bios portico-kernel.rom` instead
//! of `-kernel portico-kernel`.
//!
//! Words of the command line: `log=` one of `off`, `error`, `warn`, `info`, `debug`, `trace`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod bare {
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use core::error::Error;

    use hca_driver::Hca;
    use partition_table::Table;
    use portico_kernel::boot::Boot;
    use portico_kernel::carrier::{Carrier, DoorbellRegister};
    use portico_kernel::clock;
    use portico_kernel::control::{Control, Output};
    use portico_kernel::cpu::{self, local};
    use portico_kernel::fabric::{Fabric, Next};
    use portico_kernel::manager::{PartitionManager, write_answer};
    use portico_kernel::partition::scheduler;
    use portico_kernel::partition_factory::{AssignableHcas, MachinePartitions, SharedFabric, claim_hcas};
    use portico_kernel::pci::Bus;
    use spin::Mutex;
    use subnet::Time;

    portico_kernel::entry!(main);

    type Manager = PartitionManager<DoorbellRegister, MachinePartitions>;

    fn main(boot: Boot) -> ! {
        log::info!("portico {}", env!("CARGO_PKG_VERSION"));
        let (fabric, manager, hcas) = begin(boot).unwrap_or_else(|error| panic!("{error}"));
        run(&fabric, manager, &hcas, Control::open(local::cpu()))
    }

    fn begin(boot: Boot) -> Result<(SharedFabric, Manager, AssignableHcas), Box<dyn Error>> {
        let mut fw_cfg = boot.fw_cfg.ok_or("no fw_cfg device: QEMU's q35 has one")?;
        let table = fw_cfg.read_file(partition_table::FW_CFG_FILE)?;
        let table = Table::parse(&table)?;
        let mut bus = Bus::open()?;
        let hcas = claim_hcas(&mut bus);
        let carrier = Carrier::find(&bus, local::cpu())?;
        let hca = Hca::new(carrier.bar2, carrier.doorbell);
        let now = Time(clock::now());
        let fabric = Arc::new(Mutex::new(Fabric::new(&table, hca, now)?));
        if cpu::online() > 1 {
            fabric.lock().enable_polling();
        }
        let partitions = MachinePartitions::new(fabric.clone(), fw_cfg, hcas.clone());
        let manager = PartitionManager::new(now, &table, partitions, fabric.clone());
        Ok((fabric, manager, hcas))
    }

    /// Looks after the fabric on this processor, and runs partitions on the others.
    fn run(fabric: &SharedFabric, mut manager: Manager, hcas: &AssignableHcas, mut control: Option<Control>) -> ! {
        scheduler::run(|| {
            for (partition, vector) in hcas.iter().filter_map(|hca| hca.take_interrupt()) {
                scheduler::interrupt(&partition, vector);
            }
            let outcome = manager.poll(Time(clock::now()));
            if let Some(control) = &mut control {
                // A host that does not read its answers goes without.
                let _ = outcome.map(|outcome| write_answer(&outcome, control));
                while !manager.is_waiting()
                    && let Some(line) = control.line()
                {
                    let _ = manager.handle_request(Time(clock::now()), &line, control);
                }
            }
            // A long answer goes in pieces, between which the fabric has its turn.
            let has_more = control.as_mut().is_some_and(|control| control.send() == Output::Pending);
            match fabric.lock().turn(Time(clock::now())) {
                Next::At(deadline) if !has_more && !manager.is_busy() => Some(deadline.0),
                Next::At(_) | Next::AtOnce => Some(0),
            }
        })
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this runs on the bare machine only: build it for x86_64-target.json, or say `cargo portico run`");
    std::process::exit(2);
}
