//! Boot: from the first instruction to a machine with memory, processors and a clock.

use alloc::vec::Vec;

use zerocopy::FromBytes;

use crate::command_line::CommandLine;
use crate::fw_cfg::{self, FwCfg};
use crate::memory::map::{FirmwareEntry, Map};
use crate::{console, cpu, memory};

mod entry;
mod rom;
mod start_info;

use start_info::StartInfo;

/// Declares the entry function of a kernel binary, `fn(Boot) -> !`. It runs on the boot processor.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[allow(unsafe_code)] // the library calls its binary by this symbol
        #[unsafe(no_mangle)]
        fn portico_main(boot: $crate::boot::Boot) -> ! {
            $main(boot)
        }
    };
}

#[allow(unsafe_code)] // see `entry!`
unsafe extern "Rust" {
    safe fn portico_main(boot: Boot) -> !;
}

/// Inputs of the kernel.
#[derive(Debug)]
pub struct Boot {
    /// Command line.
    pub command_line: CommandLine,
    /// Firmware configuration device, if the machine has one.
    pub fw_cfg: Option<FwCfg>,
}

/// Number of bytes read from `etc/e820` at most.
const E820_BYTES: usize = 64 * size_of::<FirmwareEntry>();

extern "C" fn start(start_info: u32) -> ! {
    console::init();
    cpu::init(0);
    let start_info = StartInfo::at(start_info);
    let mut fw_cfg = FwCfg::open();
    memory::init(memory_map(start_info.as_ref(), fw_cfg.as_mut()));
    cpu::start(fw_cfg.as_mut().map_or(1, |fw_cfg| usize::from(fw_cfg.processors())));
    let command_line = command_line(start_info.as_ref(), fw_cfg.as_mut());
    if let Some(level) = command_line.get("log").and_then(|level| level.parse().ok()) {
        log::set_max_level(level);
    }
    portico_main(Boot { command_line, fw_cfg })
}

/// Returns the loader's memory map, or without a loader the one that fw_cfg has for firmware.
fn memory_map(start_info: Option<&StartInfo>, fw_cfg: Option<&mut FwCfg>) -> Map {
    if let Some(start_info) = start_info {
        return Map::new(start_info.memory_map());
    }
    let mut bytes = [0; E820_BYTES];
    let read = fw_cfg.map(|fw_cfg| fw_cfg.read_start(fw_cfg::E820, &mut bytes));
    let Some(Ok(read)) = read else {
        panic!("cannot find a memory map: neither the PVH loader nor fw_cfg's {} has one", fw_cfg::E820)
    };
    let whole = read.len() - read.len() % size_of::<FirmwareEntry>();
    let entries = <[FirmwareEntry]>::ref_from_bytes(&read[..whole]).unwrap_or(&[]);
    Map::new(entries.iter().map(FirmwareEntry::decode))
}

/// Returns the command line of fw_cfg, or else the loader's.
fn command_line(start_info: Option<&StartInfo>, fw_cfg: Option<&mut FwCfg>) -> CommandLine {
    let file = fw_cfg.and_then(|fw_cfg| fw_cfg.read_file(fw_cfg::COMMAND_LINE).ok());
    let bytes = file.unwrap_or_else(|| start_info.map_or(Vec::new(), |start_info| start_info.command_line().to_vec()));
    CommandLine::new(&bytes)
}
