//! The tests that a kernel carries, listed from its ELF file.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

use crate::machine::Verdict;

/// The section that lists them: a line for each test, its fields separated by tabs.
const SECTION: &str = ".kernel_tests.list";

/// A kernel test as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelTest {
    /// Name of the test.
    pub(crate) name: String,
    /// QEMU's arguments beyond the common ones.
    pub(crate) machine: Vec<String>,
    /// Expected end of the machine.
    pub(crate) ends: Verdict,
    /// Text that the serial log must contain; may be empty.
    pub(crate) shows: String,
}

/// Lists the tests of the kernel in this ELF file.
///
/// # Errors
/// The file is not an ELF file with such a list.
pub(crate) fn list(kernel: &Path) -> Result<Vec<KernelTest>> {
    let file = std::fs::read(kernel).with_context(|| format!("reading the test kernel {}", kernel.display()))?;
    let elf =
        object::File::parse(&*file).with_context(|| format!("cannot parse {} as an ELF file", kernel.display()))?;
    let section = elf.section_by_name(SECTION).with_context(|| format!("{} has no {SECTION}", kernel.display()))?;
    let text = std::str::from_utf8(section.data()?).with_context(|| format!("cannot read {SECTION} as UTF-8"))?;
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Result<KernelTest> {
    let [name, machine, ends, shows] = line.split('\t').collect::<Vec<_>>()[..] else {
        bail!("{SECTION} has the line {line:?}, which is not four fields");
    };
    Ok(KernelTest {
        name: name.to_owned(),
        machine: machine.split_ascii_whitespace().map(str::to_owned).collect(),
        ends: Verdict::named(ends).with_context(|| format!("cannot find the verdict {ends:?} of test {name}"))?,
        shows: shows.to_owned(),
    })
}
