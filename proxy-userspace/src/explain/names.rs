//! Names from a text, put back where the made-up addresses stand that hold their places.

use crate::capture::text::names::{Name, Places, is_placeholder};
use crate::ends::address;
use crate::report::put;
use proxy_common::key::Endpoint;
use std::cell::RefCell;
use std::collections::HashMap;

/// What placeholders stand for.
#[derive(Debug, Default)]
pub struct Placeholders {
    places: RefCell<Places>,
    names: RefCell<HashMap<[u8; 16], String>>,
}

impl Placeholders {
    /// Remembers a name, and gives the endpoint that holds its place.
    pub fn add(&self, name: Name<'_>) -> Endpoint {
        let (endpoint, name) = self.places.borrow_mut().endpoint(name);
        let mut plain = Vec::new();
        put::name(&mut plain, name.as_bytes());
        let plain = String::from_utf8_lossy(&plain).into_owned();
        self.names.borrow_mut().insert(endpoint.addr, plain);
        endpoint
    }

    /// Whether there are none, as in every binary capture.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.borrow().is_empty()
    }

    /// `ADDR:PORT`, or the name that stands there.
    #[must_use]
    pub fn endpoint(&self, endpoint: &Endpoint) -> String {
        let mut out = Vec::new();
        put::endpoint(&mut out, endpoint);
        let text = String::from_utf8_lossy(&out).into_owned();
        if !is_placeholder(endpoint) {
            return text;
        }
        match self.names.borrow().get(&endpoint.addr) {
            Some(name) if endpoint.port == 0 => name.clone(),
            Some(name) => format!("{name}:{}", endpoint.port),
            None => text,
        }
    }

    /// The address alone, or the name that stands there.
    #[must_use]
    pub fn address(&self, endpoint: &Endpoint) -> String {
        if is_placeholder(endpoint) {
            return self.endpoint(&Endpoint { port: 0, ..*endpoint });
        }
        address(endpoint).to_string()
    }

    /// Puts the names of both ends into a line that was made of their endpoints, keeping columns
    /// where they were.
    pub fn restore(&self, line: &mut Vec<u8>, ends: [&Endpoint; 2]) {
        if self.is_empty() {
            return;
        }
        for end in ends.into_iter().filter(|end| is_placeholder(end)) {
            let mut shown = Vec::new();
            put::endpoint(&mut shown, end);
            let name = self.endpoint(end);
            let mut from = 0;
            while let Some(found) = memchr::memmem::find(&line[from..], &shown) {
                let at = from + found;
                let after = at + shown.len();
                let blanks = line[after..].iter().take_while(|&&byte| byte == b' ').count();
                let mut with = name.clone().into_bytes();
                if blanks > 0 {
                    // A cell of 21 columns and the blank behind it.
                    with.resize(with.len().max(21) + 1, b' ');
                }
                from = at + with.len();
                line.splice(at..after + blanks, with);
            }
        }
    }

    /// Puts the names of both ends into a line of another form, where their addresses stand alone
    /// or with their ports. In JSON a name's backslashes are doubled.
    pub fn restore_plain(&self, line: &mut Vec<u8>, ends: [&Endpoint; 2], is_json: bool) {
        if self.is_empty() {
            return;
        }
        for end in ends.into_iter().filter(|end| is_placeholder(end)) {
            let mut endpoint = Vec::new();
            put::endpoint(&mut endpoint, end);
            let address = address(end).to_string().into_bytes();
            for (shown, name) in [(endpoint, self.endpoint(end)), (address, self.address(end))] {
                let name = if is_json { name.replace('\\', "\\\\") } else { name };
                replace(line, &shown, name.as_bytes());
            }
        }
    }

    /// Puts every name into a text where its placeholder stands, whatever the port.
    pub fn restore_all(&self, text: &mut Vec<u8>) {
        for (addr, name) in self.names.borrow().iter() {
            let shown = format!("[{}]", std::net::Ipv6Addr::from(*addr));
            // From behind the last name on: a name may look like a placeholder itself.
            let mut from = 0;
            while let Some(found) = memchr::memmem::find(&text[from..], shown.as_bytes()) {
                let at = from + found;
                text.splice(at..at + shown.len(), name.bytes());
                from = at + name.len();
            }
        }
    }
}

/// Puts `with` where `shown` stands and is no part of a longer address.
fn replace(line: &mut Vec<u8>, shown: &[u8], with: &[u8]) {
    let is_inside = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'[' | b']'))
    };
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&line[from..], shown) {
        let (at, after) = (from + found, from + found + shown.len());
        if is_inside(line[..at].last()) || is_inside(line.get(after)) {
            from = after;
        } else {
            line.splice(at..after, with.iter().copied());
            from = at + with.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_where_their_places_are_held() {
        let names = Placeholders::default();
        let all: Vec<Endpoint> = (0..=0x10)
            .map(|n| if n == 1 { "web\"1".into() } else { format!("web-{n:x}") })
            .map(|name| Endpoint { port: 80, ..names.add(Name::Shown(&name)) })
            .collect();
        let (one, ten) = (all[1], all[0x10]);
        let (one_at, ten_at) = (address(&one), address(&ten));
        let line = format!("{ten_at}\t80\t{one_at}\t80\t[{ten_at}]:80\n").into_bytes();
        for (is_json, wanted) in [
            (false, "web-10\t80\tweb\\x221\t80\tweb-10:80\n"),
            (true, "web-10\t80\tweb\\\\x221\t80\tweb-10:80\n"),
        ] {
            let mut line = line.clone();
            names.restore_plain(&mut line, [&one, &ten], is_json);
            assert_eq!(String::from_utf8_lossy(&line), wanted);
        }
    }
}
