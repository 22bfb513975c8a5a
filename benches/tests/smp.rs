//! The measured program, for a few rounds and without valgrind: it checks itself that every request is answered.

use std::process::Command;

use portico_benches::Request;

#[test]
fn every_request_is_answered() {
    for request in Request::ALL {
        assert_eq!(Request::from_name(request.name()), Some(request));
        let output = Command::new(env!("CARGO_BIN_EXE_smp")).args([request.name(), "10"]).output().unwrap();
        assert!(output.status.success(), "{}: {}", request.name(), String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn an_unknown_request_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_smp")).args(["Get(Nothing)", "10"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Get(Nothing)"));
}
