//! Instructions of an SMP, in `subnet` and in ibsim.

use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use portico_benches::Request;

use super::interrupt::Interrupt;
use super::table::compare;
use crate::show::progress::Step;
use crate::show::table::draw;
use crate::workspace;

/// By request: instructions in `subnet`, and in ibsim.
pub(super) struct Costs(Vec<(Request, f64, f64)>);

/// Counts by callgrind.
///
/// # Errors
/// A program fails under callgrind.
pub(super) fn measure(interrupt: &Interrupt) -> Result<Costs> {
    let program = workspace::build_benches()?;
    let step = Step::begin("count instructions by callgrind");
    let mut costs = Vec::new();
    for request in Request::ALL {
        step.note(&format!("{}: subnet", request.name()));
        let ours = portico_benches::portico(request, &program);
        interrupt.check()?; // before the error: valgrind may have been interrupted too
        step.note(&format!("{}: ibsim", request.name()));
        let theirs = portico_benches::ibsim(request);
        interrupt.check()?;
        costs.push((request, ours?, theirs?));
    }
    step.done();
    Ok(Costs(costs))
}

impl Display for Costs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.0.iter().map(row).collect();
        writeln!(
            f,
            "Instructions an SMP, counted by callgrind in user space: `subnet` from the packet's arrival to its"
        )?;
        writeln!(f, "answer with the M_Key checked, ibsim from its socket to its socket with none.\n")?;
        write!(f, "{}", draw(["request", "subnet", "ibsim", "beside ibsim", "aim: at most 150"], 1, &rows))
    }
}

fn row(&(request, ours, theirs): &(Request, f64, f64)) -> [String; 5] {
    [
        request.name().into(),
        format!("{ours:.0}"),
        format!("{theirs:.0}"),
        compare(ours, theirs, "more", "fewer"),
        if ours <= AIM { "met" } else { "missed" }.into(),
    ]
}

/// Instructions of an SMP, at most.
const AIM: f64 = 150.0;
