//! The counters of the kernel side: their indices, their names and what they count.

/// An index into the kernel's counters.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub u32);

/// Declares the counters once: their indices, their names, their meaning.
macro_rules! counters {
    ($($index:literal $name:ident $text:literal;)*) => {
        impl Counter {
            $(#[doc = $text] pub const $name: Self = Self($index);)*
            /// Every counter with its name and its meaning, in the order of the indices.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$name, stringify!($name), $text)),*];
        }
    };
}

counters! {
    0 CLOSES "connections reported as closed";
    1 FLOWS_MADE "connections taken into the table";
    2 LOST_RING_FULL "closes lost because the ring buffer was full";
    3 LOST_TABLE_FULL "segments or sockets that found no room in the flow table";
    4 LOST_SEGMENT_RECORDS "control segments lost because the ring buffer was full";
    5 REFUSED_TRUNCATED "packets whose bytes ended before their TCP header did";
    6 REFUSED_MALFORMED "packets with impossible header lengths or too many extension headers";
    7 REFUSED_FRAGMENT "fragments without a TCP header";
    8 EVICTED "connections evicted from the flow table to make room";
    9 EXPIRED "connections given up after a time without any sign of life";
    10 LATE "segments that came after their connection was reported";
    11 LOST_LISTEN_RECORDS "listening sockets not reported because the ring buffer was full";
    12 LOST_FACTS "reasons of RSTs lost because the ring buffer was full";
    13 RECLAIMED "reported connections whose table entry was freed";
    14 STAND_INS_MADE "sockets that a stand-in took the place of";
    15 STAND_IN_ANSWERS "segments that stand-ins sent";
    16 STAND_IN_RESETS "connections that a stand-in reset: the peer did not close, sent too much, or by command";
    17 STAND_INS_GIVEN_UP "stand-ins removed as a segment was not understood or could not be answered";
    18 LOST_DEADLINES "deadlines not told because the ring buffer was full: a look at all sockets finds them";
    19 LOST_LEAVING "segments or sockets that began a connection in an entry of the flow table that was being freed";
}

/// How many counters there are.
pub const COUNTERS: usize = Counter::ALL.len();

const _: () = {
    let mut at = 0;
    while at < COUNTERS {
        assert!(Counter::ALL[at].0.0 as usize == at);
        at += 1;
    }
};
