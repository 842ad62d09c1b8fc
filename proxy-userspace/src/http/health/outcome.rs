//! What a check found, in HAProxy's words.

/// What a check found; HAProxy's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `UNK`: not yet checked.
    Unknown,
    /// `HANA`: requests have failed (`observe`).
    Analysis,
    /// `SOCKERR`: the check could not be made.
    SocketError,
    /// `L4OK`.
    L4Ok,
    /// `L4TOUT`.
    L4Timeout,
    /// `L4CON`.
    L4Connection,
    /// `L7OK`.
    L7Ok,
    /// `L7OKC`: a 404 with `disable-on-404`.
    L7OkConditional,
    /// `L7TOUT`.
    L7Timeout,
    /// `L7RSP`.
    L7Response,
    /// `L7STS`.
    L7Status,
}

impl Status {
    /// Whether the server passed.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::L4Ok | Self::L7Ok | Self::L7OkConditional)
    }

    /// Whether there is a code to tell: of the answer, or 0 after a `tcp-check`.
    #[must_use]
    pub const fn has_code(self) -> bool {
        matches!(self, Self::L7Ok | Self::L7OkConditional | Self::L7Status)
    }

    /// As in the statistics' column `check_status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNK",
            Self::Analysis => "HANA",
            Self::SocketError => "SOCKERR",
            Self::L4Ok => "L4OK",
            Self::L4Timeout => "L4TOUT",
            Self::L4Connection => "L4CON",
            Self::L7Ok => "L7OK",
            Self::L7OkConditional => "L7OKC",
            Self::L7Timeout => "L7TOUT",
            Self::L7Response => "L7RSP",
            Self::L7Status => "L7STS",
        }
    }

    /// As in logs.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Analysis => "Health analyze",
            Self::SocketError => "Socket error",
            Self::L4Ok => "Layer4 check passed",
            Self::L4Timeout => "Layer4 timeout",
            Self::L4Connection => "Layer4 connection problem",
            Self::L7Ok => "Layer7 check passed",
            Self::L7OkConditional => "Layer7 check conditionally passed",
            Self::L7Timeout => "Layer7 timeout",
            Self::L7Response => "Layer7 invalid response",
            Self::L7Status => "Layer7 wrong status",
        }
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it found.
    pub status: Status,
    /// The answer's status code; 0 without one.
    pub code: u16,
    /// What else is to say.
    pub info: String,
}

impl Outcome {
    pub(super) fn new(status: Status, info: impl Into<String>) -> Self {
        Self { status, code: 0, info: info.into() }
    }
}
