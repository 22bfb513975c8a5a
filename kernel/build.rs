//! Hands the linker script to the linker when the kernel is built for the bare machine.

fn main() {
    let script = format!("{}/kernel.ld", std::env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed={script}");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-T{script}");
    }
}
