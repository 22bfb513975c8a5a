//! The hypervisor.
//!
//! It boots by PVH, and this is all that QEMU (7.2 or later) must be told:
//!
//! ```text
//! qemu-system-x86_64 -machine q35 -cpu max -smp 2 -m 256M -nodefaults -no-reboot -display none
//!     -kernel portico-kernel
//!     -serial file:console.log                                          COM1: what the kernel says
//!     -chardev socket,id=control,server=on,wait=off,path=control
//!     -serial chardev:control                                           COM2: the control channel
//!     -chardev socket,id=hca,path=hca
//!     -device ivshmem-doorbell,chardev=hca,vectors=5                    the HCA
//!     -chardev socket,id=lent,path=lent
//!     -device ivshmem-doorbell,chardev=lent,vectors=5,addr=0x10         one that the table gives to a partition
//!     -device isa-debug-exit,iobase=0xf4,iosize=4                       says how it ended
//!     -fw_cfg name=opt/org.portico/table,file=table                     the partition table
//!     -fw_cfg name=opt/org.portico/image/echo,file=echo                 an image that partitions run
//!     -fw_cfg name=opt/org.portico/cmdline,string=log=debug             words that steer it
//! ```
//!
//! As a flash image ([`portico_kernel::rom::pack`]) it boots without any firmware: `-bios portico-kernel.rom` instead of
//! `-kernel portico-kernel`.
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
    use portico_kernel::carrier::Carrier;
    use portico_kernel::clock;
    use portico_kernel::control::Control;
    use portico_kernel::cpu::local;
    use portico_kernel::fabric::{Fabric, Next};
    use portico_kernel::partition::scheduler;
    use portico_kernel::pci::Bus;
    use portico_kernel::tenants::{SharedFabric, Tenants, take_hcas};
    use spin::Mutex;
    use subnet::Time;

    portico_kernel::entry!(main);

    fn main(mut boot: Boot) -> ! {
        log::info!("portico {}", env!("CARGO_PKG_VERSION"));
        let (fabric, tenants) = begin(&mut boot).unwrap_or_else(|error| panic!("{error}"));
        run(&fabric, &tenants, Control::open(local::cpu()))
    }

    fn begin(boot: &mut Boot) -> Result<(SharedFabric, Tenants), Box<dyn Error>> {
        let fw_cfg = boot.fw_cfg.as_mut().ok_or("no fw_cfg device: QEMU's q35 has one")?;
        let table = fw_cfg.read_file(partition_table::FW_CFG_FILE)?;
        let table = Table::parse(&table)?;
        let mut bus = Bus::open()?;
        let hcas = take_hcas(&table, &mut bus);
        let carrier = Carrier::find(&bus, local::cpu())?;
        let hca = Hca::new(carrier.bar2, carrier.doorbell);
        let fabric = Arc::new(Mutex::new(Fabric::new(&table, hca, Time(clock::now()))?));
        let tenants = Tenants::start(&table, &fabric, fw_cfg, hcas);
        Ok((fabric, tenants))
    }

    /// Looks after the fabric on this processor, and runs partitions on the others.
    fn run(fabric: &SharedFabric, tenants: &Tenants, mut control: Option<Control>) -> ! {
        scheduler::run(|| {
            tenants.tend();
            let mut fabric = fabric.lock();
            if let Some(control) = &mut control {
                while let Some(line) = control.line() {
                    // A host that does not read its answer goes without.
                    let _ = fabric.command(Time(clock::now()), &line, control);
                }
            }
            match fabric.turn(Time(clock::now())) {
                Next::AtOnce => Some(0),
                Next::At(deadline) => Some(deadline.0),
            }
        })
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this runs on the bare machine only: build it for x86_64-target.json, or say `cargo portico run`");
    std::process::exit(2);
}
