//! The same close in others' words: one table, read off a [`Close`].
//!
//! None of these lists keeps the order of events, so none is as exact as the close itself; they
//! are for whoever already counts in them.

use super::{Close, ConnState, Role, Signal};

/// Bits of tshark's `tcp.completeness` (Wireshark's `packet-tcp.c`).
pub mod completeness {
    /// A SYN without ACK.
    pub const SYN: u8 = 1;
    /// A SYN+ACK.
    pub const SYN_ACK: u8 = 2;
    /// An acknowledgment without SYN.
    pub const ACK: u8 = 4;
    /// Data.
    pub const DATA: u8 = 8;
    /// A FIN.
    pub const FIN: u8 = 16;
    /// A RST.
    pub const RST: u8 = 32;
}

/// tshark's `tcp.completeness`.
///
/// As there, a first segment that is no SYN counts for nothing.
#[must_use]
pub fn tshark_completeness(close: &Close) -> u8 {
    let history = close.history.as_str().trim_start_matches('^');
    let told = history.get(usize::from(close.is_midstream())..).unwrap_or_default();
    let has = |letters: &str| told.contains(|letter| letters.contains(letter));
    let bit = |is: bool, bit: u8| if is { bit } else { 0 };
    // Data in a SYN or a FIN has no letter.
    let with_data = |end: &super::EndReport| end.bytes.is_some_and(|bytes| bytes != 0);
    let data =
        has("Dd") || (!close.is_midstream() && (with_data(&close.orig) || with_data(&close.resp)));
    bit(has("Ss"), completeness::SYN)
        | bit(has("Hh"), completeness::SYN_ACK)
        | bit(has("Aa"), completeness::ACK)
        | bit(data, completeness::DATA)
        | bit(has("Ff"), completeness::FIN)
        | bit(has("Rr"), completeness::RST)
}

/// IPFIX's `flowEndReason` (information element 136, RFC 5102, 5.11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowEndReason {
    /// Nothing came for too long.
    IdleTimeout = 1,
    /// The end of the flow was detected: FIN or RST.
    EndOfFlow = 3,
    /// The observer stopped.
    ForcedEnd = 4,
    /// It was removed to make room.
    LackOfResources = 5,
}

impl FlowEndReason {
    /// Why the observation of the connection ended.
    #[must_use]
    pub const fn of(close: &Close) -> Self {
        if close.is_evicted() {
            Self::LackOfResources
        } else if close.is_over() {
            Self::EndOfFlow
        } else if close.is_expired() {
            Self::IdleTimeout
        } else {
            Self::ForcedEnd
        }
    }

    /// The registered number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The registry's words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle timeout",
            Self::EndOfFlow => "end of Flow detected",
            Self::ForcedEnd => "forced end",
            Self::LackOfResources => "lack of resources",
        }
    }
}

/// The two characters of HAProxy's termination state that a connection's packets can tell.
///
/// HAProxy's own word is about a session, and it knows what the application wanted: a RST after
/// a complete answer is `--` to it. This one is about a single connection, taken as a session
/// whose client is the originator: the first character says who ended it early (`C` client, `S`
/// server; `c` and `s` where one was waited for in vain), the second when (`C` before it was
/// established, `D` during data, `L` when the other side had already said its last).
#[must_use]
pub fn haproxy_termination(close: &Close) -> &'static str {
    let Some(first) = close.first_closer else { return "--" };
    let established = !matches!(
        close.conn_state,
        ConnState::S0 | ConnState::Rej | ConnState::Rstos0 | ConnState::Rstrh | ConnState::Sh
    );
    match (close.first_signal, close.answer) {
        (Some(Signal::Fin), Some(Signal::Rst | Signal::RstAck)) => match first {
            Role::Orig => "SL",
            Role::Resp => "CL",
        },
        (Some(Signal::Rst | Signal::RstAck), _) => match (first, established) {
            (Role::Orig, true) => "CD",
            (Role::Orig, false) => "CC",
            (Role::Resp, true) => "SD",
            (Role::Resp, false) => "SC",
        },
        // Whose timer gave up is not who kept silent.
        (Some(Signal::Timeout), _) => match (first, established) {
            (Role::Orig, true) => "sD",
            (Role::Orig, false) => "sC",
            (Role::Resp, true) => "cD",
            (Role::Resp, false) => "cC",
        },
        _ => "--",
    }
}

/// DeepFlow's `close_type` of `l4_flow_log`, as far as it can be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DeepFlowCloseType {
    /// Seen from midstream, or nothing that the list has a word for.
    Unknown = 0,
    /// Both ended with FIN.
    Normal = 1,
    /// The server reset an established connection.
    TransferServerRst = 2,
    /// Nothing came for too long.
    TransferTimeout = 3,
    /// Reported before its end.
    ForceReport = 5,
    /// The client's SYN went unanswered.
    ClientSynRepeat = 7,
    /// The server did not answer the client's FIN.
    ServerHalfClose = 8,
    /// The client reset an established connection.
    TransferClientRst = 9,
    /// The server's SYN+ACK went unanswered.
    ServerSynRepeat = 10,
    /// The client did not answer the server's FIN.
    ClientHalfClose = 11,
    /// The server refused the SYN.
    ServerDirectRst = 15,
    /// The client reset a connection that it had not established.
    ClientOtherRst = 18,
    /// The client answered the server's FIN with a RST.
    NormalClientRst = 20,
}

impl DeepFlowCloseType {
    /// The close in DeepFlow's words.
    #[must_use]
    pub fn of(close: &Close) -> Self {
        let server_finished_first =
            close.first_closer == Some(Role::Resp) && close.first_signal == Some(Signal::Fin);
        match close.conn_state {
            ConnState::SF => Self::Normal,
            ConnState::Rej => Self::ServerDirectRst,
            ConnState::Rsto if server_finished_first => Self::NormalClientRst,
            ConnState::Rsto => Self::TransferClientRst,
            ConnState::Rstr => Self::TransferServerRst,
            ConnState::Rstos0 => Self::ClientOtherRst,
            ConnState::S2 => Self::ServerHalfClose,
            ConnState::S3 => Self::ClientHalfClose,
            ConnState::S0 => Self::ClientSynRepeat,
            ConnState::S1 if close.is_expired() || close.first_signal.is_some() => {
                Self::TransferTimeout
            }
            ConnState::S1 => Self::ForceReport,
            ConnState::Oth if close.history.as_str().starts_with(['H', 'h']) => {
                Self::ServerSynRepeat
            }
            ConnState::Rstrh | ConnState::Sh | ConnState::Shr | ConnState::Oth => Self::Unknown,
        }
    }

    /// DeepFlow's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// DeepFlow's display name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Normal => "Normal",
            Self::TransferServerRst => "Transfer - Server RST",
            Self::TransferTimeout => "Transfer - Timeout",
            Self::ForceReport => "Force Report",
            Self::ClientSynRepeat => "Est. - Client SYN Repeat",
            Self::ServerHalfClose => "Close - Server Half Close",
            Self::TransferClientRst => "Transfer - Client RST",
            Self::ServerSynRepeat => "Est. - Server SYN Repeat",
            Self::ClientHalfClose => "Close - Client Half Close",
            Self::ServerDirectRst => "Est. - Server Direct RST",
            Self::ClientOtherRst => "Est. - Client Other RST",
            Self::NormalClientRst => "Normal - Client RST",
        }
    }
}
