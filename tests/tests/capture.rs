//! The capture of the hypervisor's cable, as tshark and Perl read it.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::Path;
use std::process::Command;

use portico_tests::{Machine, tshark};

/// Checks both CRCs of each packet with Perl's Digest::CRC, and returns the number of packets.
///
/// # Errors
/// The first packet with a wrong CRC, as text.
fn check_crcs(capture: &Path) -> Result<usize, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crc.pl");
    let output = Command::new("perl").arg(script).arg(capture).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn capture_of_a_sweep_is_well_formed_with_valid_crcs() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("uplink.erf");
    let mut machine = Machine::start(&["--lhcas", "4", "--once", "--pcap", capture.to_str().unwrap()]);
    assert!(machine.wait().0.success());

    let all = tshark(&capture, "frame", &["frame.number"]);
    assert!(all.len() > 100, "a whole sweep, there and back: {} packets", all.len());
    assert_eq!(tshark(&capture, "_ws.malformed || !infiniband.lrh", &["frame.number"]), [""; 0]);
    assert_eq!(check_crcs(&capture), Ok(all.len()));

    // The sweep's Sets are in it: the SM set each LHCA to Active (PortInfo, 14.2.5.6).
    let set =
        tshark(&capture, "infiniband.mad.method == 0x02 && infiniband.mad.attributeid == 0x15", &["frame.number"]);
    assert!(set.len() >= 3 * 4, "LID, Armed and Active for each of four LHCAs: {}", set.len());

    // The check itself can fail: it finds a flipped bit.
    let mut bytes = fs::read(&capture).unwrap();
    bytes[24 + 16 + 16 + 40] ^= 4; // behind the headers of file, record and ERF
    let flipped = folder.path().join("flipped.erf");
    fs::write(&flipped, bytes).unwrap();
    assert_eq!(check_crcs(&flipped), Err("packet 0: the invariant CRC is wrong\n".into()));
}
