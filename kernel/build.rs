//! Passes the linker script to the linker when the kernel is built for the bare machine.

fn main() {
    println!("cargo::rerun-if-changed=kernel.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        // Relative to the workspace, in which cargo runs the linker: the folder may be moved with its build products.
        println!("cargo::rustc-link-arg-bins=-Tkernel/kernel.ld");
    }
}
