//! Configuration of a manager.

use core::time::Duration;

use iba::SmKey;

/// Configuration of a manager. The defaults are OpenSM's where managers depend on each other.
#[derive(Clone, Debug)]
pub struct Config {
    /// Priority in the election, 0 to 15: the highest wins, then the lowest port GUID (IBA vol. 1, 14.4.1).
    pub priority: u8,
    /// By which managers trust each other; those with another one are left out of account (14.4.7).
    pub sm_key: SmKey,
    /// Requests on their way at once.
    pub window: usize,
    /// Longest time of a response.
    pub timeout: Duration,
    /// Repetitions of a request without a response.
    pub retries: u32,
    /// Interval of the master's light sweeps.
    pub look_interval: Duration,
    /// Interval of a standby's polls of the master.
    pub poll_interval: Duration,
    /// After how many polls without an answer the master is dead.
    pub poll_limit: u32,
    /// Delay of a sweep after a change, to collect further changes.
    pub settle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            priority: 0,
            sm_key: SmKey::new(1),
            window: 8,
            timeout: Duration::from_millis(200),
            retries: 3,
            look_interval: Duration::from_secs(10),
            poll_interval: Duration::from_secs(1),
            poll_limit: 3,
            settle: Duration::from_millis(20),
        }
    }
}
