//! The hypervisor.
//!
//! It boots by PVH. This is all that QEMU (7.2 or later) must be told:
//!
//! ```text
//! qemu-system-x86_64 -machine q35 -cpu max -smp 2 -m 256M -nodefaults -display none -no-reboot
//!     -kernel portico-kernel -serial file:console.log -device isa-debug-exit,iobase=0xf4,iosize=4
//! ```
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bare {
    use portico_kernel::boot::Boot;
    use portico_kernel::cpu::port;
    use portico_kernel::exit::ExitCode;

    portico_kernel::entry!(main);

    fn main(boot: Boot) -> ! {
        log::info!("portico {} started", env!("CARGO_PKG_VERSION"));
        log::info!("{:?}", boot.command_line);
        port::exit(ExitCode::PASS)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this runs on the bare machine only: build it for x86_64-target.json, or say `cargo portico run`");
    std::process::exit(2);
}
