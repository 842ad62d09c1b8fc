//! The things that can be found of a backend: their words, their weight, and their rules.

use crate::report::story::counted;
use proxy_common::verdict::Role;

/// A thing that can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The client closed, and the server did not answer for long.
    ServerStaysHalfClosed,
    /// The server closed, and the client did not answer for long.
    ClientStaysHalfClosed,
    /// A RST of this end threw away data that it had sent itself.
    ResetLosesOwn(Role),
    /// A RST of this end threw away data that the other had sent.
    ResetLosesPeers(Role),
    /// This end closed before the response was complete.
    CutsResponse(Role),
    /// The server had said that it closes, and did not.
    IgnoresConnectionClose,
    /// The client closes a connection that is open with RST.
    ActiveReset,
    /// The client answers the server's FIN with RST.
    PassiveReset,
    /// RST from an end that closes with FIN as a rule.
    UnusualReset,
    /// Both ends close at once.
    Race,
    /// The server refuses connections.
    Refused,
    /// This end leaves the other's SYN, or SYN+ACK, unanswered.
    Unanswered(Role),
    /// This end does not acknowledge the other's FIN.
    Unheard(Role),
    /// The client's host answers the SYN+ACK with RST.
    Unasked,
    /// The server closes a connection that is open with RST.
    ServerReset,
    /// Both ends are one.
    WithItself,
    /// The client closes first and keeps TIME_WAIT.
    TimeWaitAtClient,
    /// The server does.
    TimeWaitAtServer,
    /// Both close at once and keep it.
    TimeWaitAtBoth,
    /// Only what one end sent was captured.
    OneDirection,
    /// Nothing of all that.
    Nothing,
}

impl Topic {
    /// The order in which they are told: losses, then what stays open, then manners.
    pub(super) const fn gravity(self) -> u8 {
        match self {
            Self::ResetLosesOwn(_) | Self::ResetLosesPeers(_) | Self::CutsResponse(_) => 0,
            Self::ServerStaysHalfClosed | Self::ClientStaysHalfClosed => 1,
            Self::IgnoresConnectionClose
            | Self::Refused
            | Self::WithItself
            | Self::Unanswered(_)
            | Self::Unheard(_)
            | Self::Unasked => 2,
            Self::UnusualReset => 3,
            Self::PassiveReset | Self::ActiveReset | Self::ServerReset => 4,
            Self::Race => 5,
            Self::TimeWaitAtClient | Self::TimeWaitAtServer | Self::TimeWaitAtBoth => 6,
            Self::OneDirection => 7,
            Self::Nothing => 8,
        }
    }

    /// Whether `count` of `all` connections are worth a line.
    pub(super) const fn is_worth_saying(self, count: u64, all: u64) -> bool {
        match self {
            // One connection that closes well is no news.
            Self::TimeWaitAtClient | Self::TimeWaitAtServer | Self::TimeWaitAtBoth => {
                all > 1 && count * 10 >= all
            }
            _ => count > 0,
        }
    }

    /// The sentence, but for how often and where. `span` tells how long, `bytes` how much.
    pub(super) fn words(self, span: &str, bytes: u64) -> String {
        let who = |role: Role| match role {
            Role::Orig => "the client",
            Role::Resp => "the server",
        };
        match self {
            Self::ServerStaysHalfClosed => {
                format!(
                    "the server leaves connections half closed for {span} after the client's FIN"
                )
            }
            Self::ClientStaysHalfClosed => {
                format!(
                    "the client leaves connections half closed for {span} after the server's FIN"
                )
            }
            Self::ResetLosesOwn(role) => format!(
                "{} resets although {} that it sent {} not acknowledged",
                who(role),
                counted(bytes, "byte"),
                if bytes == 1 { "is" } else { "are" }
            ),
            Self::ResetLosesPeers(role) => format!(
                "{} resets and throws away {} that {} sent",
                who(role),
                counted(bytes, "byte"),
                who(role.other())
            ),
            Self::CutsResponse(role) => format!(
                "{} closes before the response is complete: {} of what Content-Length tells {} not \
                 sent",
                who(role),
                counted(bytes, "byte"),
                if bytes == 1 { "was" } else { "were" }
            ),
            Self::IgnoresConnectionClose => format!(
                "the server ignores Connection: close: its response is complete, and it leaves the \
                 connection open for {span}"
            ),
            Self::ActiveReset => {
                "the client closes open connections with RST (an active close without TIME_WAIT)"
                    .into()
            }
            Self::PassiveReset => {
                "the client answers the server's FIN with RST, as HAProxy 1.4 does".into()
            }
            Self::UnusualReset => "RST where FIN is usual".into(),
            Self::Race => "a race with the server's FIN".into(),
            Self::Refused => "the server refuses connections".into(),
            Self::Unanswered(Role::Resp) => {
                format!("nobody answers: SYNs have waited for {span}")
            }
            Self::Unanswered(Role::Orig) => {
                "the client does not complete the handshake: the server repeats its SYN+ACK".into()
            }
            Self::Unheard(role) => format!(
                "{} does not acknowledge the FIN, which is repeated: it is gone, or out of reach",
                who(role)
            ),
            Self::Unasked => "the client's host answers the SYN+ACK with RST, as where ports are \
                 scanned, or the client's address is forged"
                .into(),
            Self::ServerReset => {
                "the server closes open connections with RST, as a close before all data is read \
                 does, and SO_LINGER"
                    .into()
            }
            Self::WithItself => {
                "a socket is connected to itself: the port that it asked for was given to \
                 it as its own; keep that port out of net.ipv4.ip_local_port_range"
                    .into()
            }
            Self::TimeWaitAtClient => {
                "the client closes first, with FIN: TIME_WAIT stays with the client".into()
            }
            Self::TimeWaitAtServer => {
                "the server closes first, with FIN: TIME_WAIT stays with the server".into()
            }
            Self::TimeWaitAtBoth => {
                "both close with FIN before they have the other's: TIME_WAIT stays with both".into()
            }
            Self::OneDirection => "only one direction was captured".into(),
            Self::Nothing => "nothing stands out".into(),
        }
    }

    /// The words of a policy for this backend that would change it.
    pub(super) const fn rule(self) -> Option<&'static str> {
        Some(match self {
            Self::ServerStaysHalfClosed => "half-close 5s",
            Self::ClientStaysHalfClosed => "close-wait 5s",
            Self::ActiveReset => "abort fin",
            Self::PassiveReset => "passive fin",
            Self::IgnoresConnectionClose => "active rst",
            Self::TimeWaitAtClient => "active rst",
            Self::TimeWaitAtServer => "passive rst",
            _ => return None,
        })
    }
}
