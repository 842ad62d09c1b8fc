//! What the network does to packets: losses and translated addresses by nftables, offloads,
//! timestamps.
//!
//! A host loses packets in its prerouting hook: they have crossed the wire, captures and programs
//! at the interface have seen them, and its sockets never do.

use super::netns::Netns;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which packets are lost on their way into a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The first segment with data, and every thousandth after it.
    Data,
    /// The first bare ACK behind a handshake's, and every thousandth.
    Ack,
    /// The first FIN, and every thousandth.
    Fin,
    /// The first RST, and every thousandth.
    Rst,
    /// This many of a hundred, of every kind.
    Share(u8),
    /// Every one.
    All,
}

/// Losses that last until they are dropped.
pub(crate) struct Weather {
    netns: Netns,
}

impl Weather {
    pub(crate) fn lose(netns: &Netns, loss: Loss) -> Self {
        // The first of a kind, then each thousandth: a retransmission of it gets through.
        let first = "numgen inc mod 1000 0 counter drop";
        // A TCP header with timestamps and two SACK blocks has 52 bytes; the tests' data more.
        let bare = "tcp flags & (syn|fin|rst) == 0";
        let rule = match loss {
            Loss::Data => {
                format!("{bare} ip length > 72 {first}\n{bare} ip6 length > 52 {first}")
            }
            Loss::Ack => {
                format!("{bare} ip length <= 72 {first}\n{bare} ip6 length <= 52 {first}")
            }
            Loss::Fin => format!("tcp flags & fin == fin {first}"),
            Loss::Rst => format!("tcp flags & rst == rst {first}"),
            Loss::All => "meta l4proto tcp counter drop".to_owned(),
            Loss::Share(share) => {
                format!("meta l4proto tcp numgen random mod 100 < {share} counter drop")
            }
        };
        let table = format!(
            "table inet weather {{\nchain losses {{\n\
             type filter hook prerouting priority raw\n{rule}\n}}\n}}\n"
        );
        netns.feed(Command::new("nft").args(["-f", "-"]), &table);
        // Whose peer's RST is lost waits in FIN-WAIT-2: not for a minute here.
        netns.set("ipv4/tcp_fin_timeout", "2");
        Self { netns: netns.clone() }
    }

    /// How many packets were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        let text =
            self.netns.output(Command::new("nft").args(["list", "table", "inet", "weather"]));
        let after = text.split("counter packets ").skip(1);
        after.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.netns.feed(Command::new("nft").args(["-f", "-"]), "delete table inet weather");
    }
}

/// Packets that match words of nftables' own are lost on their way into a host, until it is dropped.
pub(crate) struct Hole {
    netns: Netns,
    table: String,
}

impl Hole {
    /// The first `count` packets that match are lost.
    pub(crate) fn for_the_first(count: u32, netns: &Netns, matching: &str) -> Self {
        Self::dig(netns, &format!("{matching} limit rate 1/day burst {count} packets drop"))
    }

    /// Every packet that matches is lost.
    pub(crate) fn for_all(netns: &Netns, matching: &str) -> Self {
        Self::dig(netns, &format!("{matching} drop"))
    }

    fn dig(netns: &Netns, rule: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let table = format!("inet hole{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let text = format!(
            "table {table} {{\nchain losses {{\n\
             type filter hook prerouting priority raw\n{rule}\n}}\n}}\n"
        );
        netns.feed(Command::new("nft").args(["-f", "-"]), &text);
        Self { netns: netns.clone(), table }
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        let words = format!("delete table {}", self.table);
        self.netns.feed(Command::new("nft").args(["-f", "-"]), &words);
    }
}

/// Switches checksum and segmentation offloads of an interface.
pub(crate) fn offloads(netns: &Netns, interface: &str, on: bool) {
    let word = if on { "on" } else { "off" };
    let mut command = Command::new("ethtool");
    command.args(["-K", interface]);
    for feature in ["tx", "tso", "gso", "gro"] {
        command.args([feature, word]);
    }
    netns.output(&mut command);
}

/// Switches TCP timestamps of a host (RFC 7323).
pub(crate) fn timestamps(netns: &Netns, on: bool) {
    netns.set("ipv4/tcp_timestamps", if on { "1" } else { "0" });
}

/// Gives `peer` another address on a host, as a service of Kubernetes has one: what its sockets send
/// there goes to the peer.
pub(crate) fn known_as(netns: &Netns, peer: IpAddr) -> IpAddr {
    let service: IpAddr = "10.96.0.10".parse().expect("an address");
    let table = format!(
        "table ip service {{\nchain output {{\n\
         type nat hook output priority -100\nip daddr {service} dnat to {peer}\n}}\n}}\n"
    );
    netns.feed(Command::new("nft").args(["-f", "-"]), &table);
    netns.ip(&format!("route add {service} via {peer}\n"));
    service
}
