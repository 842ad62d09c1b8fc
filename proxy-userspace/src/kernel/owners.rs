//! Who owns a socket, where the kernel side could not see: sockets older than the programs, and
//! accepted ones that their peer ended before their owner did.
//!
//! A listening socket's owner stands for all that it accepts, and for nothing that connects from the
//! same port later. Listening sockets are found in /proc once, at the start, and after that by what
//! sock_ops tells.

use super::diag::Diag;
use proxy_common::flow::{Flow, SYN_SEEN};
use proxy_common::key::{Endpoint, FlowKey, Side, UNSPECIFIED};
use proxy_common::socket::{KNOWS_CGROUP, KNOWS_OWNER, SocketEvent};
use std::collections::HashMap;
use std::fs;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    comm: [u8; 16],
    cgroup: Option<u64>,
}

/// Owners by what their sockets are bound to.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Of listening sockets, by endpoint; the unspecified address stands for all.
    listening: HashMap<Endpoint, Owner>,
    /// So many were left when those that listen no more were looked for: nobody tells of their end.
    left: usize,
    /// Of connections that were there at the start.
    connected: HashMap<(Endpoint, Endpoint), Owner>,
}

/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";
/// Listening sockets that are kept without a look whether they are there still.
const MANY: usize = 1_024;

impl Owners {
    /// Looks through /proc for the sockets of this namespace. What cannot be read is left out.
    #[must_use]
    pub(super) fn of_host() -> Self {
        let mut by_inode = HashMap::new();
        for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
            let text = fs::read_to_string(table).unwrap_or_default();
            by_inode.extend(text.lines().skip(1).filter_map(socket));
        }
        let mut owners = Self::default();
        for (pid, inodes) in processes() {
            let mut owner = None;
            for inode in inodes {
                let Some(found) = by_inode.get(&inode) else { continue };
                let owner =
                    *owner.get_or_insert_with(|| Owner { pid, comm: comm(pid), cgroup: None });
                match found.remote {
                    // The first process found is often the parent; workers are told by sock_ops.
                    None => drop(owners.listening.entry(found.local).or_insert(owner)),
                    Some(remote) => drop(owners.connected.insert((found.local, remote), owner)),
                }
            }
        }
        owners
    }

    /// A socket began to listen.
    pub(super) fn listens(&mut self, endpoint: Endpoint, event: &SocketEvent) {
        if event.knows(KNOWS_OWNER) {
            let cgroup = event.knows(KNOWS_CGROUP).then_some(event.cgroup);
            let owner = Owner { pid: event.pid, comm: event.comm, cgroup };
            self.listening.insert(endpoint, owner);
            if self.listening.len() > MANY.max(2 * self.left) {
                self.keep_those_that_listen(endpoint);
            }
        }
    }

    /// Forgets those that listen no more; `new` may have been told of before it is seen.
    fn keep_those_that_listen(&mut self, new: Endpoint) {
        match Diag::open().and_then(|mut diag| diag.listening()) {
            Ok(there) => {
                self.listening.retain(|known, _| *known == new || there.contains(known));
            }
            Err(error) => tracing::debug!(%error, "listening sockets cannot be listed"),
        }
        self.left = self.listening.len();
    }

    /// Fills in owners that the flow lacks.
    pub(super) fn complete(&mut self, key: &FlowKey, flow: &mut Flow) {
        for side in [Side::LOW, Side::HIGH] {
            let local = *key.end(side);
            let connected = if self.connected.is_empty() {
                None
            } else {
                self.connected.remove(&(local, *key.end(side.other())))
            };
            let connects = side == Side(flow.orig.0 & 1) && flow.end(side).bits & SYN_SEEN != 0;
            let listener = || if connects { None } else { self.listener(local).copied() };
            let end = &mut flow.ends[side.index()];
            if end.known & KNOWS_OWNER == 0
                && let Some(owner) = connected.or_else(listener)
            {
                end.pid = owner.pid;
                end.comm = owner.comm;
                end.known |= KNOWS_OWNER;
                if let Some(cgroup) = owner.cgroup {
                    end.cgroup = cgroup;
                    end.known |= KNOWS_CGROUP;
                }
            }
        }
    }

    fn listener(&self, local: Endpoint) -> Option<&Owner> {
        if self.listening.is_empty() {
            return None;
        }
        self.listening.get(&local).or_else(|| {
            UNSPECIFIED
                .iter()
                .find_map(|addr| self.listening.get(&Endpoint { addr: *addr, port: local.port }))
        })
    }
}

/// A socket as /proc/net/tcp shows it.
struct Socket {
    local: Endpoint,
    /// `None` where it listens.
    remote: Option<Endpoint>,
}

/// One line: `sl local remote st tx:rx tr:tm retrnsmt uid timeout inode …`.
fn socket(line: &str) -> Option<(u64, Socket)> {
    let mut fields = line.split_ascii_whitespace();
    let local = endpoint(fields.nth(1)?)?;
    let remote = endpoint(fields.next()?)?;
    let state = fields.next()?;
    let inode = fields.nth(5)?.parse().ok()?;
    Some((inode, Socket { local, remote: (state != LISTEN).then_some(remote) }))
}

/// `0100007F:1F90`: words of four bytes in the host's order, and the port.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match address.len() {
        8 => Some(Endpoint::v4(word(0)?, port)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Some(Endpoint::v6(words.concat().try_into().ok()?, port))
        }
        _ => None,
    }
}

/// Every process and the inodes of its sockets.
fn processes() -> impl Iterator<Item = (u32, Vec<u64>)> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let inodes = files
            .filter_map(|file| {
                let target = fs::read_link(file.ok()?.path()).ok()?;
                let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                inode.parse().ok()
            })
            .collect();
        Some((pid, inodes))
    })
}

/// The name of a process, padded with zeros.
fn comm(pid: u32) -> [u8; 16] {
    let mut comm = [0; 16];
    if let Ok(name) = fs::read(format!("/proc/{pid}/comm")) {
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        let length = name.len().min(15);
        comm[..length].copy_from_slice(&name[..length]);
    }
    comm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21032 1";
        let (inode, found) = socket(line).unwrap();
        assert_eq!(inode, 21032);
        assert_eq!(found.local, Endpoint::v4([127, 0, 0, 1], 8080));
        assert!(found.remote.is_none());
        let line = "   1: 00000000000000000000000001000000:0050 00000000000000000000000001000000:9C40 01 0:0 00:0 0 0 0 7 1";
        let (_, found) = socket(line).unwrap();
        let mut one = [0; 16];
        one[15] = 1;
        assert_eq!(found.remote, Some(Endpoint::v6(one, 40000)));
        assert!(socket("  sl  local_address rem_address   st").is_none());
    }

    #[test]
    fn a_listener_of_this_process_owns_what_it_accepts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut owners = Owners::of_host();
        let local = Endpoint::v4([127, 0, 0, 1], port);
        let (key, side) = FlowKey::new(local, Endpoint::v4([127, 0, 0, 9], 1));
        let mut flow = Flow::new();
        owners.complete(&key, &mut flow);
        assert_eq!(flow.end(side).pid, std::process::id());
        assert_eq!(flow.end(side.other()).pid, 0);
        // Later it may be the port that another process connects from.
        let mut flow = Flow { orig: side, ..Flow::new() };
        flow.ends[side.index()].bits |= SYN_SEEN;
        owners.complete(&key, &mut flow);
        assert_eq!(flow.end(side).pid, 0);
    }

    #[test]
    fn those_that_listen_no_more_are_forgotten() {
        use bytemuck::Zeroable as _;
        let v4 = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let v6 = std::net::TcpListener::bind("[::]:0").unwrap();
        let kept = [
            Endpoint::v4([127, 0, 0, 1], v4.local_addr().unwrap().port()),
            Endpoint::v6([0; 16], v6.local_addr().unwrap().port()),
        ];
        let mut owners = Owners::default();
        let event = SocketEvent { known: KNOWS_OWNER, ..SocketEvent::zeroed() };
        let gone = |at: usize| Endpoint::v4([192, 0, 2, 1], at as u16);
        for endpoint in kept.into_iter().chain((0..20 * MANY).map(gone)) {
            owners.listens(endpoint, &event);
        }
        assert!(owners.listening.len() <= MANY, "{}", owners.listening.len());
        assert!(kept.iter().all(|endpoint| owners.listening.contains_key(endpoint)));
    }
}
