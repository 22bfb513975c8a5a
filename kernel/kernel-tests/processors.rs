//! Tests of processors, interrupts and time.

use core::sync::atomic::{AtomicUsize, Ordering};

use portico_kernel::cpu::{self, Vector, apic, idle, local, timer};
use portico_kernel::{clock, kernel_test};

static ARRIVED: [AtomicUsize; cpu::MAX_CPUS] = [const { AtomicUsize::new(0) }; cpu::MAX_CPUS];

/// Job of the other processors: publish their APIC id, and halt.
fn arrive() -> ! {
    let cpu = local::cpu();
    ARRIVED[cpu.index()].fetch_add(1 + cpu.apic_id() as usize, Ordering::Release);
    apic::wake(local::cpu_at(0).apic_id());
    loop {
        idle::wait();
    }
}

fn processors_arrive(expected: usize) {
    assert_eq!(cpu::online(), expected);
    assert_eq!(local::cpu().index(), 0);
    cpu::employ_others(arrive);
    let arrived = || ARRIVED.iter().filter(|ids| ids.load(Ordering::Acquire) != 0).count();
    while arrived() < expected - 1 {
        idle::wait();
    }
    let mut ids: heapless::Vec<usize, 8> = ARRIVED.iter().map(|ids| ids.load(Ordering::Acquire)).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] == 0 || pair[0] != pair[1]), "each has an id of its own: {ids:?}");
}

fn one_processor_runs_alone() {
    processors_arrive(1);
}
kernel_test!(one_processor_runs_alone, machine: "-smp 1");

fn two_processors_come_up() {
    processors_arrive(2);
}
kernel_test!(two_processors_come_up, machine: "-smp 2");

fn four_processors_come_up() {
    processors_arrive(4);
}
kernel_test!(four_processors_come_up, machine: "-smp 4");

fn four_processors_come_up_without_firmware() {
    processors_arrive(4);
}
kernel_test!(four_processors_come_up_without_firmware, machine: "flash -smp 4");

fn excess_processors_stay_halted() {
    processors_arrive(cpu::MAX_CPUS);
}
kernel_test!(excess_processors_stay_halted, machine: "-smp 9");

fn clock_is_monotonic() {
    let start = clock::now();
    let mut last = start;
    while last < start + 20_000_000 {
        let now = clock::now();
        assert!(now >= last);
        last = now;
    }
}
kernel_test!(clock_is_monotonic);

fn sleep_until(deadline: u64) {
    while clock::now() < deadline {
        timer::set(Some(deadline));
        idle::wait();
    }
}

fn timer_wakes_from_halt() {
    for _ in 0..20 {
        let deadline = clock::now() + 5_000_000;
        sleep_until(deadline);
        assert!(clock::now() >= deadline);
    }
    assert!(Vector::TIMER.count() >= 1);
    assert_eq!(Vector::SPURIOUS.count(), 0);
}
kernel_test!(timer_wakes_from_halt);

fn stopped_timer_does_not_fire() {
    let before = Vector::TIMER.count();
    timer::set(Some(clock::now() + 5_000_000));
    timer::set(None);
    let end = clock::now() + 20_000_000;
    while clock::now() < end {
        x86_64::instructions::interrupts::enable();
    }
    assert_eq!(Vector::TIMER.count(), before);
}
kernel_test!(stopped_timer_does_not_fire);

fn interrupt_before_the_wait_ends_it() {
    let before = Vector::WAKE.count();
    apic::wake(local::cpu().apic_id());
    x86_64::instructions::interrupts::enable();
    while Vector::WAKE.count() == before {}
    // Nothing else comes: only what was noted before can end this.
    idle::wait();
}
kernel_test!(interrupt_before_the_wait_ends_it);

/// Job of the second processor: return each token, and halt between two tokens.
fn volley() -> ! {
    loop {
        if ARRIVED[1].load(Ordering::Acquire) % 2 == 1 {
            ARRIVED[1].fetch_add(1, Ordering::Release);
            apic::wake(local::cpu_at(0).apic_id());
        }
        idle::wait();
    }
}

fn no_wakeup_is_lost_between_processors() {
    const ROUNDS: usize = 5_000;
    cpu::employ_others(volley);
    for round in 0..ROUNDS {
        ARRIVED[1].fetch_add(1, Ordering::Release);
        apic::wake(local::cpu_at(1).apic_id());
        while ARRIVED[1].load(Ordering::Acquire) != 2 * (round + 1) {
            idle::wait();
        }
    }
}
kernel_test!(no_wakeup_is_lost_between_processors, machine: "-smp 2");

fn fault_report_shows_registers() {
    // SAFETY: none, the machine ends here.
    #[allow(unsafe_code)]
    unsafe {
        core::arch::asm!("mov r15, {magic}", "ud2", magic = in(reg) 0x1234_5678_9abc_def0_u64, out("r15") _);
    }
}
kernel_test!(fault_report_shows_registers, ends: Fault, shows: "r15 123456789abcdef0");

fn instruction_count_is_reproducible() {
    let mut counts: heapless::Vec<u64, 8> = heapless::Vec::new();
    for _ in 0..8 {
        let start = clock::ticks();
        for step in 0..1_000_000_u64 {
            core::hint::black_box(step);
        }
        counts.push(clock::ticks() - start).expect("eight counts");
    }
    log::info!("instructions: {counts:?}");
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    assert_eq!(least, most);
}
kernel_test!(instruction_count_is_reproducible, machine: "-icount shift=0,sleep=off");

fn clock_is_right_under_icount() {
    // An hour passes in no time at all while nothing runs.
    let start = clock::now();
    let deadline = start + 3_600_000_000_000;
    sleep_until(deadline);
    let late = clock::now() - deadline;
    assert!(late < 1_000_000, "{late} ns late");
}
kernel_test!(clock_is_right_under_icount, machine: "-icount shift=0,sleep=off");
