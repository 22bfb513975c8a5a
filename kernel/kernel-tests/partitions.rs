//! Partitions: that they run, that they stop, and that they stay within what is theirs.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use lhca_contract::VERSION;
use portico_kernel::cpu::port;
use portico_kernel::exit::ExitCode;
use portico_kernel::partition::image::Image;
use portico_kernel::partition::{Config, End, Own, Partition, scheduler, tidy};
use portico_kernel::{clock, kernel_test, memory};

use crate::guests;

const MEMORY: u64 = 2 << 20;
/// Where guests find their number, and count.
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
    let own = Own::new(size).expect("memory for a partition");
    Partition::new(config, own, image).expect("an image that fits")
}

fn number_at(partition: &Partition, address: u64) -> u64 {
    let mut bytes = [0; 8];
    partition.memory().read(address, &mut bytes).expect("it has the page");
    u64::from_le_bytes(bytes)
}

/// Lets partitions run until `done` says so; then the test has passed.
fn run_until(mut done: impl FnMut() -> bool) -> ! {
    scheduler::run(|| {
        if done() {
            log::info!("done");
            port::exit(ExitCode::PASS);
        }
        Some(clock::now() + 1_000_000)
    })
}

/// Runs one partition, which is to end like this.
fn ends(image: fn(u64) -> Image<'static>, number: u64, expected: End) -> ! {
    let partition = partition(image, number);
    scheduler::start(&partition);
    run_until(|| partition.end().inspect(|end| assert_eq!(*end, expected)).is_some())
}

fn a_partition_runs_and_exits() {
    ends(guests::exits, 0, End::Exited(42));
}
kernel_test!(a_partition_runs_and_exits);

fn a_partition_speaks() {
    ends(guests::speaks, 7, End::Exited(23));
}
kernel_test!(a_partition_speaks, ends: Pass, shows: "p7: hello from a partition");

fn a_partition_is_told_who_it_is() {
    ends(
        guests::reads_information,
        0,
        End::Exited(u64::from_le_bytes(*b"PorticoI") ^ (1 << 32 | u64::from(VERSION)) ^ MEMORY),
    );
}
kernel_test!(a_partition_is_told_who_it_is);

fn a_partition_is_told_how_often_it_was_left() {
    // Three calls, one with a bad address, and the one that tells.
    ends(guests::counts_exits, 0, End::Exited(u64::from_le_bytes([2, 5, 0, 1, 0, 0, 0, 0])));
}
kernel_test!(a_partition_is_told_how_often_it_was_left);

fn a_partition_finds_the_hypervisor() {
    ends(guests::looks_around, 0, End::Exited(0));
}
kernel_test!(a_partition_finds_the_hypervisor);

fn a_partition_that_halts_for_good_ends() {
    ends(guests::halts, 0, End::Halted);
}
kernel_test!(a_partition_that_halts_for_good_ends);

fn a_triple_fault_ends_the_partition_only() {
    ends(guests::faults, 0, End::TripleFault);
}
kernel_test!(a_triple_fault_ends_the_partition_only);

fn no_memory_but_its_own_is_reached() {
    // The exception is one that this guest does not take.
    ends(guests::strays, 0, End::TripleFault);
}
kernel_test!(no_memory_but_its_own_is_reached, ends: Pass, shows: "p0 may not use memory at 0x40000000");

fn a_partition_that_has_lost_its_tables_ends() {
    ends(guests::loses_itself, 0, End::BadMemory(0x4000_0000));
}
kernel_test!(a_partition_that_has_lost_its_tables_ends);

fn what_is_not_a_partitions_is_refused() {
    const ATTEMPTS: u64 = 28;
    /// XSETBV without OSXSAVE, ICEBP and RDPRU raise an exception by themselves here.
    const RAISING: [u64; 3] = [2, 24, 27];
    let partitions: Vec<_> = (0..ATTEMPTS).map(|number| partition(guests::reaches, number)).collect();
    partitions.iter().for_each(scheduler::start);
    run_until(|| {
        (0..).zip(&partitions).all(|(number, partition)| {
            // Refused by an exception, which these guests do not take.
            let refusals = u32::from(!RAISING.contains(&number));
            let name = partition.name();
            partition
                .end()
                .inspect(|end| assert_eq!((*end, partition.refusals()), (End::TripleFault, refusals), "{name}"))
                .is_some()
        })
    });
}
kernel_test!(what_is_not_a_partitions_is_refused);

fn a_partitions_unprivileged_code_makes_no_calls() {
    ends(guests::calls_unprivileged, 0, End::Exited(32));
}
kernel_test!(a_partitions_unprivileged_code_makes_no_calls);

fn a_partition_that_never_yields_is_not_alone() {
    let partitions: Vec<_> = (0..5).map(|number| partition(guests::counts, number)).collect();
    partitions.iter().for_each(scheduler::start);
    run_until(|| {
        if partitions.iter().all(|partition| number_at(partition, NUMBER) > 100_000) {
            partitions.iter().for_each(Partition::stop);
        }
        partitions.iter().all(|partition| partition.end().inspect(|end| assert_eq!(*end, End::Stopped)).is_some())
    });
}
kernel_test!(a_partition_that_never_yields_is_not_alone, machine: "-smp 3");

fn registers_are_each_partitions_own() {
    let partitions: Vec<_> = (1..6).map(|nth| partition(guests::keeps_registers, nth << 40 | nth)).collect();
    partitions.iter().for_each(scheduler::start);
    run_until(|| {
        assert!(partitions.iter().all(|partition| partition.end().is_none()), "one lost a register");
        partitions.iter().all(|partition| number_at(partition, COUNT) > 3_000)
    });
}
kernel_test!(registers_are_each_partitions_own, machine: "-smp 3");

fn an_interrupt_wakes_a_partition() {
    const TIMES: u64 = 500;
    let partition = partition(guests::sleeps, TIMES);
    scheduler::start(&partition);
    let mut given = 0;
    run_until(|| {
        if number_at(&partition, COUNT) == given && given < TIMES {
            partition.interrupt(0x40);
            given += 1;
        }
        partition.end().inspect(|end| assert_eq!(*end, End::Exited(TIMES))).is_some()
    });
}
kernel_test!(an_interrupt_wakes_a_partition, machine: "-smp 2");

fn no_interrupt_comes_between_an_sti_and_the_next_instruction() {
    const TIMES: u64 = 2_000;
    /// One in three would come there. QEMU's TCG now and then gives an interrupt once more, wherever the guest is.
    const STRAY: u64 = TIMES / 50;
    let partition = partition(guests::opens_and_shuts, TIMES);
    scheduler::start(&partition);
    let mut heeded = None;
    run_until(|| {
        let count = number_at(&partition, COUNT);
        if heeded.replace(count) != Some(count) {
            partition.interrupt(0x40);
        }
        let Some(end) = partition.end() else { return false };
        let End::Exited(strays) = end else { panic!("{end}") };
        assert!(strays <= STRAY, "{strays} of {TIMES}");
        true
    });
}
kernel_test!(no_interrupt_comes_between_an_sti_and_the_next_instruction, machine: "-smp 2");

fn an_instruction_that_is_refused_is_undefined() {
    ends(guests::invalidates, 0, End::Exited(0));
}
kernel_test!(an_instruction_that_is_refused_is_undefined);

fn an_msr_that_is_refused_is_protected() {
    ends(guests::reads_msr, 0, End::Exited(0));
}
kernel_test!(an_msr_that_is_refused_is_protected);

fn a_register_that_is_refused_is_protected() {
    ends(guests::writes_cr8, 0, End::Exited(0));
}
kernel_test!(a_register_that_is_refused_is_protected);

fn a_partition_takes_its_own_debug_exceptions() {
    ends(guests::steps, 0, End::Exited(5));
}
kernel_test!(a_partition_takes_its_own_debug_exceptions);

fn registers_begin_clean_where_another_partition_ran() {
    const ROUNDS: u64 = 10;
    let mut round = 0;
    let mut runs = partition(guests::dirties, 0);
    scheduler::start(&runs);
    run_until(|| {
        let Some(end) = runs.end() else { return false };
        assert_eq!(end, End::Exited(0), "round {round}");
        round += 1;
        let image = if round % 2 == 1 { guests::begins_clean } else { guests::dirties };
        runs = partition(image, round);
        scheduler::start(&runs);
        round == ROUNDS
    });
}
kernel_test!(registers_begin_clean_where_another_partition_ran);

fn a_partition_wakes_itself() {
    const TIMES: u64 = 200;
    let partitions: Vec<_> = (0..3).map(|_| partition(guests::wakes_itself, TIMES)).collect();
    partitions.iter().for_each(scheduler::start);
    run_until(|| {
        let ended = |partition: &Arc<Partition>| {
            partition.end().inspect(|end| assert_eq!(*end, End::Exited(0), "it woke too early")).is_some()
        };
        partitions.iter().all(ended)
    });
}
kernel_test!(a_partition_wakes_itself);

fn a_partition_that_works_alone_has_its_timer_too() {
    ends(guests::works_by_the_clock, 20, End::Exited(0));
}
kernel_test!(a_partition_that_works_alone_has_its_timer_too, machine: "-smp 2");

fn many_partitions_come_and_go() {
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
        while tidy() {}
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
kernel_test!(many_partitions_come_and_go, machine: "-smp 2 -m 512M");

fn partition_of_a_megabyte(number: u64) -> Arc<Partition> {
    let size = guests::ADDRESS + memory::PAGE;
    partition_of(size, &format!("p{number}"), &guests::exits(size))
}

fn memory_is_wiped_when_a_partition_ends() {
    let before = memory::available();
    let partition = partition(guests::counts, 1);
    let start = partition.memory().u64s(0, 1).expect("it has memory")[0].as_ptr();
    for page in 0..MEMORY / 4096 {
        partition.memory().write(page * 4096, &[0xff; 4096]).expect("it has the page");
    }
    drop(partition);
    assert!(memory::available() < before, "it is free only when it is wiped");
    while tidy() {}
    assert_eq!(memory::available(), before);
    for nth in 0..(2 << 20) / 8 {
        // SAFETY: the memory stays mapped, and nobody was given it since.
        #[allow(unsafe_code)]
        let word = unsafe { start.add(nth).read_volatile() };
        assert_eq!(word, 0, "word {nth}");
    }
}
kernel_test!(memory_is_wiped_when_a_partition_ends);

fn a_null_hypercall_is_cheap() {
    let partition = partition(guests::calls, 0);
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
