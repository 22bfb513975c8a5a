//! The other two subcommands: `bench` prints its figures, and they are what we promise; `image` makes one.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use std::process::Command;

use portico_tests::portico;

fn run(arguments: &[&str]) -> String {
    let output = Command::new(portico()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_benchmark_compares_with_ibsim_and_smps_are_cheap() {
    let said = run(&["bench", "sweep", "--lhcas", "16", "--rounds", "1"]);
    // LHCAs, then for Portico and for ibsim milliseconds and SMPs, then the ratio.
    let row = said.lines().find(|line| line.trim_start().starts_with("16 ")).unwrap();
    let numbers: Vec<f64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers.len(), 6, "{row}");
    assert!(numbers.iter().all(|&number| number > 0.0), "{row}");
    // Instructions: Portico, ibsim, ratio.
    for request in ["Get(NodeInfo)", "Get(PortInfo)", "Set(LinearForwardingTable)"] {
        let row = said.lines().find(|line| line.starts_with(request)).unwrap();
        let numbers: Vec<f64> = row.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
        assert!(numbers[0] <= 150.0 && numbers[2] < 0.1, "{row}");
    }
}

#[test]
fn an_image_is_made_that_flash_can_hold() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("portico.rom");
    let _ = run(&["image", "--output", image.to_str().unwrap()]);
    let bytes = std::fs::read(image).unwrap();
    assert!(!bytes.is_empty() && bytes.len().is_multiple_of(64 << 10), "{} bytes", bytes.len());
    // The processor's first instruction, 16 bytes below 4 GiB (APM vol. 2, 14.1.5), is there.
    assert_ne!(bytes[bytes.len() - 16], 0xff);
}
