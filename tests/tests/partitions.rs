//! Partitions, and real tools that reach them.

use portico_tests::Machine;

#[test]
fn ibping_reaches_each_partition() {
    let machine = Machine::up(&["--lhcas", "4", "--image", "echo"]);
    let lids = machine.active_lhcas();
    assert_eq!(lids.len(), 4, "{lids:?}");
    for (name, lid) in lids {
        let output = machine.tool("ibping", &["-c", "3", &lid.to_string()]).run();
        let text = output.ok();
        assert_eq!(text.matches(&name).count(), 4, "three answers by name, and the summary:\n{text}");
        assert!(text.contains("3 packets transmitted, 3 received, 0% packet loss"), "{text}");
    }
}
