//! Tests of partitions: their run, their end, and their isolation.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use lhca_contract::VERSION;
use portico_kernel::cpu::port;
use portico_kernel::exit::ExitCode;
use portico_kernel::partition::image::Image;
use portico_kernel::partition::{Config, End, Partition, PartitionMemory, scheduler, scrub_pending};
use portico_kernel::{clock, kernel_test, memory};

use crate::guests::{self, basic, interrupts, privilege, registers};

const MEMORY: u64 = 2 << 20;
/// Addresses of a guest's number and its counter.
const NUMBER: u64 = 0x8000;
const COUNT: u64 = 0x8008;

fn partition(image: fn(u64) -> Image<'static>, number: u64) -> Arc<Partition> {
    let name = format!("p{number}");
    let partition = partition_of(MEMORY, &name, &image(MEMORY));
    partition.memory().write(NUMBER, &number.to_le_bytes()).expect("it has the page");
    partition
}

fn partition_of(size: u64, name: &str, image: &Image<'_>) -> Arc<Partition> {
    let config = Config { name, arguments: "", starts: 1, lhca: None, hca: None };
    let memory = PartitionMemory::new(size).expect("memory for a partition");
    Partition::new(config, memory, image).expect("an image that fits")
}

fn number_at(partition: &Partition, address: u64) -> u64 {
    let mut bytes = [0; 8];
    partition.memory().read(address, &mut bytes).expect("it has the page");
    u64::from_le_bytes(bytes)
}

/// Runs partitions until `done` returns `true`, and passes the test.
fn run_until(mut done: impl FnMut() -> bool) -> ! {
    scheduler::run(|| {
        if done() {
            log::info!("done");
            port::exit(ExitCode::PASS);
        }
        Some(clock::now() + 1_000_000)
    })
}

/// Runs one partition until its end, and compares it with `expected`.
fn ends(image: fn(u64) -> Image<'static>, number: u64, expected: End) -> ! {
    let partition = partition(image, number);
    scheduler::start(&partition);
    run_until(|| partition.end().inspect(|end| assert_eq!(*end, expected)).is_some())
}

fn partition_exits_with_its_code() {
    ends(basic::exits, 0, End::Exited(42));
}
kernel_test!(partition_exits_with_its_code);

fn console_line_is_logged_with_the_name() {
    ends(basic::speaks, 7, End::Exited(23));
}
kernel_test!(console_line_is_logged_with_the_name, ends: Pass, shows: "p7: hello from a partition");

fn information_page_has_magic_version_and_size() {
    ends(
        basic::reads_information,
        0,
        End::Exited(u64::from_le_bytes(*b"PorticoI") ^ (1 << 32 | u64::from(VERSION)) ^ MEMORY),
    );
}
kernel_test!(information_page_has_magic_version_and_size);

fn vm_exits_are_counted_by_reason() {
    // Three null calls, one with a bad address, and the one that returns the counts.
    ends(basic::counts_exits, 0, End::Exited(u64::from_le_bytes([2, 5, 0, 1, 0, 0, 0, 0])));
}
kernel_test!(vm_exits_are_counted_by_reason);

fn cpuid_shows_the_hypervisor() {
    ends(basic::looks_around, 0, End::Exited(0));
}
kernel_test!(cpuid_shows_the_hypervisor);

fn halt_without_interrupts_ends_the_partition() {
    ends(basic::halts, 0, End::Halted);
}
kernel_test!(halt_without_interrupts_ends_the_partition);

fn triple_fault_ends_the_partition_only() {
    ends(basic::faults, 0, End::TripleFault);
}
kernel_test!(triple_fault_ends_the_partition_only);

fn foreign_memory_is_refused() {
    // The guest has no handler for the exception.
    ends(basic::strays, 0, End::TripleFault);
}
kernel_test!(foreign_memory_is_refused, ends: Pass, shows: "p0 may not use memory at 0x40000000");

fn partition_with_lost_page_tables_ends() {
    ends(basic::loses_itself, 0, End::BadMemory(0x4000_0000));
}
kernel_test!(partition_with_lost_page_tables_ends);

fn privileged_operations_are_refused() {
    const ATTEMPTS: u64 = 28;
    /// XSETBV without OSXSAVE, ICEBP and RDPRU raise an exception by themselves here.
    const RAISING: [u64; 3] = [2, 24, 27];
    let partitions: Vec<_> = (0..ATTEMPTS).map(|number| partition(privilege::reaches, number)).collect();
    partitions.iter().for_each(scheduler::start);
    run_until(|| {
        (0..).zip(&partitions).all(|(number, partition)| {
            // The refusal raises an exception, for which these guests have no handler.
            let refusals = u32::from(!RAISING.contains(&number));
            let name = partition.name();
            partition
                .end()
                .inspect(|end| assert_eq!((*end, partition.refusals()), (End::TripleFault, refusals), "{name}"))
                .is_some()
        })
    });
}
kernel_test!(privileged_operations_are_refused);

fn hypercall_from_ring_3_is_refused() {
    ends(privilege::calls_unprivileged, 0, End::Exited(32));
}
kernel_test!(hypercall_from_ring_3_is_refused);

fn partition_that_never_yields_is_preempted() {
    let partitions: Vec<_> = (0..5).map(|number| partition(basic::counts, number)).collect();
    partitions.iter().for_each(scheduler::start);
    run_until(|| {
        if partitions.iter().all(|partition| number_at(partition, NUMBER) > 100_000) {
            partitions.iter().for_each(scheduler::stop);
        }
        partitions.iter().all(|partition| partition.end().inspect(|end| assert_eq!(*end, End::Stopped)).is_some())
    });
}
kernel_test!(partition_that_never_yields_is_preempted, machine: "-smp 3");

fn registers_survive_preemption() {
    let partitions: Vec<_> = (1..6).map(|nth| partition(registers::keeps_registers, nth << 40 | nth)).collect();
    partitions.iter().for_each(scheduler::start);
    run_until(|| {
        assert!(partitions.iter().all(|partition| partition.end().is_none()), "one lost a register");
        partitions.iter().all(|partition| number_at(partition, COUNT) > 3_000)
    });
}
kernel_test!(registers_survive_preemption, machine: "-smp 3");

fn interrupt_wakes_a_halted_partition() {
    const TIMES: u64 = 500;
    let partition = partition(interrupts::sleeps, TIMES);
    scheduler::start(&partition);
    let mut given = 0;
    run_until(|| {
        if number_at(&partition, COUNT) == given && given < TIMES {
            scheduler::interrupt(&partition, 0x40);
            given += 1;
        }
        partition.end().inspect(|end| assert_eq!(*end, End::Exited(TIMES))).is_some()
    });
}
kernel_test!(interrupt_wakes_a_halted_partition, machine: "-smp 2");

fn interrupt_after_sti_waits_for_one_instruction() {
    const TIMES: u64 = 2_000;
    /// Without the rule it would be one in three. QEMU's TCG sometimes injects an interrupt twice, at any instruction.
    const STRAY: u64 = TIMES / 50;
    let partition = partition(interrupts::opens_and_shuts, TIMES);
    scheduler::start(&partition);
    let mut last_count = None;
    run_until(|| {
        let count = number_at(&partition, COUNT);
        if last_count.replace(count) != Some(count) {
            scheduler::interrupt(&partition, 0x40);
        }
        let Some(end) = partition.end() else { return false };
        let End::Exited(strays) = end else { panic!("{end}") };
        assert!(strays <= STRAY, "{strays} of {TIMES}");
        true
    });
}
kernel_test!(interrupt_after_sti_waits_for_one_instruction, machine: "-smp 2");

fn refused_instruction_raises_undefined_opcode() {
    ends(interrupts::invalidates, 0, End::Exited(0));
}
kernel_test!(refused_instruction_raises_undefined_opcode);

fn refused_msr_raises_general_protection() {
    ends(interrupts::reads_msr, 0, End::Exited(0));
}
kernel_test!(refused_msr_raises_general_protection);

fn refused_register_raises_general_protection() {
    ends(interrupts::writes_cr8, 0, End::Exited(0));
}
kernel_test!(refused_register_raises_general_protection);

fn partition_single_steps_itself() {
    ends(interrupts::steps, 0, End::Exited(5));
}
kernel_test!(partition_single_steps_itself);

fn registers_are_initial_after_another_partition() {
    const ROUNDS: u64 = 10;
    let mut round = 0;
    let mut runs = partition(registers::dirties, 0);
    scheduler::start(&runs);
    run_until(|| {
        let Some(end) = runs.end() else { return false };
        assert_eq!(end, End::Exited(0), "round {round}");
        round += 1;
        let image = if round % 2 == 1 { registers::begins_clean } else { registers::dirties };
        runs = partition(image, round);
        scheduler::start(&runs);
        round == ROUNDS
    });
}
kernel_test!(registers_are_initial_after_another_partition);

fn timer_wakes_a_halted_partition() {
    const TIMES: u64 = 200;
    let partitions: Vec<_> = (0..3).map(|_| partition(interrupts::wakes_itself, TIMES)).collect();
    partitions.iter().for_each(scheduler::start);
    run_until(|| {
        let ended = |partition: &Arc<Partition>| {
            partition.end().inspect(|end| assert_eq!(*end, End::Exited(0), "it woke too early")).is_some()
        };
        partitions.iter().all(ended)
    });
}
kernel_test!(timer_wakes_a_halted_partition);

fn timer_interrupts_a_busy_partition() {
    ends(interrupts::works_by_the_clock, 20, End::Exited(0));
}
kernel_test!(timer_interrupts_a_busy_partition, machine: "-smp 2");

fn partitions_free_all_memory() {
    const ROUNDS: u64 = 4;
    let before = memory::available();
    let mut partitions: Vec<Arc<Partition>> = Vec::new();
    let mut round = 0;
    run_until(|| {
        if !partitions.iter().all(|partition| partition.end().is_some()) {
            return false;
        }
        assert!(partitions.iter().all(|partition| partition.end() == Some(End::Exited(42))));
        partitions.clear();
        while scrub_pending() {}
        round += 1;
        if round <= ROUNDS {
            partitions.extend((0..253).map(partition_of_a_megabyte));
            partitions.iter().for_each(scheduler::start);
            return false;
        }
        // The host's own state for each processor stays.
        before - memory::available() <= 2 * memory::PAGE
    });
}
kernel_test!(partitions_free_all_memory, machine: "-smp 2 -m 512M");

fn partition_of_a_megabyte(number: u64) -> Arc<Partition> {
    let size = guests::ADDRESS + memory::PAGE;
    partition_of(size, &format!("p{number}"), &basic::exits(size))
}

fn memory_of_an_ended_partition_is_scrubbed() {
    let before = memory::available();
    let partition = partition(basic::counts, 1);
    let start = partition.memory().u64s(0, 1).expect("it has memory")[0].as_ptr();
    for page in 0..MEMORY / 4096 {
        partition.memory().write(page * 4096, &[0xff; 4096]).expect("it has the page");
    }
    drop(partition);
    assert!(memory::available() < before, "it is free only when it is wiped");
    while scrub_pending() {}
    assert_eq!(memory::available(), before);
    for nth in 0..(2 << 20) / 8 {
        // SAFETY: the memory stays mapped, and no allocation happened since.
        #[allow(unsafe_code)]
        let word = unsafe { start.add(nth).read_volatile() };
        assert_eq!(word, 0, "word {nth}");
    }
}
kernel_test!(memory_of_an_ended_partition_is_scrubbed);

fn a_null_hypercall_is_cheap() {
    let partition = partition(basic::calls, 0);
    scheduler::start(&partition);
    run_until(|| {
        partition
            .end()
            .inspect(|end| {
                let End::Exited(ticks) = *end else { panic!("{end}") };
                log::info!("{} instructions for a null hypercall", ticks / 999);
                assert!(ticks / 999 <= 150, "{ticks} for 999");
            })
            .is_some()
    });
}
kernel_test!(a_null_hypercall_is_cheap, machine: "-icount shift=0,sleep=off");
