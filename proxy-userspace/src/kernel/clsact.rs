//! The clsact qdisc, on which filters hang where the kernel has no tcx (before 6.6).
//!
//! Filters outlive the process that made them: what a killed predecessor left is taken off by the
//! next start, unless another teardown lives that has such filters too. A qdisc that nobody else uses
//! is removed at the end.

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
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

/// TC_H_CLSACT and its two hooks (include/uapi/linux/pkt_sched.h).
const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };
const HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff2 };
const EGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff3 };

/// How the names begin that say in a network namespace that a teardown with filters lives there.
const PRESENT: &str = "teardown-clsact-";

/// Says that a teardown with filters lives, for as long as this does: a name in the abstract namespace
/// of Unix sockets belongs to one network namespace, and goes with its process.
///
/// # Errors
/// Where there cannot be such a socket.
pub(super) fn be_present() -> io::Result<UnixDatagram> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let name = format!("{PRESENT}{}-{serial}", std::process::id());
    UnixDatagram::bind_addr(&UnixAddress::from_abstract_name(name)?)
}

/// How many of those live in this network namespace, oneself too.
///
/// # Errors
/// Where /proc cannot be read.
pub(super) fn present() -> io::Result<usize> {
    let sockets = std::fs::read_to_string("/proc/thread-self/net/unix")?;
    let name = format!("@{PRESENT}");
    Ok(sockets.split_whitespace().filter(|word| word.starts_with(&name)).count())
}

/// Takes off what a dead predecessor left on an interface: filters of `programs`, and the qdisc if
/// nothing else hangs on it.
pub(super) fn clear(interface: &Interface, programs: &[&str]) {
    if !has_filters(interface.index).unwrap_or(true) {
        return;
    }
    let mut left_behind = false;
    for program in programs {
        for kind in [TcAttachType::Ingress, TcAttachType::Egress] {
            left_behind |= tc::qdisc_detach_program(&interface.name, kind, program).is_ok();
        }
    }
    if left_behind {
        drop(Qdisc { index: interface.index, ours: true });
    }
}

/// The qdisc of one interface; dropped, it is removed if it was made here and nobody else uses it.
pub(super) struct Qdisc {
    index: u32,
    ours: bool,
}

impl Qdisc {
    /// Makes sure that the interface has the qdisc. One that another living teardown has made is left
    /// to whoever ends last.
    ///
    /// # Errors
    /// Where the kernel refuses the qdisc.
    pub(super) fn ensure(interface: &Interface, has_company: bool) -> Result<Self, Error> {
        let made = match add(interface.index) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => {
                let action = format!("adding the clsact qdisc to {}", interface.name);
                return Err(Error::system(action)(error));
            }
        };
        Ok(Self { index: interface.index, ours: made || has_company })
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
///
/// # Errors
/// Where the kernel does not say.
pub(super) fn has_filters(index: u32) -> io::Result<bool> {
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
