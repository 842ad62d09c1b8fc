//! Whole connections in every form that a packet may have.

use crate::support::frames::ethernet;
use crate::support::handmade::Words;
use crate::support::packets::{ACK, FIN, RST, SYN};

/// Whole connections in every form that a packet may have, and what is no TCP at all.
pub(crate) fn every_form() -> Vec<Vec<u8>> {
    let v4 = ["192.0.2.1", "192.0.2.2"];
    let v6 = ["2001:db8::1", "2001:db8::2"];
    let mut frames = Vec::new();
    for (port, tags, extensions) in [
        (1000, &[][..], false),
        (1001, &[(0x8100, 5)][..], false),
        (1002, &[(0x88a8, 5), (0x8100, 6)][..], true),
        (1003, &[(0x8100, 1), (0x8100, 2), (0x8100, 3)][..], false),
    ] {
        for addresses in [v4, v6] {
            for packet in conversation(addresses, port, extensions) {
                frames.push(ethernet(tags, &packet));
            }
        }
    }
    for (port, change) in [
        (1004, ip_options as fn(Vec<u8>) -> Vec<u8>),
        (1005, tcp_options),
        (1006, fragments),
        (1007, no_length),
        (1008, chained),
        (1009, padded),
    ] {
        for addresses in [v4, v6] {
            for packet in conversation(addresses, port, false) {
                frames.push(ethernet(&[], &change(packet)));
            }
        }
    }
    // UDP, ARP, and less than any header.
    let mut udp = conversation(v4, 1010, false).remove(0);
    udp[9] = 17;
    frames.push(ethernet(&[], &udp));
    frames.push([&[2; 12][..], &[8, 6], &[0; 46]].concat());
    frames.push([&[2; 12][..], &[8, 0], &[0x45; 12]].concat());
    frames
}

/// Two connections on one tuple: one ends by FINs, the next by a RST; repeats and late ones.
fn conversation(addresses: [&str; 2], port: u16, extensions: bool) -> Vec<Vec<u8>> {
    let ends =
        [format!("{}:{port}", bracketed(addresses[0])), format!("{}:80", bracketed(addresses[1]))];
    let ends = ends.map(|end| end.parse().expect("an endpoint"));
    let say = |by: usize, seq: u32, ack: u32, flags: u8, data: &[u8]| {
        let words = Words { from: ends[by], to: ends[1 - by], seq, ack, flags, data, extensions };
        words.packet()
    };
    vec![
        say(0, 100, 0, SYN, b""),
        say(0, 100, 0, SYN, b""),
        say(1, 900, 101, SYN | ACK, b""),
        say(0, 101, 901, ACK, b""),
        say(0, 101, 901, ACK, b"a question"),
        say(0, 101, 901, ACK, b"a question"),
        say(1, 901, 111, ACK, b"an answer"),
        say(1, 910, 111, FIN | ACK, b""),
        say(0, 111, 911, FIN | ACK, b""),
        say(1, 911, 112, ACK, b""),
        say(0, 111, 911, FIN | ACK, b""),
        say(0, 0xffff_fff0, 0, SYN, b""),
        say(1, 5000, 0xffff_fff1, SYN | ACK, b""),
        say(0, 0xffff_fff1, 5001, ACK, b"numbers that pass 2^32"),
        say(0, 7, 5001, FIN | ACK, b"more"),
        say(1, 5001, 12, RST | ACK, b""),
        say(1, 5001, 12, RST | ACK, b""),
        say(0, 12, 5001, RST, b""),
    ]
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// IPv4 options before the TCP header (IPv6 has none).
fn ip_options(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] == 0x45 {
        packet[0] = 0x47;
        packet.splice(20..20, [7, 7, 4, 0, 0, 0, 0, 0]);
        packet[3] += 8;
    }
    packet
}

/// MSS, window scale, SACK and timestamps, behind no-ops.
fn tcp_options(mut packet: Vec<u8>) -> Vec<u8> {
    let v4 = packet[0] >> 4 == 4;
    let tcp = if v4 { 20 } else { 40 };
    let options = [1, 2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 9, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0];
    packet.splice(tcp + 20..tcp + 20, options);
    packet[tcp + 12] = 11 << 4;
    packet[if v4 { 3 } else { 5 }] += options.len() as u8;
    packet
}

/// The first fragment (IPv6 by its header), or a later one for segments without a SYN.
fn fragments(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        let first = packet[33] & SYN != 0;
        (packet[6], packet[7]) = if first { (0x20, 0) } else { (0, 3) };
    } else {
        let first = packet[53] & SYN != 0;
        packet[6] = 44;
        packet.splice(40..40, [6, 0, 0, if first { 1 } else { 24 }, 0, 0, 0, 9]);
        packet[5] += 8;
    }
    packet
}

/// Lengths of 0, as packets have that the network card will cut.
fn no_length(mut packet: Vec<u8>) -> Vec<u8> {
    let at = if packet[0] >> 4 == 4 { 2 } else { 4 };
    packet[at..at + 2].fill(0);
    packet
}

/// IPv6: hop-by-hop, routing, destination, authentication, mobility before TCP.
fn chained(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[6] = 0;
        let mut chain = vec![43, 0, 1, 4, 0, 0, 0, 0];
        chain.extend([60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        chain.extend([51, 0, 1, 4, 0, 0, 0, 0]);
        chain.extend([135, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        chain.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        packet[5] += chain.len() as u8;
        packet.splice(40..40, chain);
    }
    packet
}

/// Ethernet's padding behind the packet.
fn padded(mut packet: Vec<u8>) -> Vec<u8> {
    packet.extend([0; 12]);
    packet
}
