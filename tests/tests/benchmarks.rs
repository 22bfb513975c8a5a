//! The subcommands `bench`, whose figures stay within README's, and `image`.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::process::Command;

use portico_tests::portico;

fn run(arguments: &[&str]) -> String {
    let output = Command::new(portico()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the instructions that README's table "What it costs" gives for `operation`.
fn readme_figure(operation: &str) -> u64 {
    let readme = include_str!("../../README.md");
    let (_, costs) = readme.split_once("## What it costs").unwrap();
    let start = format!("| {operation} | ");
    let figure = costs.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix(" |"));
    figure.unwrap_or_else(|| panic!("README's table lacks `{operation}`")).parse().unwrap()
}

#[test]
fn sweep_benchmark_compares_with_ibsim_and_an_smp_takes_150_instructions() {
    let said = run(&["bench", "sweep", "--lhcas", "16", "--rounds", "1"]);
    // Name, then LHCAs, SMPs, milliseconds, and more.
    for maker in ["Portico", "Portico's fabric alone", "ibsim"] {
        let row = said.lines().find_map(|line| line.strip_prefix(maker)?.strip_prefix("  ")).unwrap();
        let numbers: Vec<f64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert!(numbers.len() == 5 && numbers[0] == 16.0 && numbers.iter().all(|&number| number > 0.0), "{row}");
    }
    // Instructions: Portico, ibsim, and more.
    for request in ["Get(NodeInfo)", "Get(PortInfo)", "Set(LinearForwardingTable)"] {
        let row = said.lines().find_map(|line| line.strip_prefix(request)).unwrap();
        let numbers: Vec<f64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] <= 150.0 && numbers[1] > 10.0 * numbers[0], "{row}");
        assert_eq!(numbers[0], readme_figure(&format!("answer to {request}")) as f64, "README's figure: {row}");
    }
}

#[test]
fn datagram_and_hypercall_cost_is_independent_of_lhca_count() {
    let said = run(&["bench", "data", "--lhcas", "2", "--lhcas", "60", "--load", "0"]);
    let figure = |lhcas: &str, what: &str| -> u64 {
        let row = |line: &str| Some(line.strip_prefix(lhcas)?.trim_start().strip_prefix(what)?.to_owned());
        let row = said.lines().find_map(row).unwrap_or_else(|| panic!("no {what} in:\n{said}"));
        // The minimum, in brackets after the median: the peer may wake during a measurement.
        row.split(['(', ')']).nth(1).unwrap().parse().unwrap()
    };
    let datagrams = [
        "64 bytes to another partition",
        "4096 bytes to another partition",
        "64 bytes to the cable",
        "4096 bytes to the cable",
    ];
    for what in datagrams.into_iter().chain(["null hypercall"]) {
        let (few, many) = (figure("2 ", what), figure("60 ", what));
        assert!(many.abs_diff(few) * 100 <= few, "{what}: {few} instructions with 2 LHCAs, {many} with 60");
    }
    // One copy: by QEMU's count an instruction for each 8 bytes more.
    let [short, long] = [figure("2 ", datagrams[0]), figure("2 ", datagrams[1])];
    assert!(long - short < 2 * (4096 - 64) / 8, "{short} for 64 bytes, {long} for 4096");
    let in_readme = [
        ("null hypercall", "null hypercall"),
        (datagrams[0], "datagram of 64 bytes from one LHCA to another"),
        (datagrams[1], "datagram of 4096 bytes from one LHCA to another"),
    ];
    for (what, operation) in in_readme {
        assert_eq!(figure("2 ", what), readme_figure(operation), "{operation}: counted, and README's figure");
    }
}

#[test]
fn busy_queue_is_polled_without_exits() {
    let said = run(&["bench", "data", "--lhcas", "2", "--load", "5000"]);
    for who in ["sender", "receiver"] {
        let rows = said.lines().skip_while(|row| !row.contains(&format!("exits of the {who} per 1000")));
        let figure = |row: &str| row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).nth(2)?.parse().ok();
        let figures: Vec<f64> = rows.take(5).filter_map(figure).collect();
        let [all, doorbells, halts, interrupts, others] = figures[..] else { panic!("{said}") };
        // A partition that is not polled rings 31 times at least: once for each acknowledgement of the receiver. A
        // polled partition rings after a pause of the host that looks like an idle queue.
        assert!(doorbells < 10.0, "{said}");
        assert!(halts + others == 0.0 && (all - doorbells - interrupts).abs() < 0.01, "{said}");
    }
}

#[test]
fn image_has_the_size_and_reset_vector_of_a_flash() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("portico.rom");
    let _ = run(&["image", "--output", image.to_str().unwrap()]);
    let bytes = std::fs::read(image).unwrap();
    assert!(!bytes.is_empty() && bytes.len().is_multiple_of(64 << 10), "{} bytes", bytes.len());
    // The processor's first instruction, 16 bytes below 4 GiB (APM vol. 2, 14.1.5), is there.
    assert_ne!(bytes[bytes.len() - 16], 0xff);
}
