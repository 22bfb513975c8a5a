//! Kernel tests: their declaration and their run.
//!
//! Each test stands twice in the kernel's ELF file: as a line of text in the section `.kernel_tests.list`, from which
//! the host learns its name, its machine and its expected end, and as a [`Test`] in `.kernel_tests`. The
//! host starts one machine for each test, and judges by how that machine ended.

use core::fmt;

use crate::cpu::port;
use crate::exit::ExitCode;

/// Kernel test in the kernel's registry.
#[derive(Clone, Copy)]
pub struct Test {
    /// Name on the command line.
    pub name: &'static str,
    /// Function that runs the test.
    pub run: fn() -> ExitCode,
}

/// Result of a test function: `()`, or a `Result` with a reason to fail. A test may also panic or fault.
pub trait Outcome {
    /// Returns the machine's exit code, and logs the reason of a failure.
    fn code(self) -> ExitCode;
}

impl Outcome for () {
    fn code(self) -> ExitCode {
        ExitCode::PASS
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn code(self) -> ExitCode {
        match self {
            Ok(()) => ExitCode::PASS,
            Err(reason) => {
                log::error!("failed: {reason}");
                ExitCode::FAIL
            }
        }
    }
}

/// Declares a function without arguments as a kernel test. By default it runs on one processor and must pass.
///
/// `machine:` adds options of QEMU, or `flash` for the kernel as a flash image. `ends:` is the expected end: `Pass`,
/// `Fail`, `Panic`, `Fault` or `Hang`. `shows:` is a text that the serial log must contain.
#[macro_export]
macro_rules! kernel_test {
    ($test:ident) => {
        $crate::kernel_test!($test, machine: "", ends: Pass, shows: "");
    };
    ($test:ident, machine: $machine:literal) => {
        $crate::kernel_test!($test, machine: $machine, ends: Pass, shows: "");
    };
    ($test:ident, ends: $ends:ident, shows: $shows:literal) => {
        $crate::kernel_test!($test, machine: "", ends: $ends, shows: $shows);
    };
    ($test:ident, machine: $machine:literal, ends: $ends:ident, shows: $shows:literal) => {
        #[allow(unsafe_code)] // the sections are the registry
        const _: () = {
            const LINE: &str = concat!(stringify!($test), "\t", $machine, "\t", stringify!($ends), "\t", $shows, "\n");
            #[used]
            #[unsafe(link_section = ".kernel_tests.list")]
            static LISTED: [u8; LINE.len()] = *LINE.as_bytes().first_chunk().unwrap();
            #[used]
            #[unsafe(link_section = ".kernel_tests")]
            static TEST: $crate::testing::Test = $crate::testing::Test {
                name: stringify!($test),
                run: || $crate::testing::Outcome::code($test()),
            };
        };
    };
}

/// Runs the test `name` and ends the machine with its exit code.
pub fn run(name: &str) -> ! {
    let Some(test) = tests().iter().find(|test| test.name == name) else {
        log::error!("cannot find the kernel test {name:?}: use a name from the ELF file's section .kernel_tests.list");
        port::exit(ExitCode::UNKNOWN);
    };
    log::info!("{name} started");
    let code = (test.run)();
    log::info!("{name}: {code:?}");
    port::exit(code)
}

#[allow(unsafe_code)] // the linker's view of the registry
fn tests() -> &'static [Test] {
    unsafe extern "C" {
        static kernel_tests_start: u8;
        static kernel_tests_end: u8;
    }
    let start = (&raw const kernel_tests_start).cast::<Test>();
    let end = (&raw const kernel_tests_end).cast::<Test>();
    // SAFETY: the two symbols frame the section, which holds only `Test`s of `kernel_test!`.
    unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}
