//! Names from a text, put back where the made-up addresses stand that hold their places.

use crate::capture::text::names::is_placeholder;
use crate::report::put;
use proxy_common::key::Endpoint;
use std::cell::RefCell;
use std::collections::HashMap;

/// What placeholders stand for.
#[derive(Debug, Default)]
pub struct Placeholders {
    names: RefCell<HashMap<[u8; 16], String>>,
}

impl Placeholders {
    /// Remembers a name.
    pub fn add(&self, endpoint: &Endpoint, name: &str) {
        let mut plain = Vec::new();
        put::name(&mut plain, name.as_bytes());
        let plain = String::from_utf8_lossy(&plain).into_owned();
        self.names.borrow_mut().insert(endpoint.addr, plain);
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
        put::address(endpoint).to_string()
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
