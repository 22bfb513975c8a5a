//! The command `cargo portico`.

use std::process::ExitCode;

fn main() -> ExitCode {
    portico::command::main()
}
