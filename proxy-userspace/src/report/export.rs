//! A close in the files of other programs. Their words for it are those of
//! [`proxy_common::verdict::vocabulary`].

pub mod eve;
pub mod ipfix;
pub mod zeek;

use proxy_common::verdict::{Close, Role};

/// What other vocabularies count and a close does not; the originator first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic<'a> {
    /// The connection's number.
    pub number: u64,
    /// Bytes of IP packets; `None` where nothing tells them.
    pub ip_bytes: [Option<u64>; 2],
    /// All flags that each end set.
    pub flags: [u8; 2],
    /// Gaps in what each end sent that were acknowledged and not seen.
    pub gaps: u32,
    /// The protocol above TCP, where it is known.
    pub service: Option<&'a str>,
    /// Letters that the history had when the reading of that protocol was given up.
    pub stopped_at: Option<u8>,
}

/// Both ends of a close, the originator first.
fn ends(close: &Close) -> [&proxy_common::verdict::EndReport; 2] {
    [close.end(Role::Orig), close.end(Role::Resp)]
}

/// A number that other programs take for the connection's identity.
fn identity(close: &Close, number: u64) -> u64 {
    // FNV-1a over what tells connections apart.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for end in ends(close) {
        take(&end.endpoint.addr);
        take(&end.endpoint.port.to_be_bytes());
    }
    take(&close.started_ns.to_be_bytes());
    take(&number.to_be_bytes());
    hash
}
