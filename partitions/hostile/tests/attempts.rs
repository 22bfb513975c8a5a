//! That nothing is left out.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use std::collections::HashSet;

use hostile_image::{
    Attempt, END, PAGE, Random, Summary, boundaries, every_call, foreign_places, large_pages, strange_pages,
};
use lhca_contract::{Call, Status};

const MEMORY: u64 = 2 << 20;
const SCRATCH: u64 = 0x14_0000;

#[test]
fn every_call_is_tried_with_every_value() {
    let values = boundaries(MEMORY, SCRATCH);
    let mut tried = HashSet::new();
    for (call, arguments) in every_call(values) {
        tried.insert(call.0);
        assert!(arguments.iter().all(|argument| values.contains(argument)));
    }
    assert!(!tried.contains(&Call::EXIT.0), "it would be the last one");
    let known = (0..).map(Call).take_while(|call| call.name().is_some()).filter(|&call| call != Call::EXIT);
    assert!(known.clone().all(|call| tried.contains(&call.0)) && tried.len() > known.count(), "and some that are none");
    let triples = every_call(values).filter(|&(call, _)| call == Call::VERSION).count();
    assert_eq!(triples, values.len().pow(3));
}

#[test]
fn random_calls_are_the_same_for_the_same_seed() {
    let values = boundaries(MEMORY, SCRATCH);
    let calls = |seed| {
        let mut random = Random::new(seed);
        std::iter::repeat_with(move || random.call(&values, SCRATCH..MEMORY - 0x1_0000)).take(1000).collect::<Vec<_>>()
    };
    assert_eq!(calls(1), calls(1));
    assert_ne!(calls(1), calls(2));
    assert!(calls(3).iter().all(|&(call, _)| call != Call::EXIT));
}

#[test]
fn attempts_have_names() {
    for (name, attempt) in Attempt::ALL {
        assert_eq!(Attempt::named(name), Some(attempt));
    }
    assert_eq!(Attempt::named("nothing"), None);
}

#[test]
fn every_page_where_anything_is_is_reached_for_once() {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let pages: HashSet<_> = strange_pages(MEMORY).collect();
    assert_eq!(pages.len(), strange_pages(MEMORY).count(), "none twice");
    assert!(pages.iter().all(|page| (MEMORY..END).contains(page) && page.is_multiple_of(PAGE)));
    for (range, step) in [(MEMORY..4 * GIB, PAGE), (256 * GIB..256 * GIB + 64 * MIB, PAGE), (MEMORY..END, 2 * MIB)] {
        assert!((range.start / step..range.end / step).all(|nth| pages.contains(&(nth * step))));
    }
}

#[test]
fn no_foreign_place_is_the_partitions() {
    for (size, align) in [(8, 1), (8, 8), (40, 8), (640, 64), (MEMORY + 128, 64)] {
        let places: Vec<_> = foreign_places(MEMORY, size, align).collect();
        for &place in &places {
            assert!(place.is_multiple_of(align), "{place:#x}");
            assert!(place.checked_add(size).is_none_or(|end| end > MEMORY), "{place:#x}");
        }
        assert_eq!(places.contains(&(MEMORY - align)), size > align, "over the end");
        assert!(places.contains(&MEMORY) && places.contains(&MEMORY.wrapping_neg()), "behind, and before");
        assert!(places.contains(&align.wrapping_neg()), "at the end of all numbers");
    }
    let pages: Vec<_> = large_pages(MEMORY).collect();
    assert_eq!((pages[0], pages.len()), (MEMORY, 2047));
}

#[test]
fn answers_are_counted_by_what_they_are() {
    let mut summary = Summary::default();
    for status in [Status::OK, Status::BAD_PORT, Status::BAD_PORT, Status(99)] {
        summary.count(status);
    }
    assert_eq!((summary.of(Status::BAD_PORT), summary.total()), (2, 4));
    assert_eq!(summary.to_string(), "4 calls, 1 OK, 2 BAD_PORT, 1 answered in no known way");
}
