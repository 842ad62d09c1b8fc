//! What is done to samples: converters.

use super::read::{address, leading, number};
use super::{Kind, Sample, View};
use crate::http::balance::Hashing;
use crate::http::edit::lookup;
use crate::http::encode;
use crate::http::regex::Regex;
use crate::http::rules::Template;
use crate::http::variable::{Name, Value};
use crate::units::hex_byte;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What is done to a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Convert {
    /// `lower`.
    Lower,
    /// `upper`.
    Upper,
    /// `length`.
    Length,
    /// `add(N)` and its kin.
    Arithmetic(Operator, Operand),
    /// `neg`.
    Negative,
    /// `cpl`.
    Complement,
    /// `odd`.
    Odd,
    /// `even`.
    Even,
    /// `bool`, and `not` where it is negated.
    Truth {
        /// `not`.
        negate: bool,
    },
    /// `field(INDEX,DELIMITERS,COUNT)`, and `word()`.
    Part {
        /// From 1, or from the end if negative.
        index: i64,
        /// Each of these bytes ends a part.
        delimiters: Vec<u8>,
        /// How many; 0 is all that are left.
        count: usize,
        /// Whether parts without a byte count for nothing.
        words: bool,
    },
    /// `bytes(OFFSET,LENGTH)`.
    Bytes(usize, Option<usize>),
    /// `regsub(REGEX,TEXT,FLAGS)`.
    Substitute {
        /// What is looked for.
        regex: Regex,
        /// What takes its place.
        with: Template,
        /// `g`: everywhere.
        all: bool,
    },
    /// `ltrim(BYTES)` and `rtrim(BYTES)`.
    Trim {
        /// At its beginning, not at its end.
        left: bool,
        /// Which bytes are taken off.
        bytes: Vec<u8>,
    },
    /// `concat(TEXT,VARIABLE,TEXT)`.
    Concat(Vec<u8>, Option<Name>, Vec<u8>),
    /// `strcmp(VARIABLE)`.
    Compare(Name),
    /// `iif(TEXT,TEXT)`.
    Choose(Vec<u8>, Vec<u8>),
    /// `ipmask(MASK,MASK)`.
    Mask(Ipv4Addr, Option<Ipv6Addr>),
    /// `host_only`.
    HostOnly,
    /// `port_only`.
    PortOnly,
    /// `hex`.
    Hexadecimal,
    /// `base64`, or `ub64enc`.
    Base64 {
        /// `ub64enc`.
        url: bool,
    },
    /// `b64dec`, or `ub64dec`.
    FromBase64 {
        /// `ub64dec`.
        url: bool,
    },
    /// `url_enc`.
    UrlEncode,
    /// `url_dec`, and whether `+` is a space from the beginning.
    UrlDecode(bool),
    /// `sdbm` and its kin.
    Hash(Hashing),
    /// `map()` and its kin.
    Map(Arc<super::map::Map>),
}

/// An operation on numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `add`.
    Add,
    /// `sub`.
    Subtract,
    /// `mul`.
    Multiply,
    /// `div`.
    Divide,
    /// `mod`.
    Remainder,
    /// `and`.
    And,
    /// `or`.
    Or,
    /// `xor`.
    Xor,
}

/// What a number is put together with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// This.
    Number(i64),
    /// What is in a variable.
    Variable(Name),
}

impl Operator {
    /// What is too great is the greatest; what is divided by 0 is that, too.
    fn apply(self, a: i64, b: i64) -> i64 {
        match self {
            Self::Add => a.saturating_add(b),
            Self::Subtract => a.saturating_sub(b),
            Self::Multiply => a.saturating_mul(b),
            Self::Divide if b == 0 => i64::MAX,
            Self::Divide => a.checked_div(b).unwrap_or(i64::MAX),
            Self::Remainder => a.checked_rem(b).unwrap_or(0),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

impl Convert {
    /// The type of what comes out.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Length
            | Self::Arithmetic(..)
            | Self::Negative
            | Self::Complement
            | Self::Compare(_)
            | Self::PortOnly
            | Self::Hash(_) => Kind::Number,
            Self::Odd | Self::Even | Self::Truth { .. } => Kind::Truth,
            Self::Mask(..) => Kind::Address,
            Self::Map(map) => map.kind,
            _ => Kind::Text,
        }
    }

    /// What becomes of a sample, if anything does.
    #[must_use]
    pub fn apply(&self, sample: Sample<'_>, view: &View<'_>) -> Option<Value> {
        let number = || number(sample);
        let text = || {
            let mut text = Vec::new();
            sample.write(&mut text);
            text
        };
        let bytes = || {
            let mut bytes = Vec::new();
            sample.write_bytes(&mut bytes);
            bytes
        };
        Some(match self {
            Self::Lower => Value::Text(text().to_ascii_lowercase()),
            Self::Upper => Value::Text(text().to_ascii_uppercase()),
            Self::Length => Value::Number(i64::try_from(text().len()).unwrap_or(i64::MAX)),
            Self::Arithmetic(operator, operand) => {
                let operand = match operand {
                    Operand::Number(number) => *number,
                    Operand::Variable(name) => self::number(lookup(view.edits, name)?.sample())?,
                };
                Value::Number(operator.apply(number()?, operand))
            }
            Self::Negative => Value::Number(number()?.saturating_neg()),
            Self::Complement => Value::Number(!number()?),
            Self::Odd => Value::Truth(number()? & 1 == 1),
            Self::Even => Value::Truth(number()? & 1 == 0),
            Self::Truth { negate } => Value::Truth((number()? != 0) != *negate),
            Self::Part { index, delimiters, count, words } => {
                let text = text();
                let part = part(&text, *index, delimiters, *count, *words);
                // As HAProxy has it, a word that is not there is empty, and such a field is none.
                Value::Text(part.or(words.then_some(b""))?.to_vec())
            }
            Self::Bytes(offset, length) => {
                let bytes = bytes();
                let rest = bytes.get(*offset..).unwrap_or_default();
                let length = length.map_or(rest.len(), |length| length.min(rest.len()));
                Value::Text(rest[..length].to_vec())
            }
            Self::Substitute { regex, with, all } => {
                let most = if *all { usize::MAX } else { 1 };
                Value::Text(with.substitute(regex, &text(), most))
            }
            Self::Trim { left, bytes } => {
                let text = text();
                let stays = |byte: &u8| !bytes.contains(byte);
                Value::Text(if *left {
                    let start = text.iter().position(stays).unwrap_or(text.len());
                    text[start..].to_vec()
                } else {
                    let end = text.iter().rposition(stays).map_or(0, |last| last + 1);
                    text[..end].to_vec()
                })
            }
            Self::Concat(before, name, behind) => {
                let mut all = text();
                all.extend_from_slice(before);
                if let Some(value) = name.as_ref().and_then(|name| lookup(view.edits, name)) {
                    value.sample().write(&mut all);
                }
                all.extend_from_slice(behind);
                Value::Text(all)
            }
            Self::Compare(name) => {
                let mut other = Vec::new();
                lookup(view.edits, name)?.sample().write(&mut other);
                Value::Number(text().cmp(&other) as i64)
            }
            Self::Choose(yes, no) => {
                Value::Text(if number()? != 0 { yes.clone() } else { no.clone() })
            }
            Self::Mask(mask4, mask6) => Value::Address(match address(sample)? {
                IpAddr::V4(ip) => (ip & *mask4).into(),
                IpAddr::V6(ip) => (ip & (*mask6)?).into(),
            }),
            Self::HostOnly => Value::Text(host_and_port(&text()).0.to_ascii_lowercase()),
            Self::PortOnly => Value::Number(leading(host_and_port(&text()).1)),
            Self::Hexadecimal => {
                let digits = bytes().iter().map(|byte| format!("{byte:02X}")).collect::<String>();
                Value::Text(digits.into_bytes())
            }
            Self::Base64 { url } => Value::Text(encode::base64(&bytes(), *url).into_bytes()),
            Self::FromBase64 { url } => Value::Text(encode::from_base64(&text(), *url)?),
            Self::UrlEncode => Value::Text(encode::percent(&text(), encode::is_unreserved)),
            Self::UrlDecode(form) => Value::Text(url_decoded(&text(), *form)?),
            Self::Hash(hashing) => Value::Number(hashing.text(&bytes()).into()),
            Self::Map(map) => map.find(sample)?.clone(),
        })
    }
}

/// `field()` and `word()`: from the beginning of the first part to the end of the last one.
fn part<'a>(
    text: &'a [u8],
    index: i64,
    delimiters: &[u8],
    count: usize,
    words: bool,
) -> Option<&'a [u8]> {
    let mut parts = Vec::new();
    let mut start = 0;
    let ends = text.iter().enumerate().filter(|(_, byte)| delimiters.contains(byte));
    for end in ends.map(|(at, _)| at).chain([text.len()]) {
        if !words || end > start {
            parts.push(start..end);
        }
        start = end + 1;
    }
    let nth = usize::try_from(index.unsigned_abs()).ok()?.checked_sub(1)?;
    let more = if count == 0 { parts.len() } else { count - 1 };
    let (first, last) = if index > 0 {
        (nth, nth.saturating_add(more).min(parts.len().checked_sub(1)?))
    } else {
        let last = parts.len().checked_sub(nth + 1)?;
        (last.saturating_sub(more), last)
    };
    Some(&text[parts.get(first)?.start..parts.get(last)?.end])
}

/// A Host's two halves; the second is empty where there is no port.
fn host_and_port(host: &[u8]) -> (&[u8], &[u8]) {
    let inside = host.iter().rposition(|&byte| byte == b']').unwrap_or(0);
    match host[inside..].iter().rposition(|&byte| byte == b':') {
        Some(colon) => (&host[..inside + colon], &host[inside + colon + 1..]),
        None => (host, b""),
    }
}

/// Nothing where a percent sign has no two digits behind it.
fn url_decoded(text: &[u8], form: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut is_query = form;
    let mut rest = text;
    while let [first, more @ ..] = rest {
        rest = more;
        match first {
            b'%' => {
                out.push(hex_byte(more.get(..2)?)?);
                rest = &more[2..];
            }
            b'+' if is_query => out.push(b' '),
            byte => {
                is_query |= *byte == b'?';
                out.push(*byte);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
