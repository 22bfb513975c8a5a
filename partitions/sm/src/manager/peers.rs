//! Other managers: what we say to them, and what we do because of them (IBA vol. 1, 14.4.1).

use core::time::Duration;

use iba::Lid;
use iba::attr::{SmControl, SmInfo, SmState};
use iba::mad::{Attribute, Class, Method, Status};
use iba::smp::Smp;

use super::{Manager, Task, send};
use crate::discover::Question;
use crate::election::{is_above, is_alive, obey};
use crate::outlet::{Address, Outlet};
use crate::route::{Route, request};
use crate::traps::claim;

impl Manager {
    /// Answers a request for our SMInfo.
    pub(super) fn answer(&mut self, from: &Address, request: &Smp, status: Status, out: &mut impl Outlet) {
        let mut smp = *request;
        smp.header.method = Method::GET_RESP;
        smp.set_returning(smp.header.class == Class::SUBN_DIRECTED_ROUTE);
        smp.set_status(status);
        smp.set_attribute(&self.info());
        out.send(from, zerocopy::transmute_ref!(&smp));
    }

    pub(super) fn info(&mut self) -> SmInfo {
        self.activity = self.activity.wrapping_add(1);
        let mut info = SmInfo::default();
        (info.guid, info.sm_key, info.act_count) = (self.guid, self.config.sm_key, self.activity.into());
        info.set_priority(self.config.priority);
        info.set_state(self.state);
        info
    }

    /// Does what another manager asks for.
    pub(super) fn take_order(&mut self, now: Duration, from: &Address, smp: &Smp, out: &mut impl Outlet) {
        let control = SmControl::new(smp.header.attribute_modifier.get());
        let sender: &SmInfo = smp.attribute();
        let Some(next) = obey(self.state, control, sender.state()) else {
            return self.answer(from, smp, Status::INVALID_FIELD, out);
        };
        self.answer(from, smp, Status::OK, out);
        match (control, next) {
            (SmControl::ACKNOWLEDGE, _) => return,
            (_, SmState::MASTER) => {
                self.stop(now);
                if self.state != SmState::MASTER {
                    self.acknowledge();
                }
                self.rise(out);
            }
            (_, next) => {
                self.stop(now);
                self.polled = None;
                self.set_state(next, out);
            }
        }
        self.is_changed = true;
    }

    /// Says to the master that was that we are master now.
    pub(super) fn acknowledge(&mut self) {
        let info = self.info();
        let Some(route) = &self.polled else { return };
        let mut smp = route.request(Method::SET, SmInfo::ID, SmControl::ACKNOWLEDGE.get());
        smp.set_attribute(&info);
        self.requests.ask(Question::Acknowledge, Lid::PERMISSIVE, smp);
    }

    /// Becomes master, of a subnet that another may have left in any state.
    pub(super) fn rise(&mut self, out: &mut impl Outlet) {
        self.set_state(SmState::MASTER, out);
        self.is_new = true;
        self.tables.clear();
    }

    pub(super) fn stand_by(&mut self, now: Duration, master: Route, out: &mut impl Outlet) {
        self.stop(now);
        self.polled = Some(master);
        self.set_state(SmState::STANDBY, out);
    }

    /// Asks our own port and the master how they are.
    pub(super) fn ask_master(&mut self) {
        self.task = Task::Poll;
        self.ask_own();
        let own = self.topology.own().map(|(_, port)| port.info);
        let (lid, smp) = match (&self.polled, own) {
            (Some(route), _) => (Lid::PERMISSIVE, route.request(Method::GET, SmInfo::ID, 0)),
            (None, Some(own)) if own.master_sm_lid.is_unicast() => {
                (own.master_sm_lid, request(Class::SUBN_LID_ROUTED, Method::GET, SmInfo::ID, 0))
            }
            // We do not know yet who is master; that counts like one who does not answer.
            (None, _) => return self.missed += 1,
        };
        self.requests.ask(Question::Poll, lid, smp);
    }

    pub(super) fn take_poll(&mut self, question: Question, answer: Option<&Smp>, out: &mut impl Outlet) {
        match (question, answer) {
            (Question::LookAtOwn, Some(smp)) => {
                if let Some((end, _)) = self.topology.own()
                    && let Some(port) = self.topology.port_mut(end)
                {
                    port.info = *smp.attribute();
                }
            }
            (Question::Poll, Some(smp)) => {
                let (own, other): (_, &SmInfo) = (self.info(), smp.attribute());
                self.missed = if is_alive(&own, other) { 0 } else { self.missed + 1 };
                if other.state() == SmState::MASTER && is_above(&own, other) {
                    self.claim(None, out);
                }
            }
            (Question::Poll, None) => self.missed += 1,
            _ => {}
        }
    }

    /// Tells a master, the one at `lid` or our own, that we have more right to be it.
    pub(super) fn claim(&mut self, lid: Option<Lid>, out: &mut impl Outlet) {
        self.activity = self.activity.wrapping_add(1);
        let Some((_, port)) = self.topology.own() else { return };
        let master = lid.unwrap_or(port.info.master_sm_lid);
        if port.info.lid.is_unicast() && master.is_unicast() {
            let smp = claim(port.info.lid, self.activity, port.info.capability_mask());
            send(master, &smp, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use iba::Guid;

    use super::*;
    use crate::config::Config;

    #[derive(Default)]
    struct Sent(Vec<Smp>);

    impl Outlet for Sent {
        fn send(&mut self, _: &Address, mad: &[u8; 256]) {
            self.0.push(zerocopy::transmute!(*mad));
        }
    }

    /// A manager in this state, who has found nothing yet, and has polled a master before.
    fn manager(state: SmState) -> Manager {
        let mut manager = Manager::new(Guid::new(7), Config { priority: 5, ..Config::default() }, Duration::ZERO);
        manager.state = state;
        manager.polled = Some(Route::default());
        manager
    }

    /// SMInfo of another manager, with less right to be master.
    fn other(state: SmState) -> Smp {
        let mut info = SmInfo::default();
        info.guid = Guid::new(8);
        info.set_priority(4);
        info.set_state(state);
        let mut smp = request(Class::SUBN_LID_ROUTED, Method::GET, SmInfo::ID, 0);
        smp.set_attribute(&info);
        smp
    }

    #[test]
    fn an_order_is_answered_and_leads_to_its_state() {
        const OK: Status = Status::OK;
        let (master, standby, off) = (SmState::MASTER, SmState::STANDBY, SmState::NOT_ACTIVE);
        for (own, control, sender, status, next, accepts) in [
            (standby, SmControl::HANDOVER, master, OK, master, true),
            (master, SmControl::HANDOVER, master, OK, master, false),
            (standby, SmControl::DISCOVER, master, OK, SmState::DISCOVERING, false),
            (standby, SmControl::DISABLE, master, OK, off, false),
            (off, SmControl::STANDBY, master, OK, standby, false),
            (master, SmControl::ACKNOWLEDGE, standby, OK, master, false),
            (master, SmControl::DISABLE, master, Status::INVALID_FIELD, master, false),
            (standby, SmControl::HANDOVER, standby, Status::INVALID_FIELD, standby, false),
        ] {
            let (mut manager, mut sent) = (manager(own), Sent::default());
            let mut order = other(sender);
            order.header.method = Method::SET;
            order.header.attribute_modifier = control.get().into();
            let from = Address::smi(Lid::new(1));
            manager.receive(Duration::from_secs(1), &from, zerocopy::transmute_ref!(&order), &mut sent);
            let case = (own, control, sender);
            let [answer, rest @ ..] = &sent.0[..] else { panic!("{case:?}: no answer") };
            assert_eq!((answer.header.method, answer.status()), (Method::GET_RESP, status), "{case:?}");
            assert_eq!(manager.state, next, "{case:?}");
            let accepted = rest.iter().filter(|smp| smp.header.method == Method::SET).map(|smp| {
                let info: &SmInfo = smp.attribute();
                (smp.header.attribute_modifier.get(), info.guid, info.state())
            });
            let expected = accepts.then_some((SmControl::ACKNOWLEDGE.get(), Guid::new(7), standby));
            assert!(accepted.eq(expected), "{case:?}");
        }
    }

    #[test]
    fn disabled_manager_sends_no_requests() {
        let (mut manager, mut sent) = (manager(SmState::NOT_ACTIVE), Sent::default());
        assert_eq!(manager.poll(Duration::from_secs(1), &mut sent), Duration::MAX);
        assert!(sent.0.is_empty());
    }

    #[test]
    fn activity_is_counted_up_with_each_answer() {
        let (mut manager, mut sent) = (manager(SmState::NOT_ACTIVE), Sent::default());
        for _ in 0..3 {
            let ask = other(SmState::MASTER);
            manager.receive(Duration::ZERO, &Address::smi(Lid::new(1)), zerocopy::transmute_ref!(&ask), &mut sent);
        }
        let counts = sent.0.iter().map(|smp| smp.attribute::<SmInfo>().act_count.get());
        assert!(counts.eq(1..=3));
    }

    #[test]
    fn polls_that_find_no_master_in_a_row_are_counted() {
        let (mut manager, mut sent) = (manager(SmState::STANDBY), Sent::default());
        for (state, missed) in [
            (None, 1),
            (Some(SmState::NOT_ACTIVE), 2),
            (Some(SmState::MASTER), 0),
            (Some(SmState::STANDBY), 1), // it has less right to be master than we
            (None, 2),
        ] {
            manager.take_poll(Question::Poll, state.map(other).as_ref(), &mut sent);
            assert_eq!(manager.missed, missed, "{state:?}");
        }
    }
}
