//! CPUID for partitions: features whose state is switched with the partition, or which have no state.

use lhca_contract::{VERSION, cpuid};

/// The registers that CPUID fills: EAX, EBX, ECX, EDX.
pub type Leaf = [u32; 4];

/// Leaf 1, ECX: SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, RDRAND.
const FEATURES_ECX: u32 = bits(&[0, 1, 9, 13, 19, 20, 22, 23, 25, 30]);
/// Leaf 1, ECX: there is a hypervisor.
const HYPERVISOR: u32 = bits(&[31]);
/// Leaf 1, EDX: x87, PSE, TSC, MSRs, PAE, CMPXCHG8B, SYSENTER, PGE, CMOV, CLFLUSH, MMX, FXSAVE, SSE, SSE2.
const FEATURES_EDX: u32 = bits(&[0, 3, 4, 5, 6, 8, 11, 13, 15, 19, 23, 24, 25, 26]);
/// Leaf 8000_0001h, ECX: LAHF, LZCNT, SSE4A, misaligned SSE, prefetch.
const EXTENDED_ECX: u32 = bits(&[0, 5, 6, 7, 8]);
/// Leaf 8000_0001h, EDX: as leaf 1, and SYSCALL, no-execute, extended MMX, fast FXSAVE, 1 GiB pages, long mode.
const EXTENDED_EDX: u32 = FEATURES_EDX & !bits(&[11, 25, 26]) | bits(&[11, 20, 22, 25, 26, 29]);
/// Leaf 8000_0007h, EDX: the time-stamp counter's rate never changes.
const INVARIANT_TSC: u32 = bits(&[8]);

const fn bits(numbers: &[u32]) -> u32 {
    let mut set = 0;
    let mut nth = 0;
    while nth < numbers.len() {
        set |= 1 << numbers[nth];
        nth += 1;
    }
    set
}

/// Returns the CPUID registers that a partition gets for `leaf`, where `host` returns the processor's own.
pub fn answer(leaf: u32, host: impl Fn(u32) -> Leaf) -> Leaf {
    const LAST: u32 = 1;
    const EXTENDED: u32 = 0x8000_0000;
    const EXTENDED_LAST: u32 = 0x8000_0008;
    match leaf {
        0 => {
            let [_, b, c, d] = host(0);
            [LAST, b, c, d]
        }
        1 => {
            let [a, _, c, d] = host(1);
            [a, 0, c & FEATURES_ECX | HYPERVISOR, d & FEATURES_EDX]
        }
        cpuid::SIGNATURE_LEAF => {
            let word = |nth: usize| {
                let bytes = cpuid::SIGNATURE.iter().skip(4 * nth).take(4);
                bytes.rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
            };
            [cpuid::VERSION_LEAF, word(0), word(1), word(2)]
        }
        cpuid::VERSION_LEAF => [VERSION, 0, 0, 0],
        EXTENDED => {
            let [_, b, c, d] = host(EXTENDED);
            [EXTENDED_LAST, b, c, d]
        }
        0x8000_0001 => {
            let [a, _, c, d] = host(leaf);
            [a, 0, c & EXTENDED_ECX, d & EXTENDED_EDX]
        }
        0x8000_0002..=0x8000_0004 => host(leaf),
        0x8000_0007 => [0, 0, 0, host(leaf)[3] & INVARIANT_TSC],
        0x8000_0008 => [host(leaf)[0], 0, 0, 0],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hypervisor_is_found() {
        let all = |_| [u32::MAX; 4];
        assert_ne!(answer(1, all)[2] & 1 << 31, 0);
        let [last, b, c, d] = answer(0x4000_0000, all);
        assert_eq!(last, 0x4000_0001);
        assert_eq!([b, c, d].map(u32::to_le_bytes).concat(), b"PorticoLHCA\0");
        assert_eq!(answer(0x4000_0001, all), [VERSION, 0, 0, 0]);
    }

    #[test]
    fn what_is_not_switched_is_not_shown() {
        let all = |_| [u32::MAX; 4];
        let [_, ids, c, d] = answer(1, all);
        assert_eq!(ids, 0, "APIC ids are the host's");
        assert_eq!(c & (1 << 3 | 1 << 21 | 1 << 26 | 1 << 27 | 1 << 28), 0, "MONITOR, x2APIC, XSAVE, AVX");
        assert_eq!(d & (1 << 7 | 1 << 9 | 1 << 12), 0, "MCE, APIC, MTRR");
        assert_eq!(answer(0x8000_0001, all)[2] & 1 << 2, 0, "SVM");
        for leaf in [2, 7, 0xb, 0xd, 0x4000_0002, 0x8000_000a, 0x8000_001f, u32::MAX] {
            assert_eq!(answer(leaf, all), [0; 4], "{leaf:#x}");
        }
    }
}
