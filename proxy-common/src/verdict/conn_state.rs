//! Zeek's `conn_state` (`scripts/base/protocols/conn/main.zeek`).

use super::bytes;
use crate::flow::{EndpointState, Flow};
use crate::key::Side;

/// Zeek's one word for how a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnState {
    /// A SYN without an answer.
    S0,
    /// Established, and not closed.
    S1,
    /// Established; the originator closed, the responder did not.
    S2,
    /// Established; the responder closed, the originator did not.
    S3,
    /// Both closed by FIN.
    SF,
    /// The SYN was answered by a RST.
    Rej,
    /// The originator reset an established connection.
    Rsto,
    /// The responder did.
    Rstr,
    /// SYN, then RST, and nothing from the responder.
    Rstos0,
    /// SYN+ACK, then RST, and nothing from the originator.
    Rstrh,
    /// SYN, then FIN, and nothing from the responder.
    Sh,
    /// SYN+ACK, then FIN, and nothing from the originator.
    Shr,
    /// None of these: seen from midstream, as a rule.
    Oth,
}

impl ConnState {
    /// Zeek's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::SF => "SF",
            Self::Rej => "REJ",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::Rstos0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }

    pub(super) fn of(flow: &Flow) -> Self {
        let (orig, resp) = (flow.end(flow.orig), flow.end(flow.orig.other()));
        let silent = |state| state == EndpointState::INACTIVE || state == EndpointState::PARTIAL;
        match (orig.state, resp.state) {
            (EndpointState::SYN_SENT | EndpointState::SYN_ACK_SENT, EndpointState::RESET) => {
                Self::Rej
            }
            (EndpointState::RESET, EndpointState::RESET) if sent_nothing(flow) => Self::Rej,
            (state, EndpointState::RESET) if silent(state) => Self::Rstrh,
            (_, EndpointState::RESET) => Self::Rstr,
            (EndpointState::RESET, state) if silent(state) => {
                if is_syn_then_rst(flow) {
                    Self::Rstos0
                } else {
                    Self::Oth
                }
            }
            (EndpointState::RESET, _) => Self::Rsto,
            (EndpointState::CLOSED, EndpointState::CLOSED) => Self::SF,
            (EndpointState::CLOSED, state) if silent(state) => Self::Sh,
            (EndpointState::CLOSED, _) => Self::S2,
            (state, EndpointState::CLOSED) if silent(state) => Self::Shr,
            (_, EndpointState::CLOSED) => Self::S3,
            (EndpointState::SYN_SENT, EndpointState::INACTIVE) => Self::S0,
            (EndpointState::ESTABLISHED, EndpointState::ESTABLISHED) => Self::S1,
            _ => Self::Oth,
        }
    }
}

fn sent_nothing(flow: &Flow) -> bool {
    [Side::LOW, Side::HIGH].iter().all(|side| bytes::sent(flow, *side).unwrap_or(0) == 0)
}

/// Zeek's pattern `^?S[^HAFGIQ]*R`: between its SYN and its RST the originator was still.
fn is_syn_then_rst(flow: &Flow) -> bool {
    let mut letters = flow.history.iter().take(usize::from(flow.history_len)).peekable();
    letters.next_if_eq(&&b'^');
    letters.next() == Some(&b'S')
        && letters.find(|letter| b"HAFGIQR".contains(letter)) == Some(&b'R')
}
