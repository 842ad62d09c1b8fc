//! Request targets and Host: RFC 9112, 3.2 and RFC 9110, 7.2.

use super::refusal::Refusal;
use std::ops::Range;

/// What parts a scheme and an authority (RFC 3986, 3).
const BEHIND_SCHEME: &str = "://";

/// Checks a request's target and Host, and that they name the same authority.
pub(crate) fn check(
    method: &str,
    target: &str,
    minor: u8,
    hosts: usize,
    host: &[u8],
) -> Result<(), Refusal> {
    match hosts {
        0 if minor > 0 => return Err(Refusal::HostMissing),
        0 | 1 => {}
        _ => return Err(Refusal::HostSeveral),
    }
    if !host.is_empty() && split(host).is_none() {
        return Err(Refusal::Host);
    }
    let Some((named, default_port)) = named(method, target)? else { return Ok(()) };
    if hosts == 1 && !same(named.as_bytes(), host, default_port.as_bytes()) {
        return Err(Refusal::HostDiffers);
    }
    Ok(())
}

/// The authority that a target names, with its scheme's default port; none in a path or `*`. CONNECT
/// has no scheme: what goes to a port of HTTP's or HTTPS's is taken for that.
pub(crate) fn named<'a>(
    method: &str,
    target: &'a str,
) -> Result<Option<(&'a str, &'static str)>, Refusal> {
    // Visible ASCII without a fragment; httparse lets bytes above 0x7f pass.
    if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Refusal::Target);
    }
    if method == "CONNECT" {
        let (_, port) = split(target.as_bytes()).ok_or(Refusal::Target)?;
        return match port {
            b"" => Err(Refusal::Target),
            b"80" => Ok(Some((target, "80"))),
            b"443" => Ok(Some((target, "443"))),
            _ => Ok(Some((target, ""))),
        };
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(None);
    }
    absolute(target).map(Some).ok_or(Refusal::Target)
}

/// Where the authority stands in a target in absolute form; none in one that has another form.
pub(crate) fn place(target: &str) -> Option<Range<usize>> {
    let start = target.find(BEHIND_SCHEME).filter(|_| !target.starts_with('/'))?;
    let start = start + BEHIND_SCHEME.len();
    let end = target[start..].find(['/', '?']).map_or(target.len(), |end| start + end);
    Some(start..end)
}

/// The authority and the scheme's default port of a target in absolute form.
fn absolute(target: &str) -> Option<(&str, &'static str)> {
    let place = place(target)?;
    let scheme = &target[..place.start - BEHIND_SCHEME.len()];
    let default_port = match scheme {
        s if s.eq_ignore_ascii_case("http") => "80",
        s if s.eq_ignore_ascii_case("https") => "443",
        _ => "",
    };
    let letters = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !letters || !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let authority = &target[place];
    split(authority.as_bytes()).map(|_| (authority, default_port))
}

/// `uri-host [":" port]`, without user information; the port is empty if there is none.
fn split(authority: &[u8]) -> Option<(&[u8], &[u8])> {
    let (host, port) = if authority.first() == Some(&b'[') {
        let end = authority.iter().position(|&b| b == b']')?;
        let inside = &authority[1..end];
        let literal = |b: &u8| b.is_ascii_hexdigit() || b":.".contains(b);
        if inside.is_empty() || !inside.iter().all(literal) {
            return None;
        }
        authority.split_at(end + 1)
    } else {
        let end = authority.iter().position(|&b| b == b':').unwrap_or(authority.len());
        let (host, port) = authority.split_at(end);
        let name = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(b);
        if host.is_empty() || !host.iter().all(name) {
            return None;
        }
        (host, port)
    };
    match port {
        [] => Some((host, port)),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            Some((host, digits))
        }
        _ => None,
    }
}

/// Whether two authorities are the same, where a missing port is the scheme's.
fn same(named: &[u8], host: &[u8], default_port: &[u8]) -> bool {
    let (Some((a, a_port)), Some((b, b_port))) = (split(named), split(host)) else {
        return false;
    };
    let port = |p| if <[u8]>::is_empty(p) { default_port } else { p };
    a.eq_ignore_ascii_case(b) && port(a_port) == port(b_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_by_method() {
        let ok = [
            ("GET", "/", "a"),
            ("GET", "/a?b=http://c/", "a:80"),
            ("OPTIONS", "*", "a"),
            ("GET", "http://A/x", "a"),
            ("GET", "http://a:80/x", "a"),
            ("GET", "https://a/x", "a:443"),
            ("GET", "http://[::1]:8080/", "[::1]:8080"),
            ("CONNECT", "a:443", "a:443"),
            ("CONNECT", "a:443", "a"),
            ("CONNECT", "a:80", "a:"),
        ];
        for (method, target, host) in ok {
            assert_eq!(check(method, target, 1, 1, host.as_bytes()), Ok(()), "{method} {target}");
        }
        let refused = [
            ("GET", "*", "a", Refusal::Target),
            ("GET", "x", "a", Refusal::Target),
            ("GET", "a:443", "a:443", Refusal::Target),
            ("GET", "/a#b", "a", Refusal::Target),
            ("GET", "/\u{e9}", "a", Refusal::Target),
            ("GET", "http://", "a", Refusal::Target),
            ("GET", "http://u@a/", "a", Refusal::Target),
            ("GET", "1http://a/", "a", Refusal::Target),
            ("CONNECT", "a", "a", Refusal::Target),
            ("CONNECT", "/", "a", Refusal::Target),
            ("GET", "http://a/", "b", Refusal::HostDiffers),
            ("GET", "http://a/", "a:81", Refusal::HostDiffers),
            ("CONNECT", "a:443", "a:80", Refusal::HostDiffers),
            ("CONNECT", "a:8080", "a", Refusal::HostDiffers),
            ("GET", "/", "a b", Refusal::Host),
            ("GET", "/", "a,b", Refusal::Host),
            ("GET", "/", "a/b", Refusal::Host),
            ("GET", "/", "u@a", Refusal::Host),
            ("GET", "/", "a:b", Refusal::Host),
            ("GET", "/", "a:1:2", Refusal::Host),
            ("GET", "/", "[::1", Refusal::Host),
            ("GET", "/", ":80", Refusal::Host),
        ];
        for (method, target, host, refusal) in refused {
            let got = check(method, target, 1, 1, host.as_bytes());
            assert_eq!(got, Err(refusal), "{method} {target} {host}");
        }
        assert_eq!(check("GET", "/", 1, 0, b""), Err(Refusal::HostMissing));
        assert_eq!(check("GET", "/", 0, 0, b""), Ok(()));
        assert_eq!(check("GET", "/", 1, 2, b"a"), Err(Refusal::HostSeveral));
    }
}
