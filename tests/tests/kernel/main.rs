//! Kernel tests: each runs in a machine of its own under QEMU, and ends it with an exit code.

mod build;
mod list;
mod machine;

use libtest_mimic::{Arguments, Trial};

/// Default limit of concurrent machines: a small host has two processors.
const MACHINES: usize = 2;

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(MACHINES);
    let elf = build::test_kernel()?;
    let trials = list::list(&elf)?.into_iter().map(|test| {
        let elf = elf.clone();
        Trial::test(test.name.clone(), move || machine::run(&elf, &test).map_err(|error| format!("{error:#}").into()))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
