//! Why a message is refused: one name for each rule of RFC 9112 and RFC 9110 that it breaks.

/// A rule that a message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// RFC 9112, 3: not `method SP target SP HTTP/1.x`.
    #[error("malformed start line (RFC 9112, 3 and 4)")]
    StartLine,
    /// RFC 9112, 2.3.
    #[error("not HTTP/1.0 or HTTP/1.1 (RFC 9112, 2.3)")]
    Version,
    /// RFC 9112, 3.2: a target that the method cannot have, or a byte that no target has.
    #[error("malformed request target (RFC 9112, 3.2)")]
    Target,
    /// RFC 9112, 2.2: LF without CR, CR without LF.
    #[error("bare CR or LF (RFC 9112, 2.2)")]
    LineEnd,
    /// RFC 9112, 5: a field's name is no token, is followed by space, is folded or missing.
    #[error("malformed field name, space before the colon, or folded line (RFC 9112, 5)")]
    FieldName,
    /// RFC 9110, 5.5: NUL and other controls in a field's value.
    #[error("malformed field value (RFC 9110, 5.5)")]
    FieldValue,
    /// More fields than the limit.
    #[error("too many fields")]
    FieldCount,
    /// The head is longer than the limit.
    #[error("head too long")]
    HeadLength,
    /// RFC 9112, 3.2: HTTP/1.1 asks for exactly one.
    #[error("no Host in an HTTP/1.1 request (RFC 9112, 3.2)")]
    HostMissing,
    /// RFC 9112, 3.2.
    #[error("several Hosts (RFC 9112, 3.2)")]
    HostSeveral,
    /// RFC 9110, 7.2: not `uri-host [":" port]`.
    #[error("malformed Host (RFC 9110, 7.2)")]
    Host,
    /// RFC 9112, 3.2.2: the target names another authority than Host.
    #[error("Host differs from the target's authority (RFC 9112, 3.2.2)")]
    HostDiffers,
    /// RFC 9110, 8.6: not a number, or too large a one.
    #[error("malformed Content-Length (RFC 9110, 8.6)")]
    ContentLength,
    /// RFC 9110, 9.3: HTTP/1.0 does not say that these may have one, and old servers look for none:
    /// to them the payload is the next request.
    #[error("payload of an HTTP/1.0 GET, HEAD or DELETE (RFC 9110, 9.3)")]
    Payload,
    /// RFC 9112, 6.3: several.
    #[error("several Content-Lengths (RFC 9112, 6.3)")]
    ContentLengthSeveral,
    /// RFC 9112, 6.3: Transfer-Encoding and Content-Length.
    #[error("both Transfer-Encoding and Content-Length (RFC 9112, 6.3)")]
    BothLengths,
    /// RFC 9112, 6.1: HTTP/1.0 has none.
    #[error("Transfer-Encoding in an HTTP/1.0 message (RFC 9112, 6.1)")]
    TransferEncodingVersion,
    /// RFC 9112, 6.3: chunked is not the last coding, is there twice, or the list is malformed.
    #[error("chunked is not the last transfer coding, once (RFC 9112, 6.3)")]
    TransferEncoding,
    /// RFC 9112, 6.1: a coding the proxy does not know.
    #[error("unknown transfer coding (RFC 9112, 6.1)")]
    TransferCoding,
    /// RFC 9110, 7.6.1: Connection names a field that is no hop's own.
    #[error("Connection names a field of framing or routing (RFC 9110, 7.6.1)")]
    Nominated,
    /// RFC 9110, 7.8: malformed protocol names.
    #[error("malformed Upgrade (RFC 9110, 7.8)")]
    Upgrade,
    /// RFC 9112, 7.1: chunk size.
    #[error("malformed chunk size (RFC 9112, 7.1)")]
    ChunkSize,
    /// RFC 9112, 7.1.1: chunk extension, or a very long one.
    #[error("malformed chunk extension (RFC 9112, 7.1.1)")]
    ChunkExtension,
    /// RFC 9112, 7.1: no CRLF after a chunk's data.
    #[error("chunk data not followed by CRLF (RFC 9112, 7.1)")]
    ChunkEnd,
    /// RFC 9112, 7.1.2 and RFC 9110, 6.5: a malformed trailer, or a field that may be none.
    #[error("malformed or forbidden trailer field (RFC 9112, 7.1.2; RFC 9110, 6.5.1)")]
    Trailer,
    /// RFC 9110, 15: not three digits from 100 on.
    #[error("malformed status (RFC 9112, 4)")]
    Status,
    /// RFC 9112, 9.2: bytes from the server that no request asked for.
    #[error("response without a request (RFC 9112, 9.2)")]
    Unasked,
    /// RFC 9110, 15.2.2: the server switches protocols unasked, or to another one.
    #[error("protocol switched without being asked (RFC 9110, 15.2.2)")]
    Switched,
}

impl Refusal {
    /// The status that a client gets for such a request.
    pub fn status(self) -> u16 {
        match self {
            Self::Payload => 413,
            Self::TransferCoding => 501,
            _ => 400,
        }
    }
}
