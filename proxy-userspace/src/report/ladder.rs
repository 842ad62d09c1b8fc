//! The ladder of one connection: what each end sent, in order, and what that means.
//!
//! Control segments are kept one by one; data is kept as runs, and acknowledgments only where
//! they say something about the beginning or the end.

pub mod svg;
pub mod text;
pub mod words;

use proxy_common::flow::Flow;
use proxy_common::key::Side;
use proxy_common::segment::{ACK, BAD_CHECKSUM, FIN, PSH, RST, SYN, Segment};
use proxy_common::seq::after;

/// Rows kept of a connection; of a longer one, later runs of data are only counted.
const MOST_ROWS: usize = 120;
/// Control segments kept beyond that.
const MOST_CONTROL: usize = 200;
/// The same packet again before this time was captured twice: no timer is as short.
const COPY_NS: u64 = 1_000_000;

/// The flags that are shown.
const FLAGS: u8 = SYN | FIN | RST | PSH | ACK;

/// One row: a control segment, or a run of data in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When its first segment was seen.
    pub time_ns: u64,
    /// When its last was.
    pub last_ns: u64,
    /// When the last was that brought something new.
    pub new_ns: u64,
    /// Who sent it.
    pub sender: Side,
    /// The flags of its last segment.
    pub flags: u8,
    /// The sequence number of its first segment.
    pub seq: u32,
    /// The acknowledgment number of its last.
    pub ack: u32,
    /// Bytes of data in all.
    pub bytes: u64,
    /// Segments.
    pub segments: u32,
    /// Those of them that brought nothing new.
    pub repeated: u32,
    /// The same SYN, FIN, RST or data was sent before.
    pub again: bool,
    /// It is a keep-alive probe, or several: a byte that the other end has acknowledged before.
    pub is_probe: bool,
    /// It is a packet that stands before, captured a second time.
    pub copy: bool,
    /// It came when the connection had been over for long, and moved nothing.
    pub is_late: bool,
    /// Its checksum is wrong, so that its receiver drops it.
    pub is_wrong: bool,
    /// Where it was captured.
    pub vantage: u32,
    /// The start line of an HTTP head that it begins with.
    pub head: Option<Box<str>>,
}

impl Row {
    /// Whether it is a run of data without SYN, FIN or RST.
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.flags & (SYN | FIN | RST) == 0 && self.bytes > 0
    }

    /// The sequence number behind it.
    #[must_use]
    pub fn end(&self) -> u32 {
        let phantom = u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
        self.seq.wrapping_add(self.bytes as u32).wrapping_add(phantom)
    }

    /// Whether a segment has the flags and numbers of this row.
    fn is_like(&self, segment: &Segment) -> bool {
        self.sender == segment.sender
            && self.flags == segment.flags & FLAGS
            && (self.seq, self.ack) == (segment.seq, segment.ack)
            && self.bytes == u64::from(segment.payload)
    }

    /// Whether what was seen at `vantage` and `time_ns` may be this again and not a repetition. A
    /// RST answers each segment that comes, at once.
    fn is_near(&self, vantage: u32, time_ns: u64) -> bool {
        let is_soon = time_ns.saturating_sub(self.last_ns) < COPY_NS;
        self.vantage != vantage || is_soon && self.flags & RST == 0
    }

    /// Whether it is data that has all of a segment's in it.
    fn holds(&self, segment: &Segment) -> bool {
        let end = segment.seq.wrapping_add(segment.payload);
        let is_within = !after(self.seq, segment.seq) && !after(end, self.end());
        self.is_data() && self.sender == segment.sender && is_within
    }

    /// `FIN+PSH+ACK`, as the field writes it.
    #[must_use]
    pub fn flag_names(&self) -> String {
        let names = [(SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK")];
        let set: Vec<&str> = names
            .into_iter()
            .filter(|(flag, _)| self.flags & flag != 0)
            .map(|(_, name)| name)
            .collect();
        if set.is_empty() { "none".into() } else { set.join("+") }
    }
}

/// The rows of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// In the order in which they were seen.
    pub rows: Vec<Row>,
    /// Segments that would have had a row, or begun one, had there been any left.
    pub omitted: u64,
}

impl Ladder {
    /// Takes a segment that has just stepped `flow`.
    pub fn note(&mut self, segment: &Segment, flow: &Flow, time_ns: u64, head: Option<String>) {
        let control = segment.has(SYN | FIN | RST);
        let is_wrong = segment.marks & BAD_CHECKSUM != 0;
        let is_probe = !control && is_probe(segment, flow);
        if !control && segment.payload == 0 {
            if !self.tells(segment, flow) {
                return;
            }
        } else if !control && head.is_none() && !is_wrong && self.extend(segment, is_probe, time_ns)
        {
            return;
        }
        let most = if control { MOST_ROWS + MOST_CONTROL } else { MOST_ROWS };
        if self.rows.len() >= most {
            self.omitted += 1;
            return;
        }
        let flags = segment.flags & FLAGS;
        let again = self.rows.iter().filter(|row| !row.is_wrong).any(|row| match control {
            true => {
                row.sender == segment.sender
                    && row.flags & segment.flags & (SYN | FIN | RST) != 0
                    && row.end() == segment.end()
            }
            false => segment.payload > 0 && row.holds(segment),
        });
        let mut rows = self.rows.iter();
        let copy = rows.any(|row| row.is_like(segment) && row.is_near(segment.vantage, time_ns));
        self.rows.push(Row {
            time_ns,
            last_ns: time_ns,
            new_ns: time_ns,
            sender: segment.sender,
            flags,
            seq: segment.seq,
            ack: segment.ack,
            bytes: u64::from(segment.payload),
            segments: 1,
            repeated: 0,
            again,
            is_probe,
            copy,
            is_late: false,
            is_wrong,
            vantage: segment.vantage,
            head: head.map(Into::into),
        });
    }

    /// Takes a segment that came when the connection of `flow` had been over for long.
    pub fn note_late(&mut self, segment: &Segment, flow: &Flow, time_ns: u64) {
        let rows = self.rows.len();
        self.note(segment, flow, time_ns, None);
        if let Some(row) = self.rows.get_mut(rows) {
            row.is_late = true;
        }
    }

    /// Whether a bare acknowledgment is worth a row: it completes the handshake, or answers a SYN and
    /// is none of it, or is the first that acknowledges a FIN.
    fn tells(&self, segment: &Segment, flow: &Flow) -> bool {
        let Some(last) = self.rows.last() else { return true };
        if last.flags & (SYN | ACK) == SYN | ACK && last.sender != segment.sender {
            return true;
        }
        if last.flags & (SYN | ACK) == SYN && last.sender != segment.sender {
            return segment.ack != last.end();
        }
        let peer = flow.end(segment.sender.other());
        let acknowledges_fin = |row: &Row| row.ack == segment.ack && row.flags & ACK != 0;
        peer.fins != 0
            && segment.ack == peer.fin_end()
            && !self.rows.iter().any(|row| row.sender == segment.sender && acknowledges_fin(row))
    }

    /// Adds a segment of data to the run that it continues. What it repeats counts once.
    fn extend(&mut self, segment: &Segment, is_probe: bool, time_ns: u64) -> bool {
        let Some(last) = self.rows.last_mut() else { return false };
        if !last.is_data() || last.is_wrong || last.sender != segment.sender {
            return false;
        }
        if last.is_probe != is_probe {
            return false;
        }
        let (end, was) = (segment.seq.wrapping_add(segment.payload), last.end());
        if after(end, was) {
            last.bytes += u64::from(end.wrapping_sub(was));
            last.new_ns = time_ns;
        } else if last.is_near(segment.vantage, time_ns) {
            return true;
        } else {
            last.repeated += 1;
        }
        last.segments += 1;
        last.last_ns = time_ns;
        last.ack = segment.ack;
        last.flags |= segment.flags & PSH;
        true
    }
}

/// Whether a segment of data is a keep-alive probe (RFC 9293, 3.8.4): one byte, the last that was sent,
/// which has been acknowledged.
fn is_probe(segment: &Segment, flow: &Flow) -> bool {
    let end = flow.end(segment.sender);
    segment.payload == 1 && segment.end() == end.next && end.acked == end.next
}

/// Numbers of a connection as people read them: counted from each end's first.
#[derive(Clone, Copy, Debug)]
pub struct Relative {
    isn: [u32; 2],
}

impl Relative {
    /// The numbers of `flow`. Those of an end that was not captured are counted from what the other
    /// acknowledges first.
    #[must_use]
    pub fn of(ladder: &Ladder, flow: &Flow) -> Self {
        let acknowledged = || ladder.rows.iter().find(|row| row.flags & ACK != 0);
        let isn = flow.ends.each_ref().map(|end| match acknowledged() {
            Some(row) if end.segments == 0 => row.ack.wrapping_sub(1),
            _ => end.isn,
        });
        Self { isn }
    }

    /// A number of the end at `side`.
    #[must_use]
    pub fn number(&self, side: Side, number: u32) -> u32 {
        number.wrapping_sub(self.isn[side.index()])
    }

    /// `seq 1:597 ack 32`, or what of it there is.
    #[must_use]
    pub fn words(&self, row: &Row) -> String {
        let seq = self.number(row.sender, row.seq);
        let mut words = if row.bytes > 0 {
            format!("{seq}:{}", u64::from(seq) + row.bytes)
        } else {
            seq.to_string()
        };
        if row.flags & ACK != 0 {
            words.push_str(&format!(" ack {}", self.number(row.sender.other(), row.ack)));
        }
        words
    }
}
