//! An image for partitions: answers `ibping` on every port of its LHCA.
//!
//! Each buffer goes round: posted to receive, answered in place, sent, and posted again.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(clippy::cast_possible_truncation)] // usize has 64 bits

#[cfg(target_os = "none")]
mod answer;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod port;

#[cfg(target_os = "none")]
mod bare {
    use iba::PortNum;
    use lhca::{CallError, CompletionQueue, Lhca, Vmmcall};
    use lhca_contract::InformationPage;

    use crate::machine::{Memory, VECTOR, wait};
    use crate::port::{COMPLETIONS, Port};

    /// As many as an LHCA has.
    const PORTS: usize = 2;

    /// Answers for good; returns only with what went wrong.
    pub(crate) fn run(lhca: &Lhca<Vmmcall>, information: &InformationPage) -> Result<(), CallError> {
        let mut memory = Memory::new(information);
        let mut completions = CompletionQueue::create(lhca, memory.ring(COMPLETIONS), VECTOR)?;
        let mut ports: [Option<Port>; PORTS] = [const { None }; PORTS];
        for (number, port) in (1..=lhca.attributes()?.ports).zip(&mut ports) {
            *port = Some(Port::open(lhca, PortNum::new(number), &mut memory, &completions)?);
        }
        lhca.console("answers ibping\n")?;
        loop {
            while let Some(done) = completions.next(lhca) {
                for port in ports.iter_mut().flatten() {
                    port.go_on(lhca, &done, &information.name);
                }
            }
            if !completions.arm() {
                wait();
            }
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this runs in a partition only: say `cargo portico run --image echo`");
    std::process::exit(2);
}
