//! What TCP does of itself on the connections of one side.

use std::{io, os::fd::AsFd, time::Duration};

use rustix::net::{AddressFamily, SocketType, sockopt};

/// What TCP does of itself on a connection: where nothing is said, what the system has it do.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Tcp {
    /// Whether it probes peers that are silent (`option clitcpka`, `srvtcpka`, `tcpka`).
    pub keepalive: bool,
    /// After so many probes without an answer the connection is given up; 0 is the system's
    /// (`clitcpka-cnt`, `srvtcpka-cnt`).
    pub probes: u32,
    /// Seconds of silence before the first probe; 0 is the system's (`clitcpka-idle`...).
    pub idle: u32,
    /// Seconds between two probes; 0 is the system's (`clitcpka-intvl`...).
    pub interval: u32,
    /// Milliseconds after which data that nobody acknowledges end the connection; 0 is the system's
    /// (`tcp-ut`).
    pub user_timeout: u32,
}

impl Tcp {
    /// Has a socket do it; what a listening one does, those do that it accepts.
    pub(crate) fn apply(&self, socket: impl AsFd) -> io::Result<()> {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        if self.keepalive {
            sockopt::set_socket_keepalive(&socket, true)?;
            if self.probes > 0 {
                sockopt::set_tcp_keepcnt(&socket, self.probes)?;
            }
            if self.idle > 0 {
                sockopt::set_tcp_keepidle(&socket, seconds(self.idle))?;
            }
            if self.interval > 0 {
                sockopt::set_tcp_keepintvl(&socket, seconds(self.interval))?;
            }
        }
        if self.user_timeout > 0 {
            sockopt::set_tcp_user_timeout(&socket, self.user_timeout)?;
        }
        Ok(())
    }

    /// Has a socket do it that was told something else before.
    pub(crate) fn apply_anew(&self, socket: impl AsFd) -> io::Result<()> {
        let untold = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_tcp_keepcnt(&socket, sockopt::tcp_keepcnt(&untold)?)?;
        sockopt::set_tcp_keepidle(&socket, sockopt::tcp_keepidle(&untold)?)?;
        sockopt::set_tcp_keepintvl(&socket, sockopt::tcp_keepintvl(&untold)?)?;
        sockopt::set_socket_keepalive(&socket, false)?;
        sockopt::set_tcp_user_timeout(&socket, 0)?;
        self.apply(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        listener::Listeners,
        settings::{Bind, BindAddress, Frontend, ServerAddress, Settings},
        sock::Sock,
        watch::Watch,
    };
    use std::net::SocketAddr;

    /// What the kernel says of a socket.
    fn told(socket: impl AsFd) -> Tcp {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap();
        Tcp {
            keepalive: sockopt::socket_keepalive(&socket).unwrap(),
            probes: sockopt::tcp_keepcnt(&socket).unwrap(),
            idle: seconds(sockopt::tcp_keepidle(&socket).unwrap()),
            interval: seconds(sockopt::tcp_keepintvl(&socket).unwrap()),
            user_timeout: sockopt::tcp_user_timeout(&socket).unwrap(),
        }
    }

    #[test]
    fn both_sides_sockets_do_as_they_are_told() {
        let tcp = Tcp { keepalive: true, probes: 3, idle: 70, interval: 11, user_timeout: 4_000 };
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let bind = Bind { tcp, fast_open: true, ..Bind::new(BindAddress::Inet(loopback)) };
        let frontend = Frontend { name: "f".into(), binds: vec![bind], ..Default::default() };
        let settings = Settings { frontends: vec![frontend], ..Default::default() };
        let listeners = Listeners::bind(&settings, 1, &Listeners::default()).unwrap();
        let address = listeners.addresses()[0].1;
        let connected = std::net::TcpStream::connect(address).unwrap();
        let accepted = rustix::net::accept(&*listeners.of(0)[0].socket).unwrap();
        assert_eq!(told(&accepted), tcp);
        drop(connected);
        let watch = Watch::new().unwrap();
        let open = |tcp| Sock::open(&ServerAddress::Inet(address), None, tcp, &watch).unwrap();
        assert_eq!(told(open(tcp)), tcp);
        // Nothing that is not asked for.
        let quiet = told(open(Tcp { keepalive: false, user_timeout: 0, ..tcp }));
        assert!(!quiet.keepalive && quiet.idle != 70 && quiet.user_timeout == 0);
    }
}
