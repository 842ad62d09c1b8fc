//! What the hosts of a benchmark are set to.

use crate::support::topology::Topology;

/// As many connections as there can be, and TIME_WAIT no limit to them.
pub(crate) fn unlimited(topology: &Topology) {
    for netns in [&topology.client, &topology.proxy, &topology.backend] {
        netns.set("ipv4/ip_local_port_range", "1024 65535");
        netns.set("ipv4/tcp_tw_reuse", "1");
        netns.set("core/somaxconn", "8192");
    }
}
