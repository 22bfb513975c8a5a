//! Hands the linker script to the linker when the kernel is built for the bare machine.

fn main() {
    println!("cargo::rerun-if-changed=kernel.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        // As seen from the workspace, where cargo runs the linker: the sources may be moved with what was built of them.
        println!("cargo::rustc-link-arg-bins=-Tkernel/kernel.ld");
    }
}
