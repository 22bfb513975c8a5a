//! Hypercalls.

use hostile_image::{Random, Summary, boundaries, every_call};
use lhca_driver::Platform;

use super::machine::{Machine, count, seed};
use super::raw::Scratch;

/// Lines of memory that are ours to lose.
const SCRATCH: usize = 1024;
/// So many random calls are made before the memory that they read is changed.
const STIR_EVERY: u64 = 16;

/// Every call with every boundary argument.
pub(super) fn every(machine: &mut Machine) {
    let scratch = Scratch::new(machine, SCRATCH);
    let values = boundaries(machine.information.page().memory, scratch.range().start);
    let mut summary = Summary::default();
    for (call, arguments) in every_call(values) {
        summary.count(machine.lhca.platform().call(call, arguments).0);
    }
    tell(&summary);
}

/// Random calls, whose arguments now and then have a meaning.
pub(super) fn random(machine: &mut Machine) {
    let scratch = Scratch::new(machine, SCRATCH);
    let values = boundaries(machine.information.page().memory, scratch.range().start);
    let mut random = Random::new(seed(machine));
    let mut summary = Summary::default();
    for nth in 0..count(machine, 1_000_000) {
        if nth % STIR_EVERY == 0 {
            let (_, words) = random.call(&values, scratch.range());
            let place = random.number();
            (place % scratch.words()..).zip(words).for_each(|(place, word)| scratch.put(place, word));
        }
        let (call, arguments) = random.call(&values, scratch.range());
        summary.count(machine.lhca.platform().call(call, arguments).0);
    }
    tell(&summary);
}

/// Says what came of it, on a line of its own: the calls have written on the console, too.
fn tell(summary: &Summary) {
    log::info!("");
    log::info!("{summary}");
}
