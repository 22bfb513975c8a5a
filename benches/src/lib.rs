//! Instructions of a subnet management packet (SMP): in `subnet`, and in ibsim beside it.
//!
//! Valgrind's callgrind counts them, so that a figure is the same on a busy machine. Each program runs twice, once for
//! [`ROUNDS`] requests and once for twice as many; the difference is what the requests cost, without start and end.
//!
//! In `subnet` ([`portico`]) a request comes in from a link by directed route, is checked against the port's M_Key,
//! answered, and handed to the outlet; making the requests is not counted. In ibsim ([`ibsim`]) it comes in by a
//! socket, and has no M_Key to pass; the kernel's share of that is not counted.

mod callgrind;
mod ibsim;
mod request;

use std::path::Path;

use anyhow::Result;

pub use callgrind::ROUNDS;
pub use ibsim::ibsim;
pub use request::{Request, smp};

/// The function of the program `smp` in which instructions count.
const MEASURED: &str = "smp::measured";

/// Instructions that `subnet` spends on a request. `program` is this crate's program `smp`, built for release.
///
/// # Errors
/// Valgrind is missing, or the program fails.
pub fn portico(request: Request, program: &Path) -> Result<f64> {
    callgrind::per_round(|rounds| {
        let run = callgrind::Run::start(tempfile::tempdir()?, |valgrind| {
            valgrind
                .arg(format!("--toggle-collect={MEASURED}*"))
                .arg(program)
                .arg(request.name())
                .arg(rounds.to_string())
        })?;
        run.instructions()
    })
}
