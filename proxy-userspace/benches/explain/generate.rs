//! Captures of any length: connections that overlap as on a busy proxy, and close in four ways.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Connections a second of the capture's time.
pub(crate) const RATE: u64 = 10_000;
/// From a connection's first segment to its last.
const LIFE_US: u64 = 20_000;

/// A generated capture and its text.
pub(crate) struct Files {
    pub(crate) connections: u32,
    pub(crate) pcap: PathBuf,
    pub(crate) text: PathBuf,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// The capture of `connections` connections; made once and kept beside the build.
pub(crate) fn files(connections: u32) -> Files {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let pcap = folder.join(format!("explain-{connections}.pcap"));
    let text = folder.join(format!("explain-{connections}.txt"));
    let packets: u64 = (0..connections).map(|number| script(number).len() as u64).sum();
    if !text.exists() {
        let file = File::create(&pcap).expect("a file for the capture");
        write(BufWriter::with_capacity(1 << 20, file), connections, RATE);
        let part = text.with_extension("part");
        let out = File::create(&part).expect("a file for the text");
        let status = Command::new("tcpdump")
            .args(["-n", "-r"])
            .arg(&pcap)
            .stdout(out)
            .stderr(Stdio::null())
            .status()
            .expect("tcpdump runs");
        assert!(status.success(), "tcpdump reads the capture");
        std::fs::rename(part, &text).expect("the text stands");
    }
    let bytes = std::fs::metadata(&pcap).expect("the capture").len();
    Files { connections, pcap, text, packets, bytes }
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// One packet of a connection: when, who, what, and how much data.
struct Packet {
    after_us: u64,
    from_client: bool,
    flags: u8,
    data: u32,
}

/// What a connection does: an exchange, and one of four closes.
fn script(number: u32) -> Vec<Packet> {
    let step = LIFE_US / 10;
    let mut packets = Vec::with_capacity(12);
    let mut say = |from_client, flags, data| {
        let after_us = packets.len() as u64 * step;
        packets.push(Packet { after_us, from_client, flags, data });
    };
    say(true, SYN, 0);
    say(false, SYN | ACK, 0);
    say(true, ACK, 0);
    say(true, PSH | ACK, 120);
    say(false, ACK, 0);
    say(false, ACK, 1000);
    say(false, PSH | ACK, 400);
    match number % 4 {
        0 => {
            say(false, FIN | ACK, 0);
            say(true, FIN | ACK, 0);
            say(false, ACK, 0);
        }
        1 => {
            say(true, ACK, 0);
            say(true, RST | ACK, 0);
        }
        2 => {
            say(false, FIN | ACK, 0);
            say(true, RST | ACK, 0);
        }
        _ => {
            say(true, FIN | ACK, 0);
            say(false, ACK, 0);
            say(false, FIN | ACK, 0);
            say(true, ACK, 0);
        }
    }
    packets
}

/// Bytes kept of a packet: as with `tcpdump -s 96`, headers and a little data.
const SNAPLEN: usize = 96;

/// Writes a pcap of `connections` connections, of which `rate` begin in a second.
pub(crate) fn write(mut out: impl Write, connections: u32, rate: u64) {
    let header: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, SNAPLEN as u32, 1];
    for word in header {
        out.write_all(&word.to_le_bytes()).expect("the disk has room");
    }
    // A window of connections runs side by side; those whose time has come are written in order.
    let mut open: Vec<Connection> = Vec::new();
    let (mut next, gap) = (0_u32, 1_000_000 / rate);
    let mut now = 0;
    while next < connections || !open.is_empty() {
        if next < connections {
            open.push(Connection::new(next, u64::from(next) * gap));
            next += 1;
            now = u64::from(next) * gap;
        } else {
            now += gap;
        }
        let mut due: Vec<(u64, Vec<u8>)> = Vec::new();
        for connection in &mut open {
            connection.take_due(now, &mut due);
        }
        due.sort_by_key(|(time, _)| *time);
        for (_, bytes) in due {
            out.write_all(&bytes).expect("the disk has room");
        }
        open.retain(|connection| connection.at < connection.packets.len());
    }
    out.flush().expect("the disk has room");
}

struct Connection {
    number: u32,
    started_us: u64,
    packets: Vec<Packet>,
    at: usize,
    next: [u32; 2],
}

impl Connection {
    fn new(number: u32, started_us: u64) -> Self {
        let isn = [number.wrapping_mul(2_654_435_761), number.wrapping_mul(40_503)];
        Self { number, started_us, packets: script(number), at: 0, next: isn }
    }

    fn take_due(&mut self, now: u64, due: &mut Vec<(u64, Vec<u8>)>) {
        while let Some(packet) = self.packets.get(self.at)
            && self.started_us + packet.after_us < now
        {
            let time = self.started_us + packet.after_us;
            due.push((time, self.record(time, packet)));
            let side = usize::from(!packet.from_client);
            let phantom = u32::from(packet.flags & (SYN | FIN) != 0);
            self.next[side] = self.next[side].wrapping_add(packet.data + phantom);
            self.at += 1;
        }
    }

    /// A pcap record with an Ethernet frame.
    fn record(&self, time: u64, packet: &Packet) -> Vec<u8> {
        let (client, server) = (
            (
                [10, 1, (self.number >> 14) as u8 & 63, (self.number >> 8) as u8 & 63],
                1024 + (self.number % 60_000) as u16,
            ),
            ([10, 2, 0, (self.number % 20) as u8], 8080_u16),
        );
        let (source, destination) =
            if packet.from_client { (client, server) } else { (server, client) };
        let side = usize::from(!packet.from_client);
        let total = 40 + packet.data;
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((total as u16).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend(source.0);
        frame.extend(destination.0);
        frame.extend(source.1.to_be_bytes());
        frame.extend(destination.1.to_be_bytes());
        frame.extend(self.next[side].to_be_bytes());
        let ack = if packet.flags & ACK != 0 { self.next[side ^ 1] } else { 0 };
        frame.extend(ack.to_be_bytes());
        frame.extend([0x50, packet.flags, 1, 0xf5, 0, 0, 0, 0]);
        let head: &[u8] = if packet.from_client {
            b"GET /index.html HTTP/1.1\r\nHost: example\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 1300\r\n\r\n"
        };
        let starts = packet.flags & PSH != 0 && packet.from_client || packet.data == 1000;
        let filler = [b'x'; 64];
        let data: &[u8] = if starts { head } else { &filler };
        frame.extend(&data[..data.len().min(packet.data as usize)]);
        frame.truncate(SNAPLEN);
        let words = [
            (time / 1_000_000) as u32 + 1_700_000_000,
            (time % 1_000_000) as u32,
            frame.len() as u32,
            14 + total,
        ];
        let mut record: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        record.extend(frame);
        record
    }
}
