//! Samples as numbers, as addresses, and as what variables hold.

use super::Sample;
use crate::http::variable::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

/// A sample as a number: of a text the one that it begins with.
pub(in crate::http) fn number(sample: Sample<'_>) -> Option<i64> {
    match sample {
        Sample::Number(number) => Some(number),
        Sample::Truth(truth) => Some(truth.into()),
        Sample::Address(IpAddr::V4(ip)) => Some(ip.to_bits().into()),
        Sample::Address(IpAddr::V6(_)) | Sample::Text(b"") => None,
        Sample::Text(text) => Some(leading(text)),
    }
}

/// A sample as an address: of a text the one of IPv4 that it begins with, or all of it.
pub(in crate::http) fn address(sample: Sample<'_>) -> Option<IpAddr> {
    match sample {
        Sample::Address(ip) => Some(ip),
        Sample::Number(number) => Some(Ipv4Addr::from_bits(number.try_into().ok()?).into()),
        Sample::Text(text) => {
            let whole =
                || std::str::from_utf8(text).ok()?.parse().map(|ip: IpAddr| ip.to_canonical()).ok();
            leading_ip(text).map(IpAddr::V4).or_else(whole)
        }
        Sample::Truth(_) => None,
    }
}

/// The IPv4 address that a text begins with, a port or anything else behind it.
fn leading_ip(text: &[u8]) -> Option<Ipv4Addr> {
    let is_of_it = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let length = text.iter().position(|byte| !is_of_it(byte)).unwrap_or(text.len());
    let mut octets = text[..length].split(|byte| *byte == b'.');
    let mut ip = [0; 4];
    for octet in &mut ip {
        let digits = octets.next().filter(|digits| !digits.is_empty())?;
        *octet = leading(digits).try_into().ok()?;
    }
    octets.next().is_none().then(|| ip.into())
}

/// The number that a text begins with, 0 without any.
pub(super) fn leading(text: &[u8]) -> i64 {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: i64, digit| {
        number.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0'))
    })
}

/// A field's value as an address; a port behind one of IPv4 is passed over.
pub(super) fn text_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let with_port = || text.parse().ok().map(|at: SocketAddrV4| IpAddr::V4(*at.ip()));
    text.parse().ok().or_else(with_port)
}

impl Sample<'_> {
    /// Its bytes: those of a number and of an address in the network's order.
    pub(super) fn write_bytes(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Number(number) => out.extend_from_slice(&number.to_be_bytes()),
            Self::Address(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
            Self::Address(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
            Self::Truth(truth) => out.extend_from_slice(&i64::from(*truth).to_be_bytes()),
        }
    }
}

impl Value {
    /// As a sample.
    #[must_use]
    pub fn sample(&self) -> Sample<'_> {
        match self {
            Self::Text(text) => Sample::Text(text),
            Self::Number(number) => Sample::Number(*number),
            Self::Address(address) => Sample::Address(*address),
            Self::Truth(truth) => Sample::Truth(*truth),
        }
    }
}

impl From<Sample<'_>> for Value {
    fn from(sample: Sample<'_>) -> Self {
        match sample {
            Sample::Text(text) => Self::Text(text.to_vec()),
            Sample::Number(number) => Self::Number(number),
            Sample::Address(address) => Self::Address(address),
            Sample::Truth(truth) => Self::Truth(truth),
        }
    }
}
