//! What clients ask for.

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// 1 KiB on connections that both sides keep.
    KeepAlive,
    /// 1 KiB; a connection to the server for each, the client's is kept.
    ServerClose,
    /// 1 KiB; a connection on both sides for each.
    PerRequest,
    /// 64 KiB on connections that both sides keep.
    Medium,
    /// 1 MiB on connections that both sides keep.
    Large,
}

impl Shape {
    pub(crate) const ALL: [Self; 5] =
        [Self::KeepAlive, Self::ServerClose, Self::PerRequest, Self::Medium, Self::Large];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "1 KiB, keep-alive",
            Self::ServerClose => "1 KiB, server-close",
            Self::PerRequest => "1 KiB, a connection a request",
            Self::Medium => "64 KiB, keep-alive",
            Self::Large => "1 MiB, keep-alive",
        }
    }

    /// The body's length in bytes; also the file's name at the server.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::KeepAlive | Self::ServerClose | Self::PerRequest => 1024,
            Self::Medium => 64 * 1024,
            Self::Large => 1024 * 1024,
        }
    }

    /// Whether the connection to the server is closed after each response.
    pub(crate) fn server_closes(self) -> bool {
        matches!(self, Self::ServerClose | Self::PerRequest)
    }

    /// Whether the client asks for its connection to be closed.
    pub(crate) fn client_closes(self) -> bool {
        self == Self::PerRequest
    }
}
