//! Kernel tests: each runs in a machine of its own under QEMU, and ends it with a code that says how it went.

mod build;
mod list;
mod machine;

use libtest_mimic::{Arguments, Trial};

/// The most machines at a time, if the command line does not say: two processors is what a small host has.
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
