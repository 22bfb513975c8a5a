//! What is on its way: packets, one behind the other in one buffer, so that a hop allocates nothing.

use iba::PortNum;
use subnet::LinkRequest;

use umad_server::NodePort;

/// Something on its way to a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where to.
    pub(super) at: NodePort,
    /// What.
    pub(super) what: What,
    /// Hops that it, or what it answers, has behind it.
    pub(super) hops: u8,
}

/// What is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// A packet, by its place in the buffer.
    Packet {
        /// The first byte.
        start: usize,
        /// The byte behind the last.
        end: usize,
    },
    /// Something for the link at the port, which packets that were sent before it precede.
    Link(LinkRequest),
}

/// Things on their way, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Flight {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the packets that are on their way.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Copies `packet`.
    pub(super) fn push(&mut self, at: NodePort, packet: &[u8], hops: u8) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        self.entries.push(Entry { at, what: What::Packet { start, end: self.bytes.len() }, hops });
    }

    pub(super) fn push_link(&mut self, node: usize, port: PortNum, request: LinkRequest, hops: u8) {
        self.entries.push(Entry { at: NodePort { node, port }, what: What::Link(request), hops });
    }

    pub(super) fn entry(&self, index: usize) -> Entry {
        self.entries[index]
    }

    pub(super) fn packet(&mut self, start: usize, end: usize) -> &mut [u8] {
        &mut self.bytes[start..end]
    }

    /// Hands over all packets, in order.
    pub(super) fn drain(&mut self, mut take: impl FnMut(NodePort, &[u8])) {
        for entry in &self.entries {
            if let What::Packet { start, end } = entry.what {
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
