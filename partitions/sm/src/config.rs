//! How a manager behaves.

use core::time::Duration;

use iba::SmKey;

/// How a manager behaves. The default is that of OpenSM where it matters between managers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who becomes master: the highest priority, 0 to 15, then the lowest port GUID (IBA vol. 1, 14.4.1).
    pub priority: u8,
    /// By which managers trust each other; those with another one are left out of account (14.4.7).
    pub sm_key: SmKey,
    /// Requests on their way at once.
    pub window: usize,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often a request is repeated before it is given up.
    pub retries: u32,
    /// How often a master looks whether switches saw changes.
    pub look_interval: Duration,
    /// How often a standby looks whether the master is alive.
    pub poll_interval: Duration,
    /// After how many polls without an answer the master is dead.
    pub poll_limit: u32,
    /// How long to wait for more changes to come before a sweep that a change gave rise to.
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
