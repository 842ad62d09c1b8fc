//! Link types, tags and tunnels lead to the segment.

use super::*;
use proxy_common::key::Endpoint;

/// An IPv4 packet with a FIN of 10.0.0.1:40000, its checksum right.
fn packet() -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    bytes.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 9, 0, 0, 0, 7, 0x50, 0x11, 1, 2, 0, 0, 0, 0]);
    let mut sum = 6 + 20;
    for pair in bytes[12..].chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair[1]);
    }
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    bytes[36..38].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn behind(header: &[u8]) -> Vec<u8> {
    [header, &packet()].concat()
}

fn found(link: LinkType, frame: &[u8]) -> bool {
    segment(link, frame, frame.len() as u32, 1).is_ok_and(|(packet, bytes)| {
        packet.key.ends[0] == Endpoint::v4([10, 0, 0, 1], 40000)
            && packet.segment.payload == 0
            && checksum_is_right(&packet, bytes)
    })
}

#[test]
fn every_link_type_leads_to_the_packet() {
    let mac = [2; 12];
    let ethernet = [&mac[..], &[8, 0]].concat();
    let vlan = [&mac[..], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0]].concat();
    let vn_tag = [&mac[..], &[0x89, 0x26, 0, 0, 0, 1, 0x81, 0, 0, 2, 8, 0]].concat();
    let fabric = [&mac[..], &[0x89, 3, 0, 0], &mac, &[8, 0]].concat();
    let pppoe = [&mac[..], &[0x88, 0x64, 0x11, 0, 0, 1, 0, 42, 0, 0x21]].concat();
    let mpls = [&mac[..], &[0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64]].concat();
    let snap = [&mac[..], &[0, 48, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat();
    for header in [snap, ethernet, vlan, vn_tag, fabric, pppoe, mpls] {
        assert!(found(LinkType::Ethernet, &behind(&header)), "{header:x?}");
    }
    assert!(found(LinkType::Ip, &packet()));
    assert!(found(LinkType::Null, &behind(&[2, 0, 0, 0])));
    assert!(found(LinkType::Ppp, &behind(&[0xff, 3, 0, 0x21])));
    assert!(found(LinkType::Ppp, &behind(&[0x21])));
    assert!(found(LinkType::PppWithDirection, &behind(&[1, 0xff, 3, 0, 0x21])));
    assert!(found(LinkType::Pppoe, &behind(&[0x11, 0, 0, 1, 0, 42, 0, 0x21])));
    assert!(found(LinkType::Chdlc, &behind(&[0x0f, 0, 8, 0])));
    let sll = [&[0, 4, 0, 1, 0, 6][..], &[2; 8], &[8, 0]].concat();
    assert!(found(LinkType::Sll, &behind(&sll)));
    let sll2 = [&[8, 0, 0, 0, 0, 0, 0, 7, 0, 1, 4, 6][..], &[2; 8]].concat();
    assert!(found(LinkType::Sll2, &behind(&sll2)));
}

#[test]
fn tunnels_are_looked_into() {
    let outer = |protocol: u8, inner: &[u8]| {
        let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        bytes.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        bytes.extend(inner);
        bytes
    };
    let gre_with_key = behind(&[0x20, 0, 8, 0, 0, 0, 0, 1]);
    let udp = [&[0xc0, 0, 0x12, 0xb5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0][..], &[2; 12]];
    let vxlan = behind(&[&udp.concat()[..], &[8, 0]].concat());
    assert!(found(LinkType::Ip, &outer(4, &packet())));
    assert!(found(LinkType::Ip, &outer(47, &gre_with_key)));
    assert!(found(LinkType::Ip, &outer(17, &vxlan)));
    let dns = outer(17, &[0, 53, 0, 53, 0, 8, 0, 0]);
    assert_eq!(segment(LinkType::Ip, &dns, 28, 0).unwrap_err(), Refusal::NotTcp);
}

#[test]
fn later_fragments_of_a_tunnel_are_none() {
    let mut later = vec![0x45, 0, 0, 0, 0, 0, 0, 3, 64, 4, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    later.extend(packet());
    let refused = segment(LinkType::Ip, &later, later.len() as u32, 0).unwrap_err();
    assert_eq!(refused, Refusal::Fragment);
    later[7] = 0;
    assert!(found(LinkType::Ip, &later));
}

#[test]
fn a_flipped_bit_is_a_wrong_checksum() {
    let mut bytes = packet();
    bytes[27] ^= 1;
    let (read, rest) = segment(LinkType::Ip, &bytes, 40, 0).unwrap();
    assert!(!checksum_is_right(&read, rest));
}

#[test]
fn cut_frames_never_panic() {
    let frame = behind(&[2; 14]);
    for cut in 0..frame.len() {
        for link in [LinkType::Ethernet, LinkType::Sll2, LinkType::Ppp, LinkType::Pppoe] {
            let _ = segment(link, &frame[..cut], frame.len() as u32, 0);
        }
    }
}
