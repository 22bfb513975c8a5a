//! Hypercalls: their numbers, and what they answer.

use crate::values;

values! {
    /// A hypercall's number, in RAX. The arguments follow each name, in the order RDI, RSI, RDX.
    Call: u64 {
        /// (): value = [`crate::VERSION`]. Does nothing else, so it shows what a hypercall costs.
        VERSION = 0,
        /// (address of [`crate::HcaAttributes`]): fills it.
        QUERY_HCA = 1,
        /// (port, address of [`crate::PortAttributes`]): fills it. Ports count from 1.
        QUERY_PORT = 2,
        /// (port, a [`crate::PortChange`], value): changes it.
        MODIFY_PORT = 3,
        /// (port, index): value = the P_Key at that index of the port's table.
        QUERY_P_KEY = 4,
        /// (port, index): value = the GUID at that index of the port's table, as a number.
        QUERY_GUID = 5,
        /// (address of [`crate::QueueConfig`]): value = the [`crate::Handle`] of a new completion queue.
        CREATE_COMPLETION_QUEUE = 6,
        /// (handle). `BUSY` while a queue pair uses it.
        DESTROY_COMPLETION_QUEUE = 7,
        /// (address of [`crate::QueueConfig`]): value = the handle of the event queue. A partition has one.
        CREATE_EVENT_QUEUE = 8,
        /// (handle).
        DESTROY_EVENT_QUEUE = 9,
        /// (address of [`crate::QueuePairConfig`]): value = handle, and the queue pair's number << 32. It is in state
        /// Reset. Kinds SMI and GSI define the port's aliased queue pairs 0 and 1.
        CREATE_QUEUE_PAIR = 10,
        /// (handle, address of [`crate::QueuePairChange`]): changes state and attributes; all or nothing.
        MODIFY_QUEUE_PAIR = 11,
        /// (handle, address of [`crate::QueuePairAttributes`]): fills it.
        QUERY_QUEUE_PAIR = 12,
        /// (handle). Its work entries are gone without completions, its completions stay.
        DESTROY_QUEUE_PAIR = 13,
        /// (handle of a UD queue pair, address of [`crate::MulticastGroup`]): what is sent to the group is received
        /// there.
        ATTACH_MULTICAST = 14,
        /// (handle, address of [`crate::MulticastGroup`]): undoes it.
        DETACH_MULTICAST = 15,
        /// (address of [`crate::MemoryRegion`]): value = its L_Key, never 0.
        REGISTER_MEMORY = 16,
        /// (L_Key).
        DEREGISTER_MEMORY = 17,
        /// (handle): an index in a queue of this object was published past the hypervisor's event index.
        DOORBELL = 18,
        /// (): value = nanoseconds since the hypervisor started.
        TIME = 19,
        /// (address of text, bytes): value = bytes taken. The address needs no alignment.
        CONSOLE = 20,
        /// (code): ends the partition. Does not return.
        EXIT = 21,
        /// (time, vector): interrupts with the vector, from 32 on, once [`Call::TIME`] has come to `time`, and not when
        /// the call before asked for. Vector 0: never.
        SET_TIMER = 22,
        /// (address of [`crate::Exits`]): fills it. Since version 1.1.
        QUERY_EXITS = 23,
    }

    /// What became of a hypercall, in RAX.
    Status: u64 {
        /// It was done.
        OK = 0,
        /// The call is unknown.
        UNKNOWN_CALL = 1,
        /// Not from this privilege level, or against the partition's policy.
        NOT_PERMITTED = 2,
        /// An address is not aligned as asked, or something there is not in the partition's memory.
        BAD_ADDRESS = 3,
        /// The LHCA has no such port.
        BAD_PORT = 4,
        /// A handle or L_Key that names nothing, or something of another kind, or what was destroyed.
        BAD_HANDLE = 5,
        /// A field or argument has a value that is not allowed.
        BAD_ARGUMENT = 6,
        /// The queue pair's state does not allow it (IBA vol. 1, 10.3.1).
        BAD_STATE = 7,
        /// Something else still uses it.
        BUSY = 8,
        /// There is one already, and there can be only one.
        EXISTS = 9,
        /// As many as there can be exist already.
        NO_RESOURCES = 10,
    }
}
