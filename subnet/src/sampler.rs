//! Sampling: what a port counts in a stretch of time that a manager chooses (16.1.3.2 to 16.1.3.4).

use core::time::Duration;

use iba::pma::{PortSamplesControl, PortSamplesResult, SampleStatus};

use crate::counters::Traffic;
use crate::time::Time;

/// Length of a tick. PortSamplesControl leaves it to the vendor, whose Tick 0 this is.
const TICK: Duration = Duration::from_micros(1);

/// Counters that a sample can have.
const COUNTERS: usize = 5;

/// CounterMask of a counter that can be any of the mandatory ones.
const MANDATORY: u8 = 1;

/// A node's one mechanism to sample; one port at a time.
///
/// Time passes only between packets, so that looking at the counters when a moment has passed, and before another
/// packet is counted, is as good as looking at that very moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sampler {
    asked: PortSamplesControl,
    /// Which port, by where it is.
    port: usize,
    begin: Option<Time>,
    end: Option<Time>,
    before: Traffic,
    counters: [u64; COUNTERS],
}

impl Sampler {
    /// Begins to sample the port at `port` as `asked`, unless sampling is under way. True if it began.
    pub(crate) fn start(&mut self, now: Time, port: usize, asked: &PortSamplesControl) -> bool {
        if self.end.is_some() {
            return false;
        }
        let begin = now.after(TICK * asked.sample_start.get());
        *self = Self {
            asked: *asked,
            port,
            begin: Some(begin),
            end: Some(begin.after(TICK * asked.sample_interval.get())),
            ..Self::default()
        };
        true
    }

    /// Which port is sampled, by where it is.
    pub(crate) fn port(&self) -> usize {
        self.port
    }

    /// Looks at the sampled port's counters, if it is time.
    pub(crate) fn look(&mut self, now: Time, traffic: &Traffic) {
        if self.begin.take_if(|begin| *begin <= now).is_some() {
            self.before = *traffic;
        }
        if self.end.take_if(|end| *end <= now).is_some() {
            for (counter, select) in self.counters.iter_mut().zip(self.asked.counter_select) {
                let of = |traffic: &Traffic| match select.get() {
                    1 => traffic.xmit_data,
                    2 => traffic.rcv_data,
                    3 => traffic.xmit_packets,
                    4 => traffic.rcv_packets,
                    _ => 0, // 5 is PortXmitWait: nothing here ever waits
                };
                *counter = of(traffic) - of(&self.before);
            }
        }
    }

    /// When to look.
    pub(crate) fn deadline(&self) -> Time {
        self.begin.or(self.end).unwrap_or(Time::NEVER)
    }

    fn status(&self) -> SampleStatus {
        match (self.begin, self.end) {
            (Some(_), _) => SampleStatus::STARTED,
            (None, Some(_)) => SampleStatus::RUNNING,
            (None, None) => SampleStatus::DONE,
        }
    }

    /// PortSamplesControl, as asked last.
    pub(crate) fn control(&self) -> PortSamplesControl {
        let mut control = PortSamplesControl::default();
        control.set_counter_width(4); // 32 bits
        control.set_counter_mask0(MANDATORY);
        let masks = (1..COUNTERS).fold(0, |masks, counter| masks | u32::from(MANDATORY) << (27 - 3 * counter));
        control.set_counter_masks1_to_9(masks);
        control.sample_mechanisms = 1;
        control.set_sample_status(self.status());
        control.sample_start = self.asked.sample_start;
        control.sample_interval = self.asked.sample_interval;
        control.tag = self.asked.tag;
        control.counter_select[..COUNTERS].copy_from_slice(&self.asked.counter_select[..COUNTERS]);
        control
    }

    /// PortSamplesResult: the counters are valid once it says that it is done.
    pub(crate) fn result(&self) -> PortSamplesResult {
        let mut result = PortSamplesResult::default();
        result.tag = self.asked.tag;
        result.set_sample_status(self.status());
        for (field, counter) in result.counters.iter_mut().zip(self.counters) {
            *field = u32::try_from(counter).unwrap_or(u32::MAX).into();
        }
        result
    }
}
