//! Packets in flight, one behind the other in one buffer, so that a hop allocates nothing.

use iba::PortNum;
use subnet::LinkRequest;

use umad_server::NodePort;

/// A packet or a link request in flight to a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Destination.
    pub(super) at: NodePort,
    pub(super) payload: Payload,
    /// Hops so far, those of the request included if this is a response.
    pub(super) hops: u8,
}

/// Content of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload {
    /// A packet, as a range of the buffer.
    Packet { start: usize, end: usize },
    /// A request for the link at the port; packets that were sent before it arrive before it.
    Link(LinkRequest),
}

/// Packets and link requests in flight, in the order of their sending.
#[derive(Debug, Default)]
pub(super) struct Flight {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the bytes of the packets in flight.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a copy of `packet`.
    pub(super) fn push(&mut self, at: NodePort, packet: &[u8], hops: u8) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        self.entries.push(Entry { at, payload: Payload::Packet { start, end: self.bytes.len() }, hops });
    }

    pub(super) fn push_link(&mut self, node: usize, port: PortNum, request: LinkRequest, hops: u8) {
        self.entries.push(Entry { at: NodePort { node, port }, payload: Payload::Link(request), hops });
    }

    pub(super) fn entry(&self, index: usize) -> Entry {
        self.entries[index]
    }

    pub(super) fn packet(&mut self, start: usize, end: usize) -> &mut [u8] {
        &mut self.bytes[start..end]
    }

    /// Passes all packets to `take`, in order, and clears the flight.
    pub(super) fn drain(&mut self, mut take: impl FnMut(NodePort, &[u8])) {
        for entry in &self.entries {
            if let Payload::Packet { start, end } = entry.payload {
                take(entry.at, &self.bytes[start..end]);
            }
        }
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }
}
