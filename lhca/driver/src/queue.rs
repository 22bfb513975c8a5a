//! Queues that the hypervisor fills: completions and events.

use lhca_contract::{Call, Completion, Event, Handle, QueueConfig};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::error::CallError;
use crate::lhca::Lhca;
use crate::memory::RingMemory;
use crate::platform::Platform;
use crate::ring::Consumer;

/// Where completions come.
#[derive(Debug)]
pub struct CompletionQueue {
    inner: Queue<Completion>,
}

/// Where events come; a partition has one.
#[derive(Debug)]
pub struct EventQueue {
    inner: Queue<Event>,
}

#[derive(Debug)]
struct Queue<E> {
    handle: Handle,
    consumer: Consumer<E>,
}

macro_rules! queue {
    ($name:ident, $entry:ident, $create:ident, $destroy:ident, $what:literal) => {
        impl $name {
            #[doc = concat!("Creates a queue of ", $what, "s in `memory`. `vector` is its interrupt, 0 for none.")]
            ///
            /// # Errors
            /// The hypervisor refused. The memory is gone then, because it may have been given away already.
            pub fn create<P: Platform>(
                lhca: &Lhca<P>,
                memory: RingMemory<$entry>,
                vector: u8,
            ) -> Result<Self, CallError> {
                Queue::create(lhca, Call::$create, memory, vector).map(|inner| Self { inner })
            }

            #[doc = concat!("The next ", $what, ".")]
            pub fn next<P: Platform>(&mut self, lhca: &Lhca<P>) -> Option<$entry> {
                self.inner.next(lhca)
            }

            /// Asks for the interrupt when the next entry comes; says whether one is there already, so that there is no
            /// time to sleep.
            pub fn arm(&mut self) -> bool {
                self.inner.consumer.arm()
            }

            /// By which name the hypervisor knows it.
            #[must_use]
            pub fn handle(&self) -> Handle {
                self.inner.handle
            }

            /// Destroys the queue; what is in it is gone.
            ///
            /// # Errors
            /// The hypervisor refused, and the queue lives on, without an owner.
            pub fn destroy<P: Platform>(self, lhca: &Lhca<P>) -> Result<(), CallError> {
                lhca.call(Call::$destroy, [self.inner.handle.0.into(), 0, 0]).map(|_| ())
            }
        }
    };
}

queue!(CompletionQueue, Completion, CREATE_COMPLETION_QUEUE, DESTROY_COMPLETION_QUEUE, "completion");
queue!(EventQueue, Event, CREATE_EVENT_QUEUE, DESTROY_EVENT_QUEUE, "event");

impl<E: FromBytes + IntoBytes + Immutable> Queue<E> {
    fn create<P: Platform>(lhca: &Lhca<P>, call: Call, memory: RingMemory<E>, vector: u8) -> Result<Self, CallError> {
        let ring = lhca.ring_address(memory.start());
        let config = QueueConfig { ring, log_entries: memory.log_entries(), vector, reserved: [0; 6] };
        let value = lhca.call(call, [lhca.address(&config), 0, 0])?;
        Ok(Self { handle: Handle((value & 0xffff_ffff) as u32), consumer: Consumer::new(memory) })
    }

    fn next<P: Platform>(&mut self, lhca: &Lhca<P>) -> Option<E> {
        let (entry, told) = self.consumer.pop()?;
        lhca.tell(told, self.handle);
        Some(entry)
    }
}
