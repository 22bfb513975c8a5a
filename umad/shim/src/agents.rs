//! Agents: users of a port, and the choice of the agent that receives a MAD.

use std::collections::BTreeMap;

use iba::mad::{Class, Mad, MadHeader, Method};
use rustix::io::Errno;

use crate::rmpp;

/// Number of an open umad file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId(pub(crate) u32);

/// Bits 32-47 of the transaction id of each request of an agent. A server uses the bits above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AgentTid(u16);

impl AgentTid {
    /// Returns the mark in transaction `id`.
    pub(crate) fn of(id: u64) -> Self {
        let [_, _, high, low, ..] = id.to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }

    /// Returns transaction `id` with its upper half replaced by this mark.
    pub(crate) fn mark(self, id: u64) -> u64 {
        u64::from(self.0) << 32 | id & 0xffff_ffff
    }
}

/// Selection of the unsolicited MADs that an agent receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    class: Class,
    version: u8,
    /// OUI of the vendor; `None` for classes without one.
    oui: Option<[u8; 3]>,
    /// Bit `n` is method `n`.
    methods: u128,
}

impl Filter {
    /// Creates a filter; `None` for class 0, which stands for responses only.
    pub(crate) fn new(class: Class, version: u8, oui: [u8; 3], methods: u128) -> Option<Self> {
        let oui = rmpp::is_vendor_with_oui(class).then_some(oui);
        (class.get() != 0).then_some(Self { class, version, oui, methods })
    }

    /// Returns `true` if the filter selects `mad`.
    fn matches(&self, mad: &Mad) -> bool {
        // Behind the RMPP header and a reserved byte (IBA vol. 1, 16.5.1).
        const OUI: usize = rmpp::RMPP_OFFSET + 1 - size_of::<MadHeader>();
        self.class == mad.header.class
            && self.version == mad.header.class_version
            && self.methods >> (mad.header.method.get() & 0x7f) & 1 == 1
            && self.oui.is_none_or(|oui| oui == mad.data[OUI..OUI + 3])
    }

    /// Returns `true` if a MAD exists that both filters select.
    fn overlaps(&self, other: &Self) -> bool {
        self.class == other.class
            && self.version == other.version
            && self.oui == other.oui
            && self.methods & other.methods != 0
    }
}

/// Checked request to become an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    qpn: u32,
    filter: Option<Filter>,
    does_rmpp: bool,
}

impl Registration {
    /// Checks a request as the kernel does: queue pair 0 is for subnet management alone, RMPP for classes that have it,
    /// and a vendor's class needs an OUI.
    ///
    /// # Errors
    ///
    /// EINVAL for a request that the kernel refuses.
    pub(crate) fn new(qpn: u32, filter: Option<Filter>, rmpp_version: u8, by_user: bool) -> Result<Self, Errno> {
        const VERSIONS: u8 = 8;
        const CLASSES: u8 = 0x50;
        let is_good = match filter {
            None => true,
            Some(Filter { class, version, oui, .. }) => {
                let is_smp = [Class::SUBN_LID_ROUTED, Class::SUBN_DIRECTED_ROUTE].contains(&class);
                version < VERSIONS
                    && (class.get() < CLASSES || is_smp)
                    && oui != Some([0; 3])
                    && (rmpp_version == 0 || rmpp::header_len(class).is_some())
                    && is_smp == (qpn == 0)
            }
        };
        if qpn > 1 || rmpp_version > 1 || !is_good {
            return Err(Errno::INVAL);
        }
        Ok(Self { qpn, filter, does_rmpp: rmpp_version == 1 && !by_user })
    }
}

/// User of a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agent {
    /// File of the agent.
    pub(crate) file: FileId,
    /// Number of the agent in its file.
    pub(crate) id: u32,
    /// Queue pair from which the agent sends: 0 or 1.
    pub(crate) qpn: u32,
    /// `true` if the library does RMPP for the agent; otherwise the agent sees each segment.
    pub(crate) does_rmpp: bool,
    filter: Option<Filter>,
}

/// Agents of a port.
#[derive(Debug)]
pub(crate) struct Agents {
    agents: BTreeMap<AgentTid, Agent>,
    last: u16,
}

impl Agents {
    /// Greatest number of agents of a file.
    const IN_FILE: u32 = 32;

    /// Creates a set without agents; the first agent gets the mark after `mark`.
    pub(crate) fn new(mark: u16) -> Self {
        Self { agents: BTreeMap::new(), last: mark }
    }

    /// Adds an agent to `file` and returns its number there.
    ///
    /// # Errors
    ///
    /// ENOMEM if the file has 32 agents; EINVAL if another agent has one of the methods.
    pub(crate) fn register(&mut self, file: FileId, request: Registration) -> Result<u32, Errno> {
        let id = (0..Self::IN_FILE).find(|&id| self.find(file, id).is_none()).ok_or(Errno::NOMEM)?;
        if let Some(filter) = &request.filter
            && self.agents.values().filter_map(|agent| agent.filter.as_ref()).any(|taken| taken.overlaps(filter))
        {
            return Err(Errno::INVAL);
        }
        // A mark is not reused soon, so that a late response does not find another agent.
        let tid = (1..=u16::MAX)
            .map(|step| AgentTid(self.last.wrapping_add(step)))
            .find(|tid| tid.0 != 0 && !self.agents.contains_key(tid))
            .ok_or(Errno::NOMEM)?;
        self.last = tid.0;
        let agent = Agent { file, id, qpn: request.qpn, does_rmpp: request.does_rmpp, filter: request.filter };
        self.agents.insert(tid, agent);
        Ok(id)
    }

    /// Removes agent `id` of `file`.
    ///
    /// # Errors
    ///
    /// EINVAL if the file has no such agent.
    pub(crate) fn unregister(&mut self, file: FileId, id: u32) -> Result<AgentTid, Errno> {
        let (tid, _) = self.find(file, id).ok_or(Errno::INVAL)?;
        self.agents.remove(&tid);
        Ok(tid)
    }

    /// Removes all agents of `file`.
    pub(crate) fn close(&mut self, file: FileId) {
        self.agents.retain(|_, agent| agent.file != file);
    }

    /// Returns agent `id` of `file`.
    pub(crate) fn find(&self, file: FileId, id: u32) -> Option<(AgentTid, Agent)> {
        self.agents.iter().find(|(_, agent)| agent.file == file && agent.id == id).map(|(&tid, &agent)| (tid, agent))
    }

    /// Returns the agent with this mark.
    pub(crate) fn get(&self, tid: AgentTid) -> Option<Agent> {
        self.agents.get(&tid).copied()
    }

    /// Returns the agent that receives the unsolicited `mad`.
    pub(crate) fn taker(&self, mad: &Mad) -> Option<(AgentTid, Agent)> {
        let takes = |agent: &Agent| agent.filter.is_some_and(|filter| filter.matches(mad));
        self.agents.iter().find(|(_, agent)| takes(agent)).map(|(&tid, &agent)| (tid, agent))
    }
}

/// Returns `true` if a MAD answers another: it is a response, or a TrapRepress (IBA vol. 1, 13.4.5).
pub(crate) fn is_response(header: &MadHeader) -> bool {
    const BM_RESPONSE: u32 = 1; // baseboard management has a bit in the attribute modifier (IBA vol. 1, 16.6.3)
    header.method.is_response()
        || header.method == Method::TRAP_REPRESS
        || header.class == Class::BM && header.attribute_modifier.get() & BM_RESPONSE != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    const FILE: FileId = FileId(1);
    const OUI: [u8; 3] = [0, 0x14, 5];

    fn request(qpn: u32, class: u8, methods: u128) -> Result<Registration, Errno> {
        Registration::new(qpn, Filter::new(Class::new(class), 1, OUI, methods), 0, false)
    }

    fn mad(class: u8, method: u8) -> Mad {
        let mut mad = Mad::new_zeroed();
        mad.header.class = Class::new(class);
        mad.header.class_version = 1;
        mad.header.method = Method::new(method);
        mad
    }

    #[test]
    fn registrations_that_the_kernel_refuses_are_refused() {
        for (qpn, class) in [(2, 4), (0, 4), (1, 1), (1, 0x81), (1, 0x50), (1, 0x82)] {
            assert_eq!(request(qpn, class, 0).err(), Some(Errno::INVAL), "queue pair {qpn}, class {class:#x}");
        }
        for (qpn, class) in [(0, 1), (0, 0x81), (1, 3), (1, 0x4f), (0, 0), (1, 0)] {
            assert!(request(qpn, class, 0).is_ok(), "queue pair {qpn}, class {class:#x}");
        }
        let filter = |class, version, oui| Filter::new(Class::new(class), version, oui, 0);
        assert!(Registration::new(1, filter(4, 8, OUI), 0, false).is_err(), "version");
        assert!(Registration::new(1, filter(0x30, 1, [0; 3]), 0, false).is_err(), "vendor without OUI");
        assert!(Registration::new(1, filter(4, 1, OUI), 1, false).is_err(), "class without RMPP");
        assert!(Registration::new(1, filter(3, 1, OUI), 2, false).is_err(), "RMPP version");
        assert!(Registration::new(1, filter(3, 1, OUI), 1, false).is_ok_and(|it| it.does_rmpp));
        assert!(Registration::new(1, filter(3, 1, OUI), 1, true).is_ok_and(|it| !it.does_rmpp));
    }

    #[test]
    fn method_of_a_class_has_one_agent() {
        let mut agents = Agents::new(0);
        let (get, set) = (1 << 1, 1 << 2);
        assert_eq!(agents.register(FILE, request(1, 3, get).unwrap()), Ok(0));
        assert_eq!(agents.register(FileId(2), request(1, 3, get | set).unwrap()), Err(Errno::INVAL));
        assert_eq!(agents.register(FileId(2), request(1, 3, set).unwrap()), Ok(0), "each file has its own numbers");
        assert_eq!(agents.register(FILE, request(1, 4, get).unwrap()), Ok(1));
        assert_eq!(
            agents.register(FILE, request(1, 3, 0).unwrap()),
            Ok(2),
            "an agent for responses only has no methods"
        );
        assert!(agents.unregister(FILE, 0).is_ok());
        assert_eq!(agents.unregister(FILE, 0).err(), Some(Errno::INVAL));
        assert_eq!(agents.register(FileId(2), request(1, 3, get).unwrap()), Ok(1));
    }

    #[test]
    fn file_with_32_agents_refuses_another() {
        let mut agents = Agents::new(0);
        for id in 0..32 {
            assert_eq!(agents.register(FILE, request(1, 3, 0).unwrap()), Ok(id));
        }
        assert_eq!(agents.register(FILE, request(1, 3, 0).unwrap()), Err(Errno::NOMEM));
        agents.close(FILE);
        assert_eq!(agents.register(FILE, request(1, 3, 0).unwrap()), Ok(0));
    }

    #[test]
    fn unsolicited_mad_is_for_the_agent_of_its_filter() {
        let mut agents = Agents::new(0);
        agents.register(FILE, request(1, 3, 1 << 6).unwrap()).unwrap();
        agents.register(FILE, request(1, 0x32, 1 << 1).unwrap()).unwrap();
        let taker = |mad: &Mad| agents.taker(mad).map(|(_, agent)| agent.id);
        assert_eq!(taker(&mad(3, 6)), Some(0));
        assert_eq!(taker(&mad(3, 1)), None, "method");
        assert_eq!(taker(&mad(4, 6)), None, "class");
        let mut newer = mad(3, 6);
        newer.header.class_version = 2;
        assert_eq!(taker(&newer), None, "version");
        let mut vendor = mad(0x32, 1);
        assert_eq!(taker(&vendor), None, "OUI");
        vendor.data[13..16].copy_from_slice(&OUI);
        assert_eq!(taker(&vendor), Some(1));
    }

    #[test]
    fn marks_are_not_reused_soon() {
        let mut agents = Agents::new(0);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let id = agents.register(FILE, request(1, 3, 0).unwrap()).unwrap();
            let tid = agents.unregister(FILE, id).unwrap();
            assert!(tid.0 != 0 && seen.insert(tid));
        }
        assert_eq!(AgentTid::of(AgentTid(7).mark(u64::MAX)), AgentTid(7));
    }
}
