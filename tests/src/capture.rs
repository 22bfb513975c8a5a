//! Packets of a cable's capture, as tshark reads them.

use std::path::Path;
use std::process::Command;

/// Returns the packets in `capture` that match the tshark filter `filter`: the values of `fields`, one packet a line.
///
/// # Panics
/// tshark fails.
#[must_use]
pub fn tshark(capture: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-Y", filter, "-T", "fields"]).args(fields);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
