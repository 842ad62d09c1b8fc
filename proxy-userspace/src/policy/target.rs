//! Whom a rule is for: a server by name, or peers by address.

use crate::kernel::Covered;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What stands before the words of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Peers by address: `10.0.0.0/24`, `10.0.0.5:80`, `[2001:db8::]/32:443`, `2001:db8::5`.
    Peers(Covered),
    /// A server of the configuration: `SERVER` or `BACKEND/SERVER`.
    Server {
        /// The backend; without it every server of that name.
        backend: Option<String>,
        /// The server.
        server: String,
    },
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(covered) = peers(text)? {
            return Ok(Self::Peers(covered));
        }
        match text.split_once('/') {
            Some((backend, server)) => {
                Ok(Self::Server { backend: Some(backend.to_owned()), server: server.to_owned() })
            }
            None => Ok(Self::Server { backend: None, server: text.to_owned() }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { backend: Some(backend), server } => write!(f, "{backend}/{server}"),
            Self::Server { backend: None, server } => f.write_str(server),
            Self::Peers(covered) => {
                let whole = if covered.addr.is_ipv4() { 32 } else { 128 };
                match covered.addr {
                    IpAddr::V6(addr) if covered.port.is_some() => write!(f, "[{addr}]")?,
                    addr => write!(f, "{addr}")?,
                }
                if covered.prefix != whole {
                    write!(f, "/{}", covered.prefix)?;
                }
                covered.port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

/// `ADDR[/LEN][:PORT]`; `None` where it does not begin with an address.
fn peers(text: &str) -> Result<Option<Covered>, String> {
    let (address, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) =
                inner.split_once(']').ok_or_else(|| format!("'{text}' has no closing ']'"))?;
            let addr = address
                .parse()
                .map_err(|_| format!("'{address}' in '{text}' is no IPv6 address"))?;
            (IpAddr::V6(addr), rest)
        }
        None => {
            let end = text.find('/').unwrap_or(text.len());
            let (address, rest) = text.split_at(end);
            if let Ok(addr) = address.parse::<IpAddr>() {
                (addr, rest)
            } else if let Some((address, _)) = address.rsplit_once(':')
                && let Ok(addr) = address.parse()
            {
                (IpAddr::V4(addr), &text[address.len()..])
            } else {
                return Ok(None);
            }
        }
    };
    let (prefix, port) = match rest.rsplit_once(':') {
        Some((prefix, port)) => (prefix, Some(port)),
        None => (rest, None),
    };
    let whole: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.strip_prefix('/') {
        None if prefix.is_empty() => whole,
        None => return Err(format!("'{prefix}' in '{text}' should be /LEN or nothing")),
        Some(length) => length
            .parse()
            .ok()
            .filter(|length| *length <= whole)
            .ok_or_else(|| format!("'{length}' in '{text}' should be 0 to {whole}"))?,
    };
    let port = match port {
        None => None,
        Some(port) => Some(
            port.parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("'{port}' in '{text}' should be a port, 1 to 65535"))?,
        ),
    };
    Ok(Some(Covered { addr: address, prefix, port }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back() {
        for text in [
            "10.0.0.5",
            "10.0.0.5:80",
            "10.0.0.0/24",
            "10.0.0.0/24:80",
            "2001:db8::5",
            "[2001:db8::5]:443",
            "[2001:db8::]/32:443",
            "w1",
            "web/w1",
        ] {
            let target: Target = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(target.to_string(), text);
        }
        let v6: Target = "2001:db8::/32".parse().unwrap();
        assert_eq!(v6.to_string(), "2001:db8::/32");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in
            [("10.0.0.0/33", "33"), ("10.0.0.5:0", "0"), ("[::1", "]"), ("[::1]:x", "x")]
        {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
