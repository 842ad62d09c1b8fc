//! What stands around TCP: tunnels, labels, IPv6's extension headers.

use super::{comparable, fixtures, read_file, read_text, tcpdump};
use proxy_common::key::FlowKey;
use proxy_common::segment::Segment;
use std::path::Path;

/// An IPv4 packet in a frame's data, with what stands around it.
type Around = fn(&[u8]) -> Vec<u8>;

/// An Ethernet frame's end, from its type.
fn ethernet(kind: u16, data: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind.to_be_bytes(), data].concat()
}

fn ipv4(protocol: u8, data: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + data.len() as u16).to_be_bytes();
    let head = [0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    ethernet(0x0800, &[&head[..], &[192, 0, 2, 1, 192, 0, 2, 2], data].concat())
}

fn mpls(packet: &[u8]) -> Vec<u8> {
    ethernet(0x8847, &[&[0, 6, 0x40, 64, 0, 1, 1, 64][..], packet].concat())
}

fn gre(packet: &[u8]) -> Vec<u8> {
    ipv4(47, &[&[0, 0, 8, 0][..], packet].concat())
}

fn vxlan(packet: &[u8]) -> Vec<u8> {
    let inner = ethernet(0x0800, packet);
    let [high, low] = (16 + inner.len() as u16).to_be_bytes();
    let udp = [0xc3, 0x50, 0x12, 0xb5, high, low, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0];
    ipv4(17, &[&udp[..], &inner].concat())
}

/// The TCP segment of an IPv4 packet, behind IPv6's header and these extension headers; each has
/// its own number first, and the next one's takes the first byte.
fn ipv6(packet: &[u8], extensions: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let address = |at: usize| [&[0x20, 1, 0xd, 0xb8][..], &[0; 8], &packet[at..at + 4]].concat();
    let mut data = Vec::new();
    for (index, (_, header)) in extensions.iter().enumerate() {
        let next = extensions.get(index + 1).map_or(6, |(number, _)| *number);
        data.push(next);
        data.extend_from_slice(header);
    }
    let total = u16::from_be_bytes([packet[2], packet[3]]);
    let length = (total - 20 + data.len() as u16).to_be_bytes();
    let first = extensions.first().map_or(6, |(number, _)| *number);
    let head = [0x60, 0, 0, 0, length[0], length[1], first, 64];
    let ends = [address(12), address(16)].concat();
    ethernet(0x86dd, &[&head[..], &ends, &data, &packet[20..]].concat())
}

fn hop_by_hop() -> (u8, Vec<u8>) {
    (0, vec![0, 5, 2, 0, 0, 1, 0])
}

fn destination() -> (u8, Vec<u8>) {
    (60, vec![0, 1, 4, 0, 0, 0, 0])
}

fn routing() -> (u8, Vec<u8>) {
    let mut header = vec![2, 4, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8];
    header.resize(23, 0);
    (43, header)
}

fn fragment() -> (u8, Vec<u8>) {
    (44, vec![0, 0, 0, 0, 0, 0x12, 0x34])
}

/// An IPv4 packet in IPv6, as Linux's ip6tnl sends it: with a limit of encapsulations.
fn ip6tnl(packet: &[u8]) -> Vec<u8> {
    let length = (packet.len() as u16 + 8).to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], 60, 64];
    let address = |last: u8| [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[last]].concat();
    let limit = [4, 0, 4, 1, 4, 1, 1, 0];
    ethernet(0x86dd, &[&head[..], &address(1), &address(2), &limit, packet].concat())
}

const AROUND: [(&str, Around); 9] = [
    ("MPLS", mpls),
    ("GRE", gre),
    ("VXLAN", vxlan),
    ("ip6tnl", ip6tnl),
    ("hop-by-hop", |packet| ipv6(packet, &[hop_by_hop()])),
    ("destination options", |packet| ipv6(packet, &[destination()])),
    ("routing", |packet| ipv6(packet, &[routing()])),
    ("fragment", |packet| ipv6(packet, &[fragment()])),
    ("all of IPv6's", |packet| {
        ipv6(packet, &[hop_by_hop(), destination(), routing(), fragment(), destination()])
    }),
];

/// The capture with every packet of its Ethernet frames put behind something else.
fn wrapped(path: &Path, mut around: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let file = std::fs::read(path).unwrap();
    let mut out = file[..24].to_vec();
    let mut rest = &file[24..];
    while let [head @ .., _] = rest
        && head.len() >= 16
    {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        // What the snap length cut off is padded, so that lengths agree.
        let mut packet = rest[16 + 14..16 + length].to_vec();
        packet.resize(usize::from(u16::from_be_bytes([packet[2], packet[3]])), b'x');
        let frame = around(&packet);
        out.extend_from_slice(&rest[..8]);
        out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        out.extend_from_slice(&frame);
        rest = &rest[16 + length..];
    }
    out
}

#[test]
fn text_of_what_stands_around_tcp_gives_the_files_segments() {
    let folder = tempfile::tempdir().unwrap();
    for path in fixtures().iter().step_by(8) {
        for (name, around) in AROUND {
            let file = folder.path().join("around.pcap");
            std::fs::write(&file, wrapped(path, around)).unwrap();
            let (expected, _) = read_file(&file);
            assert!(expected.segments.len() > 3, "{path:?} {name}");
            for form in [&["-n"][..], &["-n", "-v"], &["-n", "-e"], &["-nvveXX", "-S"]] {
                let (found, account) = read_text(tcpdump(&file, form));
                assert_eq!(
                    comparable(&found.segments, true),
                    comparable(&expected.segments, true),
                    "{path:?} {name} {form:?}"
                );
                assert_eq!(account.notes, [""; 0], "{path:?} {name} {form:?}");
            }
        }
    }
}

#[test]
fn what_icmp_quotes_is_no_packet_that_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("icmp.pcap");
    for path in fixtures().iter().step_by(8) {
        let unreachable: Around =
            |packet| ipv4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0][..], packet].concat());
        std::fs::write(&file, wrapped(path, unreachable)).unwrap();
        for form in [&["-n", "-v"][..], &["-n", "-vvv", "-e"], &["-n", "-t", "-v"]] {
            let plain = tcpdump(path, form);
            let (expected, _) = read_text(plain.clone());
            let quoting = tcpdump(&file, form);
            assert!(memchr::memmem::find(&quoting, b"Flags [").is_some(), "{path:?} {form:?}");
            let (found, account) = read_text([plain, quoting].concat());
            assert_eq!(found.segments.len(), expected.segments.len(), "{path:?} {form:?}");
            assert!(!account.notes.iter().any(|note| note.contains("flags")), "{account:?}");
        }
    }
}

#[test]
fn the_interface_and_the_direction_of_any_are_read_with_every_option() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("any.pcap");
    let path = &fixtures()[0];
    // Every packet is seen twice: it comes in, and goes out elsewhere.
    let any = |link: u32, header: fn(u8) -> Vec<u8>| {
        let mut number = 0;
        let mut capture = wrapped(path, |packet| {
            number += 1;
            [&header(number % 2)[..], packet].concat()
        });
        capture[20..24].copy_from_slice(&link.to_le_bytes());
        std::fs::write(&file, capture).unwrap();
    };
    let read = |form: &[&str]| {
        let (found, _) = read_text(tcpdump(&file, form));
        let (expected, _) = read_file(&file);
        assert_eq!(found.segments.len(), expected.segments.len(), "{form:?}");
        // As many places as the file has, and each packet at the right one.
        let places = |segments: &[(u64, FlowKey, Segment)]| -> Vec<bool> {
            segments.iter().map(|(.., seen)| seen.vantage == segments[0].2.vantage).collect()
        };
        let found = places(&found.segments);
        assert_eq!(found, places(&expected.segments), "{form:?}");
        assert!(found.contains(&false), "{form:?}");
    };
    let sll2 = |out: u8| [&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 4 * out, 6][..], &[2; 8]].concat();
    any(276, sll2);
    for form in
        [&["-n"][..], &["-n", "-e"], &["-n", "-t"], &["-n", "-t", "-v"], &["-n", "-#", "-t"]]
    {
        read(form);
    }
    any(113, |out| [&[0, 4 * out, 0, 1, 0, 6][..], &[2; 8], &[8, 0]].concat());
    for form in [&["-n", "-e"][..], &["-n", "-t", "-e"]] {
        read(form);
    }
}
