//! How many instructions an SMP costs, in `subnet` and in ibsim.

use anyhow::Result;
use portico_benches::{Request, ibsim, portico};

use crate::launch::workspace;
use crate::show::progress::Step;

/// Counts, and prints a table.
pub(super) fn run() -> Result<()> {
    let program = workspace::build_benches()?;
    println!("instructions for each SMP    Portico    ibsim    ratio");
    for request in Request::ALL {
        let step = Step::begin(format!("count {} (callgrind)", request.name()));
        let (ours, theirs) = (portico(request, &program)?, ibsim(request)?);
        step.done();
        println!("{:<26} {ours:>9.0} {theirs:>8.0} {:>8.3}", request.name(), ours / theirs);
    }
    Ok(())
}
