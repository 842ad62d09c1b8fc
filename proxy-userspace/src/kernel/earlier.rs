//! Connections that one end had closed before the programs looked: their sockets tell.
//!
//! Without them, an other end that closes later would be taken for the first, and the connection for
//! one that is half closed from then on.

use super::bpf::{self, Put};
use super::clock::now_ns;
use super::diag::{Diag, HALF_CLOSED, Local};
use aya::maps::MapData;
use bytemuck::Zeroable as _;
use proxy_common::abi::Slot;
use proxy_common::flow::{self, Flow, Mode};
use proxy_common::socket::tcp_state::CLOSE_WAIT;
use std::io;

/// Takes them into the table, while there is room; gives how many. One whose packets were quicker has
/// its entry already.
///
/// # Errors
/// Where the sockets cannot be listed, or the table not be written.
pub(super) fn take_in(flows: &MapData, mode: Mode) -> io::Result<u64> {
    let mut taken = 0;
    for one in Diag::open()?.list(HALF_CLOSED)? {
        let slot = Slot { flow: flow_of(&one, mode, now_ns()), ..Slot::zeroed() };
        match bpf::put(flows, &one.key, &slot, Put::New) {
            Ok(()) => taken += 1,
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) if error.raw_os_error() == Some(libc::E2BIG) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// What a socket's state says of its connection.
fn flow_of(one: &Local, mode: Mode, now_ns: u64) -> Flow {
    let closed_by = if one.state == CLOSE_WAIT { one.local.other() } else { one.local };
    let mut flow = Flow::new();
    flow::begin_half_closed(&mut flow, &one.key, closed_by, mode, now_ns);
    flow
}
