//! The machine that an image runs on.

use lhca_driver::{Lhca, Platform};

use crate::{Information, Memory};

/// The partition, as its image has it.
#[derive(Debug)]
pub struct Machine<P> {
    /// Its LHCA.
    pub lhca: Lhca<P>,
    /// Information page.
    pub information: Information<'static>,
    /// Its free memory.
    pub memory: Memory,
}

#[cfg(target_os = "none")]
impl Machine<lhca_driver::Vmmcall> {
    /// Sleeps until there is an interrupt. One that came since the last time ends it at once.
    pub fn wait(&self) {
        crate::interrupts::wait();
    }

    /// As [`Self::wait`], and also until `time`, in nanoseconds as [`Lhca::time`] has them.
    ///
    /// # Errors
    /// The hypervisor refused the timer, and there was no sleep.
    pub fn wait_until(&self, time: u64) -> Result<(), lhca_driver::CallError> {
        self.lhca.set_timer(time, crate::VECTOR)?;
        crate::interrupts::wait();
        Ok(())
    }

    /// Ends the partition with `code`.
    pub fn exit(&self, code: u64) -> ! {
        crate::end::end_with(code)
    }

    /// Gives `bytes` of the free memory to the heap; once, before anything is allocated.
    ///
    /// # Panics
    /// If there is not so much memory: an error of the image's own.
    #[cfg(feature = "heap")]
    pub fn claim_heap(&mut self, bytes: usize) {
        crate::heap::claim(self.memory.lines(bytes.div_ceil(size_of::<lhca_driver::Line>())));
    }
}

impl<P: Platform> Machine<P> {
    /// Nanoseconds since the hypervisor started; 0 if it does not say.
    pub fn time(&self) -> u64 {
        self.lhca.time().unwrap_or(0)
    }
}
