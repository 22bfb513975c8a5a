//! Attacks of a partition that runs the image `hostile`, beside a guard, whose memory must not change, and a victim,
//! which must answer pings.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portico_tests::{Console, Machine, PATIENCE, tshark};

/// Partition whose memory must not change.
const GUARD: &str = "guard-lhca";
/// Partition that answers pings.
const VICTIM: &str = "victim-lhca";
/// Partition that attacks.
const HOSTILE: &str = "hostile-lhca";
/// Partition that an attack sends to.
const TARGET: &str = "target-lhca";

/// A machine with a guard, a victim and two spare ports for attackers.
struct Scene {
    machine: Machine,
    console: Console,
    guard: u16,
    victim: u16,
    /// Resources held and free before any attack.
    before: Vec<String>,
    /// Digest of the guard's memory before any attack.
    memory: String,
}

/// Time for resources to be free again: a packet may be on its way.
const SETTLING: Duration = Duration::from_secs(10);
/// Time limit for a short attack, and for adding and removing a partition, on a loaded host. The limit is [`PATIENCE`]
/// elsewhere.
const SHORT: Duration = Duration::from_secs(30);
/// Period of the check that the machine is alive.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Scene {
    fn new() -> Self {
        Self::with(&[])
    }

    /// Starts the machine with `arguments`.
    fn with(arguments: &[&str]) -> Self {
        let config = format!(
            "spare-ports = 2\n\
             [[partition]]\nname = '{GUARD}'\nimage = 'hostile'\narguments = 'attempt=guard'\n\
             [[partition]]\nname = '{VICTIM}'\nimage = 'echo'\n"
        );
        let machine = Machine::up_with(&config, arguments);
        let [guard, victim] = [GUARD, VICTIM].map(|name| machine.active_lhcas()[name]);
        let mut console = machine.console("portico-0");
        console.wait_for(|line| line.contains(GUARD) && line.contains("guards "));
        // The guard logged just before its memory became still.
        let mut memory = String::new();
        while memory != digest(&machine) {
            memory = digest(&machine);
        }
        let before = held(machine.status_at_rest("portico-0"));
        Self { machine, console, guard, victim, before, memory }
    }

    /// Adds an attacker with `arguments` and the rights `qp0` at its queue pair 0.
    fn attack(&self, arguments: &str, qp0: &str) {
        self.add(HOSTILE, arguments, qp0);
    }

    /// Adds a partition that runs the image `hostile`.
    fn add(&self, name: &str, arguments: &str, qp0: &str) {
        let fixed = ["image=hostile", "memory=2M", "smps-per-second=200", "traps-per-second=4"].map(str::to_owned);
        let own = [format!("name={name}"), format!("arguments={arguments}"), format!("qp0={qp0}")];
        let all: Vec<_> = ["add".to_owned()].into_iter().chain(own).chain(fixed).collect();
        let words: Vec<_> = all.iter().map(String::as_str).collect();
        assert_eq!(self.machine.ctl_within(SHORT, &words).ok(), "");
    }

    /// Removes a partition.
    fn remove(&self, name: &str) {
        assert_eq!(self.machine.ctl_within(SHORT, &["remove", name]).ok(), "");
    }

    /// Waits for the attacker's end, and returns its description from the console.
    fn end(&mut self) -> String {
        self.end_within(PATIENCE)
    }

    /// Waits as [`Self::end`] does, for `limit` at most.
    fn end_within(&mut self, limit: Duration) -> String {
        let start = format!("partition {HOSTILE} ");
        let ends = ["exited", "crashed", "halted", "was stopped"].map(|end| format!("{start}{end}"));
        // An earlier test step may not have waited for the former attacker's end.
        self.line("the attacker's beginning", limit, |line| line.contains(&format!("{HOSTILE}: tries ")));
        let line = self.line("the attacker's end", limit, |line| ends.iter().any(|end| line.contains(end)));
        let end = line.split_once(&start).unwrap().1;
        end.split(';').next().unwrap().trim_end().to_owned()
    }

    /// Waits for the next line of the console for which `wanted` returns `true`, for `limit` at most, and only while
    /// the hypervisor runs.
    fn line(&mut self, what: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let begin = Instant::now();
        loop {
            if let Some(line) = self.console.wait_within(LOOK_EVERY, &wanted) {
                return line;
            }
            let said = self.console.said();
            let last = said[said.len().saturating_sub(20)..].join("\n");
            assert!(!self.machine.has_ended(), "the hypervisor has ended before {what}:\n{last}");
            assert!(begin.elapsed() < limit, "{what} is missing after {limit:?}:\n{last}");
        }
    }

    /// Makes OpenSM sweep the subnet, and waits for the end of a sweep.
    fn sweep(&self) {
        let log = std::fs::read_to_string(self.machine.log("opensm.log")).unwrap();
        self.machine.sweep();
        let mut lines = self.machine.opensm_log();
        for _ in 0..=log.matches("SUBNET UP").count() {
            lines.wait_for(|line| line.contains("SUBNET UP"));
        }
    }

    /// Returns the number of the attacker's refused management packets.
    fn refused(&self) -> u64 {
        let lines = self.machine.control("portico-0", &format!("status {HOSTILE}"));
        let words = lines.iter().find_map(|line| line.strip_prefix("lhca-drops refused ")).unwrap();
        words.split(' ').next().unwrap().parse().unwrap()
    }

    /// Asserts that the victim answers pings.
    fn ping(&self) {
        // One ping finds a dead victim soon.
        for count in ["1", "50"] {
            self.ping_times(count);
        }
    }

    fn ping_times(&self, count: &str) {
        let output = self.machine.tool("ibping", &["-f", "-c", count, &self.victim.to_string()]).run();
        let all = format!("{count} packets transmitted, {count} received, 0% packet loss");
        assert!(output.ok().contains(&all), "the victim answers {count} times:\n{}", output.stdout);
    }

    /// Returns the attacker's lines since its start.
    fn said(&self) -> Vec<&str> {
        let own = format!("{HOSTILE}: ");
        let lines = self.console.said().iter().filter_map(|line| Some(line.split_once(&own)?.1.trim_end()));
        let lines: Vec<_> = lines.collect();
        let begin = lines.iter().rposition(|line| line.starts_with("tries ")).unwrap_or(0);
        lines[begin..].to_vec()
    }

    /// Removes the attacker, and asserts that nothing of it is left: the victim answers, the guard's memory is
    /// unchanged, and the same resources are held and free.
    fn clear(&mut self) {
        self.ping();
        assert_eq!(digest(&self.machine), self.memory);
        self.remove(HOSTILE);
        let now = || held(self.machine.control("portico-0", "status"));
        let (begin, mut after) = (Instant::now(), now());
        while after != self.before && begin.elapsed() < SETTLING {
            after = now();
        }
        assert_eq!(after, self.before);
        assert_eq!(digest(&self.machine), self.memory);
    }
}

/// Returns the hypervisor's digest of the guard's memory.
fn digest(machine: &Machine) -> String {
    machine.ctl(&["digest", GUARD]).ok().to_owned()
}

/// Returns a status's lines about held and free resources: memory, and credits of the cable.
fn held(lines: Vec<String>) -> Vec<String> {
    let kept = |line: &String| ["held ", "free ", "credits "].iter().any(|kind| line.starts_with(kind));
    lines.into_iter().filter(kept).collect()
}

/// Returns the numbers of hypercalls from the attacker's summary: all, and successful ones.
fn calls(said: &[&str]) -> (u64, u64) {
    let line = said.iter().find(|line| line.contains(" calls, ")).unwrap_or_else(|| panic!("no summary: {said:?}"));
    let number = |words: &str| words.split(' ').next().unwrap().parse().unwrap();
    let done = line.split(", ").find(|part| part.ends_with(" OK")).map_or(0, number);
    (number(line), done)
}

#[test]
fn hypercall_with_any_arguments_stays_within_the_partition() {
    let mut scene = Scene::new();
    scene.attack("attempt=calls", "none");
    assert_eq!(scene.end(), "exited with code 0", "{:?}", scene.said());
    let (all, done) = calls(&scene.said());
    assert!(all > 300_000 && done > 0 && done < all / 2, "{:?}", scene.said());
    scene.clear();
    scene.attack("attempt=random count=1000000 seed=20261122", "manager");
    assert_eq!(scene.end(), "exited with code 0", "{:?}", scene.said());
    let (all, done) = calls(&scene.said());
    assert!(all == 1_000_000 && done > 0 && done < all / 2, "{:?}", scene.said());
    scene.clear();
}

#[test]
fn memory_of_others_is_refused() {
    let mut scene = Scene::new();
    scene.attack("attempt=memory", "none");
    assert_eq!(scene.end(), "exited with code 0", "{:?}", scene.said());
    let said = scene.said();
    let refused = said.iter().find_map(|line| line.strip_suffix(" pages were refused")).unwrap();
    assert!(refused.parse::<u32>().unwrap() > 1 << 20, "all of the first 4 GiB, at least: {said:?}");
    scene.clear();
    scene.attack(&format!("attempt=places victim={}", scene.victim), "none");
    assert_eq!(scene.end(), "exited with code 0", "{:?}", scene.said());
    assert!(scene.said().iter().any(|line| line.ends_with(" receives were refused")), "{:?}", scene.said());
    scene.clear();
}

#[test]
fn queue_that_breaks_the_contract_leaves_others_unharmed() {
    let mut scene = Scene::new();
    scene.attack("attempt=requests", "none");
    scene.line("the flood", SHORT, |line| line.contains("floods"));
    scene.ping();
    scene.clear();
    for attempt in ["rings", "indices", "live", "doorbells"] {
        scene.attack(&format!("attempt={attempt}"), "none");
        scene.ping();
        assert_eq!(scene.end(), "exited with code 0", "{attempt}: {:?}", scene.said());
        let (all, done) = calls(&scene.said());
        assert!(all > 50_000 && done > all / 2, "{attempt}: {:?}", scene.said());
        scene.clear();
    }
}

#[test]
fn request_changed_during_its_read_reaches_no_other_partition() {
    let mut scene = Scene::new();
    scene.add(TARGET, "attempt=target", "none");
    let line = scene.line("the target", SHORT, |line| line.contains(TARGET) && line.contains("is a target at LID "));
    let lid = line.trim_end().rsplit(' ').next().unwrap();
    scene.attack(&format!("attempt=race target={lid}"), "none");
    assert_eq!(scene.end(), "exited with code 0", "{:?}", scene.said());
    let target = scene.machine.control("portico-0", &format!("status {TARGET}"));
    assert!(target[0].starts_with("partition running "), "{target:?}: {:?}", scene.console.said().last());
    assert!(scene.console.said().iter().any(|line| line.contains("was closed")), "nothing came in");
    scene.remove(TARGET);
    scene.clear();
}

#[test]
fn keys_and_handles_of_others_are_refused() {
    let mut scene = Scene::new();
    scene.attack(&format!("attempt=keys victim={} guard={}", scene.victim, scene.guard), "none");
    scene.ping();
    assert_eq!(scene.end(), "exited with code 0", "{:?}", scene.said());
    assert!(scene.said().contains(&"5000 sends: BAD_P_KEY"), "{:?}", scene.said());
    scene.clear();
    scene.attack("attempt=handles", "none");
    assert_eq!(scene.end(), "exited with code 0", "{:?}", scene.said());
    let (all, done) = calls(&scene.said());
    assert!(all > 2_000 && done < all / 10, "{:?}", scene.said());
    scene.clear();
}

#[test]
fn management_flood_stays_within_its_rate_limits() {
    let mut scene = Scene::new();
    for (attempt, qp0) in
        [("smps", "none"), ("smps", "query"), ("smps", "manager"), ("traps", "none"), ("traps", "manager")]
    {
        scene.attack(&format!("attempt={attempt}"), qp0);
        scene.ping();
        assert_eq!(scene.end(), "exited with code 0", "{attempt}, {qp0}");
        let said = scene.said();
        let times = |status: &str| {
            let line = said.iter().find(|line| line.ends_with(&format!(" sends: {status}")));
            line.map_or(0, |line| line.split(' ').next().unwrap().parse::<u32>().unwrap())
        };
        let (sent, refused) = (times("SUCCESS"), times("REFUSED"));
        assert_eq!(sent + refused, 20_000, "{said:?}");
        assert_eq!(sent == 0, qp0 == "none", "{said:?}");
        assert!(refused > 0, "{said:?}");
        scene.clear();
    }
    // OpenSM logs a disabled port and a port that does not respond.
    let log = std::fs::read_to_string(scene.machine.log("opensm.log")).unwrap();
    let wrong = |line: &&str| line.contains("disabl") || line.contains("timeout") || line.contains("babbling");
    let wrong: Vec<_> = log.lines().filter(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(scene.machine.active_lhcas().len(), 2);
}

/// Upper half of the transaction IDs of a flood's SMPs.
const FLOOD: &str = "0x686f7374";

/// Returns the time as captures have it: seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Returns the response times, in seconds, of the SM's requests within `times`, and a description of each request that
/// was repeated or not answered.
fn answers(capture: &Path, times: &Range<f64>) -> (Vec<f64>, Vec<String>) {
    let fields = ["frame.time_epoch", "infiniband.mad.method", "infiniband.mad.transactionid"];
    let (mut asked, mut answered, mut wrong) = (HashMap::new(), Vec::new(), Vec::new());
    for line in tshark(capture, "infiniband.mad.mgmtclass in {0x01, 0x81}", &fields) {
        let [time, method, transaction] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        let time: f64 = time.parse().unwrap();
        match method {
            _ if transaction.starts_with(FLOOD) => {}
            "0x01" | "0x02" if times.contains(&time) => {
                let before = asked.insert(transaction.to_owned(), time);
                wrong.extend(before.map(|before| format!("{transaction} of {before} is sent again at {time}")));
            }
            "0x81" => answered.extend(asked.remove(transaction).map(|asked| time - asked)),
            _ => {}
        }
    }
    wrong.extend(asked.into_iter().map(|(transaction, time)| format!("{transaction} of {time} is not answered")));
    (answered, wrong)
}

#[test]
fn sm_during_a_flood_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("uplink.erf");
    let mut scene = Scene::with(&["--pcap", capture.to_str().unwrap()]);
    for (attempt, qp0) in [("smps", "none"), ("smps", "manager"), ("traps", "manager")] {
        scene.attack(&format!("attempt={attempt} count=1000000000"), qp0);
        scene.line("the flood", SHORT, |line| line.contains("floods"));
        let (refused, begin) = (scene.refused(), now());
        // The first sweep may have begun before the flood; the second is whole.
        (0..2).for_each(|_| scene.sweep());
        let during = begin..now();
        assert!(scene.refused() > refused, "the flood is still on");
        scene.clear();
        let (answered, wrong) = answers(&capture, &during);
        assert!(wrong.is_empty(), "{attempt}, {qp0}: {wrong:?}");
        assert!(answered.len() >= 10, "{attempt}, {qp0}: {} questions in the sweep", answered.len());
        let longest = answered.iter().copied().fold(0.0, f64::max);
        println!("{attempt}, {qp0}: {} answers, the last after {:.1} ms", answered.len(), longest * 1e3);
    }
}

#[test]
fn processor_abuse_affects_its_partition_alone() {
    let mut scene = Scene::new();
    scene.attack("attempt=triple-fault", "none");
    assert_eq!(scene.end_within(SHORT), "crashed: triple fault");
    scene.clear();
    scene.attack("attempt=cr8", "none");
    assert_eq!(scene.end_within(SHORT), "exited with code 0", "{:?}", scene.said());
    assert!(scene.said().contains(&"32 writes were refused"), "{:?}", scene.said());
    scene.clear();
    scene.attack("attempt=spin", "none");
    scene.line("the loop", SHORT, |line| line.contains("tries spin"));
    scene.ping();
    scene.clear();
}
