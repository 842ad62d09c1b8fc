//! Where a message's body ends: RFC 9112, 6.3.

use super::refusal::Refusal;

/// Whether a field says where a body ends.
pub(crate) fn frames(name: &str) -> bool {
    match name.len() {
        14 => name.eq_ignore_ascii_case("content-length"),
        17 => name.eq_ignore_ascii_case("transfer-encoding"),
        _ => false,
    }
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Until the connection closes; responses only.
    Close,
}

impl Framing {
    /// Whether nothing follows the head.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// What a head says of its body's length, collected field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    content_length: Option<u64>,
    coded: bool,
    chunked: bool,
    unknown_coding: bool,
}

impl Lengths {
    /// A Content-Length field. One alone is allowed, with one number: recipients differ on what
    /// a list means, even one of equal numbers.
    pub fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.content_length.is_some() || value.contains(&b',') {
            return Err(Refusal::ContentLengthSeveral);
        }
        self.content_length = Some(decimal(value).ok_or(Refusal::ContentLength)?);
        Ok(())
    }

    /// A Transfer-Encoding field; several are one list.
    pub fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.coded = true;
        for coding in value.split(|&b| b == b',') {
            let coding = coding.trim_ascii();
            if coding.is_empty() || self.chunked {
                return Err(Refusal::TransferEncoding);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked = true;
            } else if coding.eq_ignore_ascii_case(b"identity") || !codes(coding) {
                return Err(Refusal::TransferEncoding);
            } else {
                self.unknown_coding = true;
            }
        }
        Ok(())
    }

    /// The framing that Transfer-Encoding or Content-Length give; none if neither is there.
    fn given(self, minor: u8) -> Result<Option<Framing>, Refusal> {
        if !self.coded {
            return Ok(self.content_length.map(Framing::Length));
        }
        if minor == 0 {
            return Err(Refusal::TransferEncodingVersion);
        }
        if self.content_length.is_some() {
            return Err(Refusal::BothLengths);
        }
        if !self.chunked {
            return Err(Refusal::TransferEncoding);
        }
        if self.unknown_coding {
            return Err(Refusal::TransferCoding);
        }
        Ok(Some(Framing::Chunked))
    }

    /// A request's framing.
    pub fn request(self, minor: u8) -> Result<Framing, Refusal> {
        Ok(self.given(minor)?.unwrap_or(Framing::None))
    }

    /// A response's framing, by its status and the request's method.
    pub fn response(self, minor: u8, status: u16, method: Asked) -> Result<Framing, Refusal> {
        // A contradiction is refused even where the status says that there is no body.
        let given = self.given(minor)?;
        let empty = status < 200 || matches!(status, 204 | 304) || method == Asked::Head;
        if empty || (method == Asked::Connect && status < 300) {
            return Ok(Framing::None);
        }
        Ok(given.unwrap_or(Framing::Close))
    }

    /// The Content-Length, whatever it means.
    pub fn declared(self) -> Option<u64> {
        self.content_length
    }

    /// Whether there is a Transfer-Encoding.
    pub fn is_coded(self) -> bool {
        self.coded
    }
}

/// What of the request's method matters for the response's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// HEAD: no body ever.
    Head,
    /// CONNECT: a tunnel after 2xx.
    Connect,
    /// The others.
    Other,
}

impl Asked {
    /// Of a method.
    pub fn of(method: &str) -> Self {
        match method {
            "HEAD" => Self::Head,
            "CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// `1*DIGIT` below 2^63.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = value
        .iter()
        .try_fold(0_u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    (number <= i64::MAX.unsigned_abs()).then_some(number)
}

/// Whether it could be a transfer coding: a token, with parameters perhaps.
fn codes(coding: &[u8]) -> bool {
    let name = coding.split(|&b| b == b';').next().unwrap_or(b"").trim_ascii();
    !name.is_empty() && name.iter().all(|&b| is_token(b))
}

/// `tchar` of RFC 9110, 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(fields: &[(&str, &str)]) -> Result<Lengths, Refusal> {
        let mut lengths = Lengths::default();
        for (name, value) in fields {
            match *name {
                "cl" => lengths.content_length(value.as_bytes())?,
                _ => lengths.transfer_encoding(value.as_bytes())?,
            }
        }
        Ok(lengths)
    }

    #[test]
    fn requests_without_a_length_have_no_body() {
        assert_eq!(Lengths::default().request(1), Ok(Framing::None));
        assert_eq!(lengths(&[("cl", "7")]).and_then(|l| l.request(0)), Ok(Framing::Length(7)));
        let chunked = lengths(&[("te", "Chunked")]).and_then(|l| l.request(1));
        assert_eq!(chunked, Ok(Framing::Chunked));
    }

    #[test]
    fn responses_without_a_length_last_until_close() {
        let none = Lengths::default();
        assert_eq!(none.response(1, 200, Asked::Other), Ok(Framing::Close));
        assert_eq!(none.response(1, 304, Asked::Other), Ok(Framing::None));
        assert_eq!(none.response(1, 200, Asked::Head), Ok(Framing::None));
        assert_eq!(none.response(1, 200, Asked::Connect), Ok(Framing::None));
        assert_eq!(none.response(1, 404, Asked::Connect), Ok(Framing::Close));
    }

    #[test]
    fn ambiguous_lengths_are_refused() {
        let cases: &[(&[(&str, &str)], Refusal)] = &[
            (&[("cl", "5"), ("cl", "5")], Refusal::ContentLengthSeveral),
            (&[("cl", "5, 5")], Refusal::ContentLengthSeveral),
            (&[("cl", "+5")], Refusal::ContentLength),
            (&[("cl", "-0")], Refusal::ContentLength),
            (&[("cl", "")], Refusal::ContentLength),
            (&[("cl", "0x5")], Refusal::ContentLength),
            (&[("cl", "5 5")], Refusal::ContentLength),
            (&[("cl", "9223372036854775808")], Refusal::ContentLength),
            (&[("cl", "99999999999999999999")], Refusal::ContentLength),
            (&[("te", "chunked"), ("cl", "5")], Refusal::BothLengths),
            (&[("te", "chunked, chunked")], Refusal::TransferEncoding),
            (&[("te", "chunked"), ("te", "chunked")], Refusal::TransferEncoding),
            (&[("te", "chunked, gzip")], Refusal::TransferEncoding),
            (&[("te", "gzip")], Refusal::TransferEncoding),
            (&[("te", "identity")], Refusal::TransferEncoding),
            (&[("te", "")], Refusal::TransferEncoding),
            (&[("te", "chunked,")], Refusal::TransferEncoding),
            (&[("te", "\"chunked\"")], Refusal::TransferEncoding),
            (&[("te", "gzip, chunked")], Refusal::TransferCoding),
        ];
        for (fields, refusal) in cases {
            let framing = lengths(fields).and_then(|l| l.request(1));
            assert_eq!(framing, Err(*refusal), "{fields:?}");
        }
        let old = lengths(&[("te", "chunked")]).and_then(|l| l.request(0));
        assert_eq!(old, Err(Refusal::TransferEncodingVersion));
    }
}
