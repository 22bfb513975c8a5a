//! Segment, task-state and interrupt tables of each processor.
#![allow(unsafe_code)] // descriptor tables are what the processor trusts

use spin::Once;
use x86_64::PrivilegeLevel::Ring0;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::registers::segmentation::SegmentSelector;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::idt::{Entry, HandlerFunc};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{VirtAddr, structures::idt::ExceptionVector};

use super::interrupts;
use super::local::MAX_CPUS;
use super::stack::{Ist, STACKS};

/// Tables of one processor; they do not move once loaded.
struct Tables {
    tss: TaskStateSegment,
    gdt: Once<GlobalDescriptorTable>,
}

static TABLES: [Once<Tables>; MAX_CPUS] = [const { Once::new() }; MAX_CPUS];
/// Interrupt descriptor table (IDT), shared by all processors.
static IDT: Once<[Entry<HandlerFunc>; 256]> = Once::new();

/// Loads the `index`th processor's tables.
pub(super) fn load(index: usize) {
    let tables = TABLES[index].call_once(|| Tables { tss: task_state(index), gdt: Once::new() });
    let mut selectors = (SegmentSelector::NULL, SegmentSelector::NULL);
    let gdt = tables.gdt.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        selectors = (gdt.append(Descriptor::kernel_code_segment()), gdt.append(Descriptor::tss_segment(&tables.tss)));
        gdt
    });
    gdt.load();
    // SAFETY: the selectors are those of the table that was just loaded; the null selector is a valid data segment
    // for ring 0 in 64-bit mode, and the task-state segment lives as long as the machine.
    unsafe {
        CS::set_reg(selectors.0);
        SS::set_reg(SegmentSelector::new(0, Ring0));
        DS::set_reg(SegmentSelector::NULL);
        ES::set_reg(SegmentSelector::NULL);
        load_tss(selectors.1);
    }
    load_idt();
}

fn task_state(index: usize) -> TaskStateSegment {
    let mut tss = TaskStateSegment::new();
    for (slot, top) in STACKS.ist_tops(index).into_iter().enumerate() {
        tss.interrupt_stack_table[slot] = VirtAddr::new(top);
    }
    tss
}

fn load_idt() {
    let idt = IDT.call_once(|| {
        let mut idt = [const { Entry::missing() }; 256];
        for (vector, entry) in (0_u8..=255).zip(&mut idt) {
            // SAFETY: the stub of a vector saves every register and leaves by IRETQ; the stack is one of the
            // processor's own interrupt stacks, which `task_state` filled in.
            unsafe {
                entry
                    .set_handler_addr(VirtAddr::new(interrupts::stub(vector)))
                    .set_stack_index(stack_of(vector) as u16);
            }
        }
        idt
    });
    let pointer = DescriptorTablePointer { limit: (size_of_val(idt) - 1) as u16, base: VirtAddr::from_ptr(idt) };
    // SAFETY: the table is filled in and lives as long as the machine.
    unsafe { lidt(&pointer) }
}

fn stack_of(vector: u8) -> Ist {
    const NMI: u8 = ExceptionVector::NonMaskableInterrupt as u8;
    const DOUBLE: u8 = ExceptionVector::Double as u8;
    const MACHINE_CHECK: u8 = ExceptionVector::MachineCheck as u8;
    match vector {
        NMI => Ist::Nmi,
        DOUBLE => Ist::DoubleFault,
        MACHINE_CHECK => Ist::MachineCheck,
        0..32 => Ist::Fault,
        _ => Ist::Interrupt,
    }
}
