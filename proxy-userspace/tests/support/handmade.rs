//! A TCP peer made by hand behind a tun device: says exactly what a test wants on the wire.

use super::netns::Netns;
use super::packets::{self, ACK, FIN, Packet, RST, SYN};
use super::until::until;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// TUNSETIFF of linux/if_tun.h.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;

/// A tun device `tun0` whose far side is the test.
pub(crate) struct Tun {
    file: File,
}

impl Tun {
    /// Makes it in `netns` with this address on the near side; all else of the prefix is ours.
    pub(crate) fn new(netns: &Netns, near: &str) -> Self {
        let file = netns.run(|| {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")
                .expect("/dev/net/tun");
            let mut request = [0_u8; 40];
            request[..4].copy_from_slice(b"tun0");
            request[16..18].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
            // SAFETY: the request is a struct ifreq, readable and writable for its whole size.
            let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
            assert_eq!(result, 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
            file
        });
        let flag = if near.contains(':') { " nodad" } else { "" };
        netns.ip(&format!("addr add {near} dev tun0{flag}\nlink set tun0 up\n"));
        Self { file }
    }

    /// Sends an IP packet toward the host.
    pub(crate) fn send(&self, packet: &[u8]) {
        (&self.file).write_all(packet).expect("the device takes the packet");
    }

    /// The next TCP packet that the host sends to `port`.
    pub(crate) fn receive(&self, port: u16) -> Packet {
        until("a packet from the host", || self.received(port))
    }

    /// A TCP packet that the host has sent to `port`; all else that it sent is dropped.
    fn received(&self, port: u16) -> Option<Packet> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match (&self.file).read(&mut buffer) {
                Ok(length) => {
                    let packet = packets::of_ip(0, &buffer[..length]);
                    if let Some(packet) = packet.filter(|packet| packet.target.port() == port) {
                        return Some(packet);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("tun0: {error}"),
            }
        }
    }
}

/// Two tun devices, each with a host behind it, and what carries packets between them.
pub(crate) struct Cable {
    stop: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
}

impl Cable {
    /// Joins the devices.
    pub(crate) fn between(one: Tun, other: Tun) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (one, other) = (Arc::new(one), Arc::new(other));
        let both = [(&one, &other), (&other, &one)].map(|(from, to)| {
            let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&stop));
            std::thread::spawn(move || carry(&from.file, &to.file, &stop))
        });
        Self { stop, carriers: both.into() }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            let _it_has_said_why = carrier.join();
        }
    }
}

fn carry(mut from: &File, mut to: &File, stop: &AtomicBool) {
    let mut packet = vec![0; 1 << 16];
    let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !stop.load(Ordering::Relaxed) {
        poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&moment)).expect("poll");
        loop {
            match from.read(&mut packet) {
                // Down yet, it takes none.
                Ok(length) => drop(to.write_all(&packet[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a tun device: {error}"),
            }
        }
    }
}

/// The far end of one connection.
pub(crate) struct Peer<'a> {
    tun: &'a Tun,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// What is sent next.
    pub(crate) seq: u32,
    /// What is expected next.
    pub(crate) ack: u32,
    /// The extension headers that go before the TCP header, IPv6 only.
    pub(crate) extensions: bool,
    is_connected: bool,
}

impl<'a> Peer<'a> {
    pub(crate) fn new(tun: &'a Tun, local: SocketAddr, remote: SocketAddr) -> Self {
        let is_connected = false;
        Self { tun, local, remote, seq: 1_000_000, ack: 0, extensions: false, is_connected }
    }

    /// The three-way handshake, begun by us.
    pub(crate) fn connect(&mut self) {
        let first = self.seq;
        self.say(SYN, b"");
        let mut last = Instant::now();
        let answer = until("the answer to a SYN", || {
            // A device that has just come up may drop the first packet.
            if last.elapsed() > Duration::from_millis(500) {
                self.say_at(first, SYN, b"");
                last = Instant::now();
            }
            self.tun.received(self.local.port())
        });
        assert!(answer.has(SYN) && answer.has(ACK), "{answer:?}");
        self.ack = answer.end();
        self.is_connected = true;
        self.say(ACK, b"");
    }

    /// Sends a segment at the current numbers and moves on.
    pub(crate) fn say(&mut self, flags: u8, data: &[u8]) {
        self.say_at(self.seq, flags, data);
        let phantom = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let length = u32::try_from(data.len()).expect("small");
        self.seq = self.seq.wrapping_add(length).wrapping_add(phantom);
    }

    /// Sends a segment at any number, and does not move.
    pub(crate) fn say_at(&self, seq: u32, flags: u8, data: &[u8]) {
        let words = Words {
            from: self.local,
            to: self.remote,
            seq,
            ack: self.ack,
            flags,
            data,
            extensions: self.extensions,
        };
        self.tun.send(&words.packet());
    }

    /// The next packet of this connection. A second answer to a SYN that was sent twice is none.
    pub(crate) fn hear(&self) -> Packet {
        loop {
            let packet = self.tun.receive(self.local.port());
            if !(self.is_connected && packet.has(SYN)) {
                return packet;
            }
        }
    }

    /// Acknowledges what the host sent up to and with its next FIN; gives that packet.
    pub(crate) fn hear_fin(&mut self) -> Packet {
        loop {
            let packet = self.hear();
            assert!(!packet.has(RST), "{packet:?}");
            self.ack = packet.end();
            if packet.has(FIN) {
                return packet;
            }
        }
    }
}

/// What a hand-made IP packet carries.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) data: &'a [u8],
    /// Hop-by-hop and destination options before the TCP header, IPv6 only.
    pub(crate) extensions: bool,
}

impl Words<'_> {
    /// The packet, from the IP header on, its checksums right.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut packet = Vec::new();
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let total = u16::try_from(20 + segment.len()).expect("small");
                packet.extend([0x45, 0]);
                packet.extend(total.to_be_bytes());
                packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
                packet.extend(source.octets());
                packet.extend(target.octets());
                let sum = !ones(0, &packet);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                // Each padded to eight bytes by PadN.
                let extensions: &[u8] = if self.extensions {
                    &[60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]
                } else {
                    &[]
                };
                let length = u16::try_from(extensions.len() + segment.len()).expect("small");
                packet.extend([0x60, 0, 0, 0]);
                packet.extend(length.to_be_bytes());
                packet.extend([if self.extensions { 0 } else { 6 }, 64]);
                packet.extend(source.octets());
                packet.extend(target.octets());
                packet.extend(extensions);
            }
            _ => panic!("two families in one connection"),
        }
        packet.extend(segment);
        packet
    }

    fn segment(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(self.from.port().to_be_bytes());
        segment.extend(self.to.port().to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(if self.flags & ACK != 0 { self.ack } else { 0 }.to_be_bytes());
        segment.extend([5 << 4, self.flags]);
        segment.extend(64_000_u16.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(self.data);
        let sum = checksum(self.from.ip(), self.to.ip(), &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        segment
    }
}

/// The TCP checksum with its pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
fn checksum(source: IpAddr, target: IpAddr, segment: &[u8]) -> u16 {
    let length = u16::try_from(segment.len()).expect("small");
    let mut sum = 6_u16;
    sum = ones(sum, &length.to_be_bytes());
    for address in [source, target] {
        sum = match address {
            IpAddr::V4(address) => ones(sum, &address.octets()),
            IpAddr::V6(address) => ones(sum, &address.octets()),
        };
    }
    !ones(sum, segment)
}

/// The one's complement sum of `bytes`, on top of `sum`.
fn ones(sum: u16, bytes: &[u8]) -> u16 {
    let mut sum = u32::from(sum);
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}
