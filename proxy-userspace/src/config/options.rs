//! `option` lines that switch something on or off, and the modes of closing among them.

/// What `option NAME` switches on and `no option NAME` off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Switch {
    /// `abortonclose`: give up a request whose client has gone.
    AbortOnClose,
    /// `http-buffer-request`: wait for the bodies of requests first.
    BufferRequests,
    /// `allbackups`: use all backup servers, not the first one only.
    AllBackups,
    /// `clitcpka`: TCP keep-alive towards clients.
    ClientTcpKeepAlive,
    /// `dontlognull`: no log line for a connection whose client sends no byte.
    DontLogNull,
    /// `dontlog-normal`: no log line where nothing went wrong.
    DontLogNormal,
    /// `http-ignore-probes`: neither answer, count nor log who sends no byte.
    IgnoreProbes,
    /// `http-pretend-keepalive`: don't tell servers that the connection will be closed.
    PretendKeepAlive,
    /// `log-health-checks`: log every change of a check's result.
    LogHealthChecks,
    /// `log-separate-errors`: log errors one level louder.
    LogSeparateErrors,
    /// `nolinger`: close with RST.
    NoLinger,
    /// `persist`: a cookie binds to a server that is down, too.
    Persist,
    /// `prefer-last-server`: stay on the connection's last server where possible.
    PreferLastServer,
    /// `splice-auto`.
    SpliceAuto,
    /// `splice-request`.
    SpliceRequest,
    /// `splice-response`.
    SpliceResponse,
    /// `srvtcpka`: TCP keep-alive towards servers.
    ServerTcpKeepAlive,
    /// `tcp-smart-accept`: no ACK of its own for the request.
    SmartAccept,
    /// `tcp-smart-connect`: no ACK of its own before the request.
    SmartConnect,
    /// `tcpka`: TCP keep-alive on both sides.
    TcpKeepAlive,
}

impl Switch {
    /// Why it changes nothing here, if it does not.
    #[must_use]
    pub const fn moot(self) -> Option<&'static str> {
        Some(match self {
            Self::SpliceAuto | Self::SpliceRequest | Self::SpliceResponse => {
                "bodies are spliced where it pays, by teardown's own judgement"
            }
            Self::SmartAccept => "the first ACK is left to the kernel",
            _ => return None,
        })
    }
}

/// The switches by name.
pub const SWITCHES: [(&str, Switch); 20] = [
    ("abortonclose", Switch::AbortOnClose),
    ("allbackups", Switch::AllBackups),
    ("clitcpka", Switch::ClientTcpKeepAlive),
    ("dontlognull", Switch::DontLogNull),
    ("dontlog-normal", Switch::DontLogNormal),
    ("http-buffer-request", Switch::BufferRequests),
    ("http-ignore-probes", Switch::IgnoreProbes),
    ("http-pretend-keepalive", Switch::PretendKeepAlive),
    ("log-health-checks", Switch::LogHealthChecks),
    ("log-separate-errors", Switch::LogSeparateErrors),
    ("nolinger", Switch::NoLinger),
    ("persist", Switch::Persist),
    ("prefer-last-server", Switch::PreferLastServer),
    ("splice-auto", Switch::SpliceAuto),
    ("splice-request", Switch::SpliceRequest),
    ("splice-response", Switch::SpliceResponse),
    ("srvtcpka", Switch::ServerTcpKeepAlive),
    ("tcp-smart-accept", Switch::SmartAccept),
    ("tcp-smart-connect", Switch::SmartConnect),
    ("tcpka", Switch::TcpKeepAlive),
];

/// Which switches are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switches(u32);

impl Switches {
    /// Whether it is on.
    #[must_use]
    pub const fn has(self, switch: Switch) -> bool {
        self.0 & (1 << switch as u8) != 0
    }

    /// Switches it on or off.
    pub const fn set(&mut self, switch: Switch, on: bool) {
        let bit = 1 << switch as u8;
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }
}

/// When the two connections of an HTTP exchange are closed; the last such option wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CloseMode {
    /// `http-keep-alive`: both stay open.
    #[default]
    KeepAlive,
    /// `http-tunnel`: after the first exchange, bytes are passed on unread.
    Tunnel,
    /// `http-server-close`: the server's is closed after each response.
    ServerClose,
    /// `httpclose`: both are closed after each response.
    Close,
    /// `forceclose`: as `httpclose`; the name from before HAProxy 2.0.
    ForceClose,
}

/// The modes by their option's name.
pub const CLOSE_MODES: [(&str, CloseMode); 5] = [
    ("http-keep-alive", CloseMode::KeepAlive),
    ("http-tunnel", CloseMode::Tunnel),
    ("http-server-close", CloseMode::ServerClose),
    ("httpclose", CloseMode::Close),
    ("forceclose", CloseMode::ForceClose),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_independent() {
        let mut switches = Switches::default();
        for (_, switch) in SWITCHES {
            assert!(!switches.has(switch));
            switches.set(switch, true);
            assert!(switches.has(switch));
        }
        switches.set(Switch::NoLinger, false);
        assert!(!switches.has(Switch::NoLinger) && switches.has(Switch::AbortOnClose));
    }
}
