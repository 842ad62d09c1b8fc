//! The clsact qdisc, on which filters hang where the kernel has no tcx (before 6.6).
//!
//! Filters outlive the process that made them: what a killed predecessor left is taken off first,
//! and a qdisc that nobody else uses is removed at the end.

use super::error::Error;
use super::links::Interface;
use aya::programs::TcAttachType;
use aya::programs::tc;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;

/// TC_H_CLSACT and its two hooks (include/uapi/linux/pkt_sched.h).
const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };
const HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff2 };
const EGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff3 };

/// The qdisc of one interface; dropped, it is removed if it was made here and nobody else uses it.
pub(super) struct Qdisc {
    index: u32,
    ours: bool,
}

impl Qdisc {
    /// Makes sure that the interface has the qdisc, without filters of a predecessor's.
    ///
    /// # Errors
    /// Where the kernel refuses the qdisc.
    pub(super) fn ensure(interface: &Interface, programs: &[&str]) -> Result<Self, Error> {
        let mut left_behind = false;
        for program in programs {
            for kind in [TcAttachType::Ingress, TcAttachType::Egress] {
                left_behind |= tc::qdisc_detach_program(&interface.name, kind, program).is_ok();
            }
        }
        let made = match add(interface.index) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => {
                let action = format!("adding the clsact qdisc to {}", interface.name);
                return Err(Error::system(action)(error));
            }
        };
        Ok(Self { index: interface.index, ours: made || left_behind })
    }
}

impl Drop for Qdisc {
    fn drop(&mut self) {
        if !self.ours || has_filters(self.index).unwrap_or(true) {
            return;
        }
        if let Err(error) = delete(self.index) {
            tracing::debug!(index = self.index, %error, "the clsact qdisc stays");
        }
    }
}

/// Whether any filter hangs on either hook.
fn has_filters(index: u32) -> io::Result<bool> {
    for parent in [INGRESS, EGRESS] {
        let mut message = TcMessage::with_index(index as i32);
        message.header.parent = parent;
        let mut found = false;
        ask(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP, |_| found = true)?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds the qdisc; it must not be there yet.
fn add(index: u32) -> io::Result<()> {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = CLSACT;
    message.header.handle = HANDLE;
    message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    ask(RouteNetlinkMessage::NewQueueDiscipline(message), flags, |_| {})
}

fn delete(index: u32) -> io::Result<()> {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = CLSACT;
    message.header.handle = HANDLE;
    ask(RouteNetlinkMessage::DelQueueDiscipline(message), NLM_F_ACK, |_| {})
}

/// One request and its answers.
fn ask(
    request: RouteNetlinkMessage,
    flags: u16,
    mut each: impl FnMut(RouteNetlinkMessage),
) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for message in super::links::messages(&datagram)? {
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(inner) => each(inner),
                _ => {}
            }
        }
    }
}
