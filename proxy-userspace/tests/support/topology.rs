//! Where the tests' traffic runs: client, proxy and backend over veth, or all on one loopback.

use super::handmade::{Cable, Tun};
use super::netns::Netns;
use super::until::until;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Three hosts in a row. On loopback all three are the same namespace.
#[derive(Clone)]
pub(crate) struct Topology {
    pub(crate) client: Netns,
    pub(crate) proxy: Netns,
    pub(crate) backend: Netns,
    /// The client's address.
    pub(crate) client_addr: IpAddr,
    /// The proxy's address toward the client.
    pub(crate) front_addr: IpAddr,
    /// The proxy's address toward the backend.
    pub(crate) back_addr: IpAddr,
    /// The backend's address.
    pub(crate) backend_addr: IpAddr,
    /// The client's and the backend's interface.
    pub(crate) peer_interface: &'static str,
    /// The proxy's interface towards the backend.
    pub(crate) back_interface: &'static str,
    /// The proxy's interfaces.
    pub(crate) proxy_interfaces: &'static [&'static str],
    /// Whether the kernel has devices for VLANs.
    pub(crate) has_real_vlans: bool,
}

impl Topology {
    /// Client, proxy and backend, each in a namespace, joined by veth pairs.
    pub(crate) fn veth(family: Family) -> Self {
        let (client, proxy, backend) = (Netns::new(), Netns::new(), Netns::new());
        let (addresses, length, flag) = match family {
            Family::V4 => (["10.77.1.1", "10.77.1.2", "10.77.2.2", "10.77.2.1"], 24, ""),
            Family::V6 => (["fd77:1::1", "fd77:1::2", "fd77:2::2", "fd77:2::1"], 64, " nodad"),
        };
        for (host, name, ours, theirs) in [(&client, "front", 0, 1), (&backend, "back", 3, 2)] {
            host.ip(&format!(
                "link add eth0 type veth peer name {name} netns {}\n\
                 addr add {}/{length} dev eth0{flag}\nlink set eth0 up\n",
                proxy.path(),
                addresses[ours]
            ));
            proxy.ip(&format!(
                "addr add {}/{length} dev {name}{flag}\nlink set {name} up\n",
                addresses[theirs]
            ));
        }
        let [client_addr, front_addr, back_addr, backend_addr] =
            addresses.map(|address| address.parse().expect("an address"));
        let topology = Self {
            client,
            proxy,
            backend,
            client_addr,
            front_addr,
            back_addr,
            backend_addr,
            peer_interface: "eth0",
            back_interface: "back",
            proxy_interfaces: &["front", "back"],
            has_real_vlans: false,
        };
        topology.wait_until_up();
        topology
    }

    /// Proxy and backend, joined by devices for one VLAN on top of a veth pair; macvlan in the place
    /// of each, whose frames are to be tagged below, where the kernel has none. The client is the
    /// backend.
    pub(crate) fn vlan(family: Family) -> Self {
        let (proxy, backend) = (Netns::new(), Netns::new());
        let (addresses, length, flag) = match family {
            Family::V4 => (["10.77.2.2", "10.77.2.1"], 24, ""),
            Family::V6 => (["fd77:2::2", "fd77:2::1"], 64, " nodad"),
        };
        backend.ip(&format!("link add eth0 type veth peer name back netns {}\n", proxy.path()));
        let mut has_real_vlans = false;
        for (host, below, address) in
            [(&proxy, "back", addresses[0]), (&backend, "eth0", addresses[1])]
        {
            host.ip(&format!("link set {below} up\n"));
            has_real_vlans =
                host.can_ip(&format!("link add link {below} name {below}.7 type vlan id 7"));
            if !has_real_vlans {
                // Else the device below would answer for the address above it.
                host.ip(&format!(
                    "link set {below} arp off\n\
                     link add link {below} name {below}.7 type macvlan mode private\n"
                ));
            }
            host.ip(&format!(
                "addr add {address}/{length} dev {below}.7{flag}\nlink set {below}.7 up\n"
            ));
        }
        let [back_addr, backend_addr] =
            addresses.map(|address| address.parse().expect("an address"));
        reaches(&backend, &proxy, back_addr);
        Self {
            client: backend.clone(),
            proxy,
            backend,
            client_addr: backend_addr,
            front_addr: back_addr,
            back_addr,
            backend_addr,
            peer_interface: "eth0",
            back_interface: "back.7",
            proxy_interfaces: &["back", "back.7"],
            has_real_vlans,
        }
    }

    /// Proxy and backend, joined by tun devices: no link header. The client is the backend.
    pub(crate) fn tun(family: Family) -> (Self, Cable) {
        let (proxy, backend) = (Netns::new(), Netns::new());
        let (addresses, length) = match family {
            Family::V4 => (["10.77.2.2", "10.77.2.1"], 24),
            Family::V6 => (["fd77:2::2", "fd77:2::1"], 64),
        };
        let [ours, theirs] = [(&proxy, addresses[0]), (&backend, addresses[1])]
            .map(|(netns, address)| Tun::new(netns, &format!("{address}/{length}")));
        let cable = Cable::between(ours, theirs);
        let [back_addr, backend_addr] =
            addresses.map(|address| address.parse().expect("an address"));
        reaches(&backend, &proxy, back_addr);
        let topology = Self {
            client: backend.clone(),
            proxy,
            backend,
            client_addr: backend_addr,
            front_addr: back_addr,
            back_addr,
            backend_addr,
            peer_interface: "tun0",
            back_interface: "tun0",
            proxy_interfaces: &["tun0"],
            has_real_vlans: false,
        };
        (topology, cable)
    }

    /// One namespace; client, proxy and backend share its loopback.
    pub(crate) fn loopback(family: Family) -> Self {
        let netns = Netns::new();
        let address: IpAddr = match family {
            Family::V4 => "127.0.0.1".parse(),
            Family::V6 => "::1".parse(),
        }
        .expect("an address");
        Self {
            client: netns.clone(),
            proxy: netns.clone(),
            backend: netns,
            client_addr: address,
            front_addr: address,
            back_addr: address,
            backend_addr: address,
            peer_interface: "lo",
            back_interface: "lo",
            proxy_interfaces: &["lo"],
            has_real_vlans: false,
        }
    }

    /// Waits until the peers reach the proxy.
    pub(crate) fn wait_until_up(&self) {
        reaches(&self.client, &self.proxy, self.front_addr);
        reaches(&self.backend, &self.proxy, self.back_addr);
    }

    /// Whether all hosts are one.
    pub(crate) fn is_loopback(&self) -> bool {
        self.peer_interface == "lo"
    }
}

/// Waits until datagrams sent from `from` reach `to`: links are up and neighbours known.
fn reaches(from: &Netns, to: &Netns, addr: IpAddr) {
    let receiver = to.run(|| UdpSocket::bind((addr, 0))).expect("a receiver");
    receiver.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let target: SocketAddr = receiver.local_addr().expect("its address");
    until("the link to carry datagrams", || {
        from.run(|| {
            let sender = UdpSocket::bind((target.ip_unspecified(), 0)).expect("a sender");
            let _lost_while_the_link_comes_up = sender.send_to(b"up", target);
        });
        receiver.recv(&mut [0; 8]).ok()
    });
}

trait Unspecified {
    fn ip_unspecified(&self) -> IpAddr;
}

impl Unspecified for SocketAddr {
    fn ip_unspecified(&self) -> IpAddr {
        match self {
            SocketAddr::V4(_) => "0.0.0.0".parse().expect("an address"),
            SocketAddr::V6(_) => "::".parse().expect("an address"),
        }
    }
}
