//! A capture by tcpdump inside a namespace: known to listen before traffic starts, and complete
//! when it is stopped, because a datagram sent last of all has been seen in it.

use super::netns::Netns;
use super::packets::{self, Packet};
use super::process::Process;
use super::until::until;
use rustix::process::Signal;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// The discard port (RFC 863), where the last datagram goes.
const SENTINEL_PORT: u16 = 9;

/// A running capture.
pub(crate) struct Tcpdump {
    process: Process,
    netns: Netns,
    toward: SocketAddr,
    file: Arc<Mutex<Vec<u8>>>,
}

impl Tcpdump {
    /// Captures TCP on `interface`; `toward` is an address that is reached through it.
    pub(crate) fn start(netns: &Netns, interface: &str, toward: IpAddr) -> Self {
        // tcpdump's "tcp" does not look behind IPv6 extension headers.
        let filter = format!("tcp or ip6 or udp port {SENTINEL_PORT}");
        Self::filtered(netns, interface, toward, &filter)
    }

    /// Captures what passes tcpdump's `filter`: all if that is empty.
    pub(crate) fn filtered(netns: &Netns, interface: &str, toward: IpAddr, filter: &str) -> Self {
        let mut command = Command::new("tcpdump");
        command.args(["-i", interface, "-w", "-", "-U", "-n", "-Z", "root", "-s", "144"]);
        command.args(["--immediate-mode", "--time-stamp-precision=nano", "-B", "16384"]);
        command.arg(filter);
        let mut process = Process::start(netns, command.stdout(Stdio::piped()));
        let file = Arc::new(Mutex::new(Vec::new()));
        let (mut output, into) = (process.stdout(), Arc::clone(&file));
        std::thread::spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            while let Ok(length) = output.read(&mut chunk) {
                if length == 0 {
                    break;
                }
                into.lock().expect("the capture").extend_from_slice(&chunk[..length]);
            }
        });
        process.wait_for_words("listening on");
        let toward = SocketAddr::new(toward, SENTINEL_PORT);
        let capture = Self { process, netns: netns.clone(), toward, file };
        // "listening on" is printed before the ring is read; only a packet seen proves it.
        capture.flush();
        capture
    }

    /// The TCP packets so far.
    pub(crate) fn packets(&self) -> Vec<Packet> {
        packets::read(&self.file.lock().expect("the capture"))
    }

    /// Waits until everything that was on the interface before this call is in the capture.
    pub(crate) fn flush(&self) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("td-sentinel-{:08}.", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut from = self.file.lock().expect("the capture").len();
        let mut attempt = 0_u32;
        until("the sentinel in the capture", || {
            if attempt.is_multiple_of(100) {
                self.netns.run(|| {
                    let any: IpAddr =
                        if self.toward.is_ipv4() { [0; 4].into() } else { [0_u8; 16].into() };
                    let socket = UdpSocket::bind((any, 0)).expect("a socket");
                    socket.send_to(mark.as_bytes(), self.toward).expect("the sentinel is sent");
                });
            }
            attempt += 1;
            let file = self.file.lock().expect("the capture");
            let found = memchr::memmem::find(&file[from..], mark.as_bytes());
            from = file.len().saturating_sub(mark.len()).max(from);
            found
        });
    }

    /// Stops without loss and gives every TCP packet; fails if the kernel dropped any.
    pub(crate) fn stop(mut self) -> Vec<Packet> {
        self.flush();
        self.process.signal(Signal::INT);
        self.process.wait();
        let words = self.process.errors.to_the_end();
        assert!(
            words.iter().any(|line| line.starts_with("0 packets dropped by kernel")),
            "the witness itself lost packets: {words:?}"
        );
        self.packets()
    }

    /// Keeps the capture as a file for whoever looks into a failure; gives its path.
    pub(crate) fn keep(&self, name: &str) -> String {
        let path = format!("{}/{name}.pcap", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&path, &*self.file.lock().expect("the capture")).expect("the capture kept");
        path
    }
}
