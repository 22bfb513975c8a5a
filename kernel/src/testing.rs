//! Kernel tests: how one is declared, and how the kernel that carries them runs one.
//!
//! Each test stands twice in the kernel's ELF file: as a line of text in the section `.kernel_tests.list`, from which
//! the host learns its name, the machine that it wants and how it is to end, and as a [`Test`] in `.kernel_tests`. The
//! host starts one machine for each test, and judges by how that machine ended.

use core::fmt;

use crate::cpu::port;
use crate::exit::ExitCode;

/// A test as the kernel knows it.
#[derive(Clone, Copy)]
pub struct Test {
    /// Its name, by which the host asks for it.
    pub name: &'static str,
    /// Runs it and says how it went.
    pub run: fn() -> ExitCode,
}

/// How a test may say how it went: by returning at all, or with a reason to fail. It may also panic or fault.
pub trait Outcome {
    /// The code with which the machine ends; a failure's reason is logged.
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

/// Declares a function of no arguments as a kernel test. Without more it runs on one processor and is to end well;
/// `machine:` gives further options of QEMU, and `flash` for the kernel as a flash
/// image, `ends:` one of `Pass`, `Fail`, `Panic`, `Fault` and `Hang`, and `shows:`
/// a text that the serial log must have.
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

/// Runs the test of this name and ends the machine with what came of it.
pub fn run(name: &str) -> ! {
    let Some(test) = tests().iter().find(|test| test.name == name) else {
        log::error!("there is no kernel test {name:?}; they are listed in the ELF file's section .kernel_tests.list");
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
    // SAFETY: between the two symbols lie nothing but `Test`s, put there by `kernel_test!`.
    unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}
