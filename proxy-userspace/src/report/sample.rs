//! Closes for tests: made by the machine itself from a few segments.

use super::record::{Letters, Said};
use bytemuck::Zeroable;
use proxy_common::flow::{Flow, Input, Mode, step};
use proxy_common::key::{Endpoint, FlowKey};
use proxy_common::segment::{ACK, FIN, NO_WINDOW_SCALE, RST, SYN, Segment};
use proxy_common::socket::{
    KNOWS_OWNER, KNOWS_PATH, KNOWS_RST_REASON, KNOWS_STATE, KNOWS_UNACKED, KNOWS_UNREAD,
    SocketEvent,
};

/// 2026-01-31T23:59:59.123456Z in nanoseconds.
pub(crate) const EPOCH: u64 = 1_769_903_999_123_456_000;

pub(crate) const CLIENT: Endpoint = Endpoint::v4([10, 0, 0, 1], 40000);
pub(crate) const SERVER: Endpoint = Endpoint::v4([10, 0, 0, 5], 80);

/// A connection being made.
pub(crate) struct Script {
    pub(crate) key: FlowKey,
    pub(crate) flow: Flow,
    ends: [Endpoint; 2],
    /// Next sequence numbers of the client and the server.
    next: [u32; 2],
    now_ns: u64,
}

/// Who does something.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Client = 0,
    Server = 1,
}

impl Script {
    /// A connection with its handshake done, at [`EPOCH`].
    pub(crate) fn connected(client: Endpoint, server: Endpoint) -> Self {
        let mut script = Self {
            key: FlowKey::new(client, server).0,
            flow: Flow::new(),
            ends: [client, server],
            next: [1_000, 5_000],
            now_ns: EPOCH,
        };
        script.send(End::Client, SYN, 0);
        script.send(End::Server, SYN | ACK, 0);
        script.send(End::Client, ACK, 0);
        script
    }

    pub(crate) fn after_us(&mut self, us: u64) -> &mut Self {
        self.now_ns += us * 1_000;
        self
    }

    pub(crate) fn send(&mut self, from: End, flags: u8, payload: u32) -> &mut Self {
        let (from, to) = (from as usize, 1 - from as usize);
        let segment = Segment {
            seq: self.next[from],
            ack: if flags & ACK == 0 { 0 } else { self.next[to] },
            payload,
            timestamp: 0,
            timestamp_echo: 0,
            vantage: 0,
            window: 1_000,
            flags,
            window_scale: NO_WINDOW_SCALE,
            sender: FlowKey::new(self.ends[from], self.ends[to]).1,
            marks: 0,
            reserved: 0,
        };
        self.next[from] = segment.end();
        step(&mut self.flow, &self.key, Input::Segment(&segment), Mode::FULL, self.now_ns);
        self
    }

    /// The socket at `end` is established, and owned by process 4242 of this name.
    pub(crate) fn owned(&mut self, end: End, comm: &[u8]) -> &mut Self {
        let mut event = SocketEvent { pid: 4_242, ..Self::event(KNOWS_OWNER, 3, 1) };
        event.comm[..comm.len()].copy_from_slice(comm);
        self.tell(end, event)
    }

    /// The socket at `end` is gone, and has thrown away what it had not read.
    pub(crate) fn gone(&mut self, end: End, unread: u32) -> &mut Self {
        let known = KNOWS_UNREAD | KNOWS_UNACKED | KNOWS_RST_REASON | KNOWS_PATH;
        let path = SocketEvent { srtt_us: 1_204, retransmissions: 2, ..Self::event(known, 1, 7) };
        self.tell(end, SocketEvent { unread, rst_reason: 3, ..path })
    }

    fn event(known: u16, old_state: u8, new_state: u8) -> SocketEvent {
        let known = known | KNOWS_STATE;
        SocketEvent { known, old_state, new_state, ..Zeroable::zeroed() }
    }

    fn tell(&mut self, end: End, mut event: SocketEvent) -> &mut Self {
        event.side = FlowKey::new(self.ends[end as usize], self.ends[1 - end as usize]).1;
        step(&mut self.flow, &self.key, Input::Socket(&event), Mode::FULL, self.now_ns);
        self
    }
}

/// The server closes first, with its data; the client answers with FIN.
pub(crate) fn clean() -> Script {
    let mut script = Script::connected(CLIENT, SERVER);
    script.after_us(200).send(End::Client, ACK, 78);
    script.after_us(104_000).send(End::Server, ACK | FIN, 167);
    script.after_us(332).send(End::Client, ACK | FIN, 0);
    script.after_us(1_400).send(End::Server, ACK, 0);
    script
}

/// The client resets with a response unread, on IPv6, its name a wild one.
pub(crate) fn reset() -> Script {
    let mut loopback = [0; 16];
    loopback[15] = 1;
    let mut script =
        Script::connected(Endpoint::v6(loopback, 50_000), Endpoint::v6(loopback, 8_080));
    script.owned(End::Server, b"server").owned(End::Client, b"a\"b c\xff");
    script.after_us(200).send(End::Client, ACK, 10);
    script.after_us(50).send(End::Server, ACK, 4_096);
    script.after_us(2_000_000).send(End::Client, RST | ACK, 0);
    script.gone(End::Client, 4_096);
    script
}

/// A proxy whose client went away during a response.
pub(crate) fn said() -> Said<'static> {
    Said {
        class: "traffic",
        termination: Letters::new(*b"CD--", 4),
        phase: Some("data"),
        method: Some("GET"),
        status: Some(200),
        requests: 3,
    }
}

/// The client has closed and the server has not.
pub(crate) fn half_open() -> Script {
    let mut script = Script::connected(CLIENT, SERVER);
    script.after_us(100).send(End::Client, ACK | FIN, 10);
    script.after_us(100).send(End::Server, ACK, 0);
    script
}
