//! The variables of log formats: their names and what they stand for.

macro_rules! variables {
    ($($name:literal $variant:ident $doc:literal),* $(,)?) => {
        /// A variable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Variable { $(#[doc = $doc] $variant),* }
        /// By name.
        pub const VARIABLES: &[(&str, Variable)] = &[$(($name, Variable::$variant)),*];
    };
}

variables! {
    "B" BytesOut "bytes to the client",
    "CC" RequestCookie "captured request cookie",
    "CS" ResponseCookie "captured response cookie",
    "H" Host "this host's name",
    "HM" Method "method",
    "HP" Path "path",
    "HPO" PathOnly "path without host",
    "HQ" Query "query with its question mark",
    "HU" Uri "target",
    "HV" Version "HTTP version",
    "ID" UniqueId "unique id",
    "ST" Status "status",
    "T" GmtTime "time of accept in GMT",
    "Ta" ActiveTime "from the request's first byte to the end",
    "Tc" ConnectTime "connecting",
    "Td" DataTime "transferring data",
    "Th" HandshakeTime "handshakes: that a proxy says whose connection it passes on",
    "Ti" IdleTime "idle before the request",
    "Tl" LocalTime "time of accept",
    "Tq" RequestTimeWithIdle "Th + Ti + TR",
    "TR" RequestTime "receiving the request",
    "Tr" ResponseTime "waiting for the response",
    "Ts" Seconds "time of accept, in seconds",
    "Tt" TotalTime "from accept to the end",
    "Tu" UserTime "from the request to the end, idle not counted",
    "Tw" QueueTime "in queues",
    "U" BytesIn "bytes from the client",
    "ac" ProcessConnections "connections of the process",
    "b" Backend "backend",
    "bc" BackendConnections "sessions of the backend",
    "bi" BackendSourceIp "address that the server was connected from",
    "bp" BackendSourcePort "its port",
    "bq" BackendQueue "place in the backend's queue",
    "ci" ClientIp "client's address",
    "cp" ClientPort "client's port",
    "f" Frontend "frontend",
    "fc" FrontendConnections "connections of the frontend",
    "fi" FrontendIp "address that the client connected to",
    "fp" FrontendPort "its port",
    "ft" FrontendTransport "frontend, with ~ for TLS",
    "hr" RequestHeaders "captured request headers",
    "hrl" RequestHeadersClf "captured request headers",
    "hs" ResponseHeaders "captured response headers",
    "hsl" ResponseHeadersClf "captured response headers",
    "lc" LogCounter "lines that its frontend has logged",
    "mode" ModeName "TCP or HTTP",
    "ms" Milliseconds "milliseconds of the time of accept",
    "o" SetFlags "nothing: its flags hold from here on",
    "pid" Pid "this process",
    "r" Request "request line",
    "rc" Retries "retries",
    "rt" RequestCounter "requests so far",
    "s" Server "server",
    "sc" ServerConnections "sessions of the server",
    "si" ServerIp "server's address",
    "sp" ServerPort "server's port",
    "sq" ServerQueue "place in the server's queue",
    "sslc" TlsCiphers "TLS ciphers: no connection has TLS here",
    "sslv" TlsVersion "TLS version",
    "t" Date "time of accept with milliseconds",
    "tr" RequestDate "time of the request with milliseconds",
    "trg" RequestDateGmt "time of the request in GMT",
    "trl" RequestDateLocal "time of the request",
    "ts" Termination "how it ended, two characters",
    "tsc" TerminationCookies "how it ended, four characters",
}

impl Variable {
    /// Whether it says something of a request or a response, as HAProxy has it.
    pub(super) fn needs_http(self) -> bool {
        matches!(
            self,
            Self::RequestCookie
                | Self::ResponseCookie
                | Self::Method
                | Self::Path
                | Self::PathOnly
                | Self::Query
                | Self::Uri
                | Self::Version
                | Self::ActiveTime
                | Self::IdleTime
                | Self::RequestTimeWithIdle
                | Self::RequestTime
                | Self::ResponseTime
                | Self::Request
                | Self::RequestDate
                | Self::RequestDateGmt
                | Self::RequestDateLocal
        )
    }
}
