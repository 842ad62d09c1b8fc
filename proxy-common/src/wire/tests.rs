//! Frames made by hand, and what is read of them or refused.

use super::*;
use crate::key::Side;
use crate::segment::FIN;

const SOURCE: [u8; 4] = [192, 0, 2, 1];
const DESTINATION: [u8; 4] = [192, 0, 2, 2];

fn tcp_header(flags: u8, options: &[u8]) -> Vec<u8> {
    let mut header = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 9, 0, 0, 0, 7];
    header.push(((20 + options.len()) / 4 * 16) as u8);
    header.extend([flags, 0x01, 0x02, 0, 0, 0, 0]);
    header.extend(options);
    header
}

fn ipv4_packet(tcp: &[u8], payload: usize) -> Vec<u8> {
    let total = (20 + tcp.len() + payload) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(SOURCE);
    packet.extend(DESTINATION);
    packet.extend(tcp);
    packet.extend(vec![b'x'; payload]);
    packet
}

fn ethernet_frame(tags: &[u8], kind: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(tags);
    frame.extend(kind.to_be_bytes());
    frame.extend(packet);
    frame
}

fn read(frame: &[u8], link: Link) -> Result<Packet, Refusal> {
    parse_slice(frame, link, frame.len() as u32, 5)
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut frame = ethernet_frame(&[], 0x0800, &ipv4_packet(&tcp_header(FIN | ACK, &[]), 0));
    frame.resize(60, 0);
    let packet = read(&frame, Link::Ethernet).unwrap();
    assert_eq!(packet.segment.payload, 0);
    assert_eq!(packet.segment.sender, Side::LOW);
    assert_eq!(packet.segment.vantage, 5);
    assert_eq!(packet.key.ends[1], Endpoint::v4(DESTINATION, 80));
    assert_eq!((packet.segment.seq, packet.segment.ack), (9, 7));
    assert_eq!(packet.segment.end(), 10);
}

#[test]
fn tags_are_looked_through() {
    let packet = ipv4_packet(&tcp_header(ACK, &[]), 3);
    for tags in [&[0x81, 0, 0, 5][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]] {
        let frame = ethernet_frame(tags, 0x0800, &packet);
        assert_eq!(read(&frame, Link::Ethernet).unwrap().segment.payload, 3);
    }
    let three = [0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3];
    let frame = ethernet_frame(&three, 0x0800, &packet);
    assert_eq!(read(&frame, Link::Ethernet), Err(Refusal::Malformed));
}

#[test]
fn a_cut_capture_still_tells_the_payload() {
    let packet = ipv4_packet(&tcp_header(ACK, &[]), 1000);
    let cut = parse_slice(&packet[..40], Link::Ip, 1040, 0).unwrap();
    assert_eq!(cut.segment.payload, 1000);
    assert_eq!(parse_slice(&packet[..39], Link::Ip, 1040, 0), Err(Refusal::Truncated));
}

#[test]
fn options_stand_anywhere() {
    let options = [2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0];
    let packet = ipv4_packet(&tcp_header(SYN, &options), 0);
    let mut read = read(&packet, Link::Ip).unwrap();
    assert_eq!(read.segment.window_scale, 7);
    let frame = Frame { bytes: &packet, frame_len: packet.len() as u32 };
    assert_eq!(timestamps(&frame, &mut read), Some(40 + 12));
    assert_eq!((read.segment.timestamp, read.segment.timestamp_echo), (1, 2));
}

#[test]
fn broken_options_are_no_options() {
    for options in [[3, 0, 0, 0], [3, 1, 7, 0], [3, 9, 7, 0], [0, 3, 3, 7]] {
        let packet = ipv4_packet(&tcp_header(SYN, &options), 0);
        let segment = read(&packet, Link::Ip).unwrap().segment;
        assert_eq!(segment.window_scale, NO_WINDOW_SCALE, "{options:?}");
    }
}

#[test]
fn ipv6_extension_headers_are_walked() {
    let tcp = tcp_header(FIN | ACK, &[]);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(((8 + 16 + tcp.len()) as u16).to_be_bytes());
    packet.extend([0, 64]);
    packet.extend([0x20; 16]);
    packet.extend([0x30; 16]);
    packet.extend([60, 0, 1, 4, 0, 0, 0, 0]);
    packet.extend([6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    packet.extend(&tcp);
    let read = read(&packet, Link::Ip).unwrap();
    assert_eq!(read.tcp_offset, 64);
    assert_eq!((read.segment.flags, read.segment.payload), (FIN | ACK, 0));
    assert_eq!(read.segment.marks, 0);
    assert_eq!(read.key.ends[0], Endpoint::v6([0x20; 16], 40000));
}

#[test]
fn more_extension_headers_than_are_looked_through_are_counted() {
    let with = |headers: usize| {
        let tcp = tcp_header(FIN | ACK, &[]);
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(((8 * headers + tcp.len()) as u16).to_be_bytes());
        packet.extend([60, 64]);
        packet.extend([0x20; 16]);
        packet.extend([0x30; 16]);
        for left in (0..headers).rev() {
            packet.extend([if left == 0 { 6 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        packet.extend(&tcp);
        read(&packet, Link::Ip).map(|packet| packet.segment.flags)
    };
    assert_eq!(
        (with(MAX_EXTENSIONS), with(MAX_EXTENSIONS + 1)),
        (Ok(FIN | ACK), Err(Refusal::Malformed))
    );
}

/// Whoever looks through it must not change what stands behind it.
#[test]
fn what_an_authentication_header_covers_says_so() {
    let tcp = tcp_header(FIN | ACK, &[]);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(((24 + tcp.len()) as u16).to_be_bytes());
    packet.extend([51, 64]);
    packet.extend([0x20; 16]);
    packet.extend([0x30; 16]);
    packet.extend([6, 4]);
    packet.extend([0; 22]);
    packet.extend(&tcp);
    let read = read(&packet, Link::Ip).unwrap();
    assert_eq!((read.tcp_offset, read.segment.marks), (64, AUTHENTICATED));
}

#[test]
fn later_fragments_and_other_protocols_are_refused() {
    let mut packet = ipv4_packet(&tcp_header(FIN, &[]), 0);
    packet[7] = 1;
    assert_eq!(read(&packet, Link::Ip), Err(Refusal::Fragment));
    packet[7] = 0;
    packet[6] = 0x20;
    assert_eq!(read(&packet, Link::Ip).unwrap().segment.marks, PAYLOAD_UNKNOWN);
    packet[9] = 17;
    assert_eq!(read(&packet, Link::Ip), Err(Refusal::NotTcp));
    packet[0] = 0x55;
    assert_eq!(read(&packet, Link::Ip), Err(Refusal::NotIp));
}

#[test]
fn impossible_lengths_are_refused() {
    let mut short = ipv4_packet(&tcp_header(FIN, &[]), 0);
    short[32] = 0x40;
    assert_eq!(read(&short, Link::Ip), Err(Refusal::Malformed));
    short[32] = 0x60;
    assert_eq!(read(&short, Link::Ip), Err(Refusal::Malformed));
}

#[test]
fn big_tcp_takes_the_frames_length() {
    let mut packet = ipv4_packet(&tcp_header(ACK, &[]), 0);
    packet[2] = 0;
    packet[3] = 0;
    assert_eq!(parse_slice(&packet, Link::Ip, 90_040, 0).unwrap().segment.payload, 90_000);
}
