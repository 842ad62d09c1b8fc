//! Ethernet frames sent as they are, with VLAN tags that no device of this host made.

use super::netns::Netns;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The tags before the packet, outermost first: each a protocol (0x8100, 0x88a8) and an id.
pub(crate) type Tags<'a> = &'a [(u16, u16)];

/// An IP packet in an Ethernet frame with these tags.
pub(crate) fn ethernet(tags: Tags<'_>, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1]);
    for (protocol, id) in tags {
        frame.extend(protocol.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    let protocol: u16 = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    frame.extend(protocol.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A packet socket (packet(7)) for one interface.
pub(crate) struct Wire {
    socket: OwnedFd,
    index: i32,
}

impl Wire {
    pub(crate) fn open(netns: &Netns, interface: &str) -> Self {
        let name = std::ffi::CString::new(interface).expect("a name");
        let (socket, index) = netns.run(|| {
            // SAFETY: no pointer is handed over.
            let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
            assert!(socket >= 0, "packet socket: {}", Error::last_os_error());
            // SAFETY: the name ends with a zero.
            let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
            assert!(index > 0, "{interface}: {}", Error::last_os_error());
            (socket, index)
        });
        // SAFETY: the socket is new and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        Self { socket, index: i32::try_from(index).expect("an index") }
    }

    /// Sends an IP packet in a frame with these tags; it leaves through the interface.
    pub(crate) fn send(&self, tags: Tags<'_>, packet: &[u8]) {
        let frame = ethernet(tags, packet);
        let mut address = [0_u8; size_of::<libc::sockaddr_ll>()];
        address[..2].copy_from_slice(&(libc::AF_PACKET as u16).to_ne_bytes());
        address[4..8].copy_from_slice(&self.index.to_ne_bytes());
        // SAFETY: frame and address are readable for the lengths given.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                address.as_ptr().cast(),
                libc::socklen_t::try_from(address.len()).expect("small"),
            )
        };
        assert_eq!(usize::try_from(sent).ok(), Some(frame.len()), "{}", Error::last_os_error());
    }
}
