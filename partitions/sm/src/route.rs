//! Directed routes, and SMPs that take them (IBA vol. 1, 14.2.2).

use alloc::vec::Vec;

use iba::mad::{AttributeId, Class, MadHeader, Method};
use iba::smp::{HOP_LIMIT, Smp};
use iba::{Lid, PortNum};

/// A directed route from the manager's own port: by which port to leave each node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route(Vec<PortNum>);

impl Route {
    /// The route one hop further, by `port` of the node that this one ends at; `None` where there can be none.
    pub(crate) fn then(&self, port: PortNum) -> Option<Self> {
        if self.0.len() + 1 >= usize::from(HOP_LIMIT) {
            return None;
        }
        let mut ports = Vec::with_capacity(self.0.len() + 1);
        ports.extend_from_slice(&self.0);
        ports.push(port);
        Some(Self(ports))
    }

    /// Returns `true` if the route ends at its start.
    pub(crate) fn is_here(&self) -> bool {
        self.0.is_empty()
    }

    /// A request that takes this route.
    pub(crate) fn request(&self, method: Method, attribute: AttributeId, modifier: u32) -> Smp {
        let mut smp = request(Class::SUBN_DIRECTED_ROUTE, method, attribute, modifier);
        (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
        // `then` keeps it below 64.
        smp.set_hop_count(u8::try_from(self.0.len()).unwrap_or(HOP_LIMIT - 1));
        for (entry, &port) in smp.initial_path[1..].iter_mut().zip(&self.0) {
            *entry = port;
        }
        smp
    }
}

/// A request without data.
pub(crate) fn request(class: Class, method: Method, attribute: AttributeId, modifier: u32) -> Smp {
    let mut smp = Smp::default();
    smp.header.base_version = MadHeader::BASE_VERSION;
    smp.header.class = class;
    smp.header.class_version = Smp::CLASS_VERSION;
    smp.header.method = method;
    smp.header.attribute_id = attribute;
    smp.header.attribute_modifier = modifier.into();
    smp
}
