//! Address prefixes: as they are written, and what they contain.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address prefix: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The first `length` bits of an address; `None` where it has fewer.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        (length <= width(address)).then_some(Self { address, length })
    }

    /// One address.
    #[must_use]
    pub fn whole(address: IpAddr) -> Self {
        Self { address, length: width(address) }
    }

    /// How many bits it has.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether an address begins so. An IPv4 one does not begin as any of IPv6 does, nor the other way
    /// round.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differs = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u32::from(ours) ^ u32::from(theirs)).leading_zeros()
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (u128::from(ours) ^ u128::from(theirs)).leading_zeros()
            }
            _ => return false,
        };
        differs >= self.length.into()
    }
}

/// The bits of an address.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Why a text is no address prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// What stands before the slash.
    #[error("'{0}' is not an IPv4 or IPv6 address")]
    Address(String),
    /// What stands after it.
    #[error("'{0}' is not a prefix length from 0 to {1}")]
    Length(String, u8),
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address: IpAddr = bare
            .unwrap_or(address)
            .parse()
            .map_err(|_| PrefixError::Address(address.to_owned()))?;
        let Some(length) = length else { return Ok(Self::whole(address)) };
        let prefix = length.parse().ok().and_then(|length| Self::new(address, length));
        prefix.ok_or_else(|| PrefixError::Length(length.to_owned(), width(address)))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let inside = |prefix: &str, address: &str| {
            let prefix: Prefix = prefix.parse().expect("a prefix");
            prefix.contains(address.parse().expect("an address"))
        };
        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("0.0.0.0/0", "1.2.3.4") && !inside("0.0.0.0/0", "::1"));
        assert!(inside("fe80::/10", "fe80::1") && !inside("::/0", "1.2.3.4"));
        assert!(inside("::1", "::1") && !inside("::1", "::2"));
        assert!(inside("[2001:db8::]/32", "2001:db8:1::5"));
        for wrong in ["10.0.0/8", "10.0.0.0/33", "::/129", "10.0.0.1/", "web", ""] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
        let error = "10.0.0.0/33".parse::<Prefix>().expect_err("too long").to_string();
        assert_eq!(error, "'33' is not a prefix length from 0 to 32");
    }
}
