//! What may lie between the proxy's host and the backend's: devices of every kind.

pub(crate) use super::foreign::Tags;
use super::handmade::Cable;
use super::topology::{Family, Topology};

/// The kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Veth,
    /// A veth pair whose frames carry a VLAN tag on their way, and none where they leave.
    Tagged,
    /// A device for one VLAN on top of a veth pair's: the tag is seen below, both ways.
    Vlan,
    /// Devices without a link header.
    Tun,
    Loopback,
}

/// Two hosts and the wire between them.
pub(crate) struct Laid {
    pub(crate) topology: Topology,
    wire: Wire,
    _cable: Option<Cable>,
}

impl Laid {
    pub(crate) fn new(wire: Wire, family: Family) -> Self {
        let (topology, cable) = match wire {
            Wire::Veth | Wire::Tagged => (Topology::veth(family), None),
            Wire::Vlan => (Topology::vlan(family), None),
            Wire::Loopback => (Topology::loopback(family), None),
            Wire::Tun => {
                let (topology, cable) = Topology::tun(family);
                (topology, Some(cable))
            }
        };
        Self { topology, wire, _cable: cable }
    }

    /// The tags, from now on: to be asked for once teardown's programs are there, as these have
    /// their place before or behind them.
    pub(crate) fn tags(&self) -> Option<Tags> {
        let ends = [(&self.topology.proxy, "back"), (&self.topology.backend, "eth0")];
        match self.wire {
            Wire::Tagged => Some(Tags::between(ends)),
            Wire::Vlan if !self.topology.has_real_vlans => Some(Tags::below(ends)),
            _ => None,
        }
    }
}

/// A network of nothing but veth pairs, or loopback.
impl From<Topology> for Laid {
    fn from(topology: Topology) -> Self {
        let wire = if topology.is_loopback() { Wire::Loopback } else { Wire::Veth };
        Self { topology, wire, _cable: None }
    }
}
