//! What may meet at a close, one case each: the rule, what both applications do, and what must
//! leave in the place of ours' FIN.

mod plays;

use crate::stage::{Stage, Story};
use crate::support::reading::Sign;
use crate::support::servers::Ended;

/// One case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The rule for the peer; empty where the case sets it by itself.
    pub(crate) rule: &'static str,
    pub(crate) play: fn(&Stage<'_>) -> Story,
    /// Ours' FINs and RSTs on the wire, in order.
    pub(crate) leaves: &'static [Sign],
    /// What the peer's application sees.
    pub(crate) ended: Ended,
    /// What the rule counts, for each connection.
    pub(crate) counts: &'static [(&'static str, u64)],
    /// Whether bytes that ours wrote may be lost.
    pub(crate) may_lose: bool,
    /// Whether the RST follows the last acknowledgment at once, no timer of TCP's between them.
    pub(crate) at_once: bool,
}

const RESET: &[Sign] = &[Sign::RstAck];
const FINISH: &[Sign] = &[Sign::Fin];
const BOTH: &[Sign] = &[Sign::Fin, Sign::RstAck];
const AT_ONCE: &[(&str, u64)] =
    &[("matched", 1), ("fin to rst", 1), ("stripped", 0), ("waited", 0), ("failed", 0)];
const STRIPPED: &[(&str, u64)] =
    &[("matched", 1), ("fin to rst", 1), ("stripped", 1), ("failed", 0)];
const CHANGED: &[(&str, u64)] = &[("matched", 1), ("fin to rst", 1), ("failed", 0)];
const NO_ABORT: &[(&str, u64)] =
    &[("matched", 1), ("fin to rst", 1), ("rst to fin", 0), ("refused", 0), ("failed", 0)];
const KEPT: &[(&str, u64)] = &[("matched", 1), ("fin to rst", 0), ("failed", 0)];
const HALF: &[(&str, u64)] = &[("matched", 1), ("fin to rst", 0), ("refused (half close)", 1)];

impl Case {
    const fn resets(
        name: &'static str,
        rule: &'static str,
        play: fn(&Stage<'_>) -> Story,
        counts: &'static [(&'static str, u64)],
    ) -> Self {
        let (leaves, ended) = (RESET, Ended::Reset);
        Self { name, rule, play, leaves, ended, counts, may_lose: false, at_once: false }
    }

    const fn finishes(
        name: &'static str,
        rule: &'static str,
        play: fn(&Stage<'_>) -> Story,
        counts: &'static [(&'static str, u64)],
    ) -> Self {
        let (leaves, ended) = (FINISH, Ended::Eof);
        Self { name, rule, play, leaves, ended, counts, may_lose: false, at_once: false }
    }

    const fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }
}

pub(crate) const CASES: &[Case] = &[
    Case::resets("bare FIN, all acknowledged", "active rst", plays::acknowledged, AT_ONCE),
    Case::resets("unacknowledged data at the FIN", "active rst", plays::unacknowledged, CHANGED)
        .at_once(),
    Case::resets("FIN in the last data's segment", "active rst", plays::with_data, STRIPPED)
        .at_once(),
    Case::resets("that segment lost", "active rst", plays::with_lost_data, STRIPPED),
    Case::resets("data before it lost", "active rst", plays::behind_lost_data, STRIPPED),
    Case::resets("its acknowledgment lost", "active rst", plays::with_lost_ack, STRIPPED).at_once(),
    Case::resets(
        "peer's FIN in that acknowledgment",
        "active rst",
        plays::answered_by_fin,
        STRIPPED,
    )
    .at_once(),
    Case::resets("1 MiB, closed at once", "active rst", plays::large, CHANGED).at_once(),
    Case::resets("zero window", "active rst", plays::zero_window, STRIPPED).at_once(),
    Case { leaves: BOTH, ..Case::resets("retransmitted FIN", "", plays::retransmitted, CHANGED) },
    Case::finishes("shutdown(SHUT_WR)", "active rst", plays::half_close, HALF),
    Case::resets("shutdown(SHUT_WR), any-fin", "active rst any-fin", plays::any_fin, CHANGED),
    Case {
        leaves: BOTH,
        counts: &[("matched", 1), ("fin to rst", 1), ("refused (half close)", 1)],
        ..Case::resets(
            "half-close, then close",
            "active rst",
            plays::half_close_then_close,
            CHANGED,
        )
    },
    Case::resets("both FINs cross", "active rst", plays::crossing, CHANGED),
    Case::resets("CLOSING with data unacknowledged", "active rst", plays::closing, CHANGED),
    Case::resets("LAST_ACK", "passive rst", plays::last_ack, AT_ONCE),
    Case::resets(
        "LAST_ACK with data unacknowledged",
        "passive rst",
        plays::last_ack_unacked,
        CHANGED,
    )
    .at_once(),
    Case::resets(
        "LAST_ACK with the FIN in data",
        "passive rst",
        plays::last_ack_with_data,
        STRIPPED,
    )
    .at_once(),
    Case::resets(
        "peer half-closed before, SHUT_WR",
        "passive rst",
        plays::last_ack_shutdown,
        AT_ONCE,
    ),
    Case::finishes("active close, rule for passive", "passive rst", plays::active, KEPT),
    Case::finishes("passive close, rule for active", "active rst", plays::passive, KEPT),
    Case::finishes("passive fin", "passive fin", plays::passive, KEPT),
    Case::resets("unread data: the kernel's own RST", "active rst", plays::unread, KEPT),
    Case::resets("port reuse", "active rst", plays::port_reuse, AT_ONCE),
    Case::resets("SACK in the FIN", "active rst", plays::sack, CHANGED),
    Case {
        may_lose: true,
        leaves: &[Sign::RstAck, Sign::Rst],
        ..Case::resets("force", "active rst force", plays::forced, AT_ONCE)
    },
    Case {
        counts: &[("matched", 1), ("fin to rst", 0), ("dry run", 1)],
        ..Case::finishes("dry run", "active rst dry-run", plays::active, KEPT)
    },
    // A RST that a rule made is no abort, though the same rule is for these too.
    Case::resets("rule for aborts too", "active rst abort fin", plays::acknowledged, NO_ABORT),
    Case::resets("ours accepts", "active rst", plays::accepting, AT_ONCE),
    Case::resets("nothing was ever said", "active rst", plays::silent, AT_ONCE),
];
