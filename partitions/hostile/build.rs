//! Hands the linker script to the linker when the image is built for a partition.

fn main() {
    let script = format!("{}/../image.ld", std::env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed={script}");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-T{script}");
    }
}
