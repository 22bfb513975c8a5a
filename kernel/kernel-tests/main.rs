//! The kernel that runs one kernel test, which its command line names: `test=NAME`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod control;
#[cfg(target_os = "none")]
mod guests;
#[cfg(target_os = "none")]
mod harness;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod partitions;
#[cfg(target_os = "none")]
mod pci;
#[cfg(target_os = "none")]
mod processors;

#[cfg(target_os = "none")]
portico_kernel::entry!(run);

#[cfg(target_os = "none")]
fn run(boot: portico_kernel::boot::Boot) -> ! {
    portico_kernel::testing::run(boot.command_line.get("test").unwrap_or_default())
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this runs on the bare machine only: say `cargo test -p portico-tests --test kernel`");
    std::process::exit(2);
}
