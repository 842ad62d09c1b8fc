//! The ring buffer: from bytes to records.

use super::error::Error;
use super::object::take;
use aya::Ebpf;
use aya::maps::MapData;
use aya::maps::ring_buf::RingBuf;
use proxy_common::abi::{
    CloseRecord, DeadlineRecord, FactsRecord, ListenRecord, RECORD_CLOSE, RECORD_DEADLINE,
    RECORD_FACTS, RECORD_LISTEN, RECORD_SEGMENT, SegmentRecord,
};
use std::os::fd::{AsRawFd, RawFd};

/// So many records are taken before deadlines and readers have their turn again: under a flood more
/// come all the while.
const AT_ONCE: usize = 16_384;

/// What the programs tell.
pub(super) enum Record<'a> {
    /// A connection is over: where it stands in the ring, as a copy of its own costs.
    Close(&'a CloseRecord),
    /// A control segment, and the first bytes of its data where they were asked for.
    Segment(SegmentRecord, Box<[u8]>),
    /// A socket listens.
    Listen(ListenRecord),
    /// A tracepoint's word.
    Facts(FactsRecord),
    /// A connection under a deadline is half closed.
    Deadline(DeadlineRecord),
}

/// The reading end.
pub(super) struct Ring(RingBuf<MapData>);

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Ring {
    /// Takes the map out of the object.
    ///
    /// # Errors
    /// Where the object lacks it.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        RingBuf::try_from(take(ebpf, "EVENTS")?).map(Self).map_err(Error::map("EVENTS"))
    }

    /// What is there now, but no more than [`AT_ONCE`]. Returns whether there was anything.
    pub(super) fn drain(&mut self, mut each: impl FnMut(Record<'_>)) -> bool {
        let mut any = false;
        for _ in 0..AT_ONCE {
            let Some(item) = self.0.next() else { break };
            any = true;
            if let Some(record) = record(&item) {
                each(record);
            }
        }
        any
    }
}

/// The first word says what the others are.
fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let kind = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    match kind {
        // The kernel aligns records to eight bytes.
        RECORD_CLOSE => {
            bytemuck::try_from_bytes(bytes.get(..size_of::<CloseRecord>())?).ok().map(Record::Close)
        }
        RECORD_SEGMENT => {
            let data = bytes.get(size_of::<SegmentRecord>()..)?;
            read(bytes).map(|record| Record::Segment(record, data.into()))
        }
        RECORD_LISTEN => read(bytes).map(Record::Listen),
        RECORD_FACTS => read(bytes).map(Record::Facts),
        RECORD_DEADLINE => read(bytes).map(Record::Deadline),
        _ => None,
    }
}

fn read<T: bytemuck::Pod>(bytes: &[u8]) -> Option<T> {
    bytes.get(..size_of::<T>()).map(bytemuck::pod_read_unaligned)
}
