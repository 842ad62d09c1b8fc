//! Names for a connection: which proxy, backend and server of the configuration it belongs to.

use super::put;

/// What the configuration calls a connection; nothing where it has no name for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label<'a> {
    /// The `frontend` or `listen` that clients reach.
    pub proxy: Option<&'a str>,
    /// The `backend` or `listen` that the server stands in.
    pub backend: Option<&'a str>,
    /// The server.
    pub server: Option<&'a str>,
}

impl Label<'_> {
    /// Whether the configuration has no name for the connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Label::default()
    }

    /// `BACKEND/SERVER`, or the one name that there is.
    pub fn put(&self, out: &mut Vec<u8>) {
        match (self.backend.or(self.proxy), self.server) {
            (Some(backend), Some(server)) => {
                put::name(out, backend.as_bytes());
                out.push(b'/');
                put::name(out, server.as_bytes());
            }
            (one, other) => {
                put::name(out, one.or(other).unwrap_or_default().as_bytes());
            }
        }
    }

    /// Whether `name` is its proxy, its backend, its server, or `BACKEND/SERVER`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let whole = name.split_once('/').is_some_and(|(backend, server)| {
            self.backend == Some(backend) && self.server == Some(server)
        });
        whole || [self.proxy, self.backend, self.server].contains(&Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_and_what_it_answers_to() {
        let shown = |label: Label<'_>| {
            let mut out = Vec::new();
            label.put(&mut out);
            String::from_utf8(out).expect("UTF-8")
        };
        let server = Label { proxy: Some("www"), backend: Some("web"), server: Some("w1") };
        assert_eq!(shown(server), "web/w1");
        assert_eq!(shown(Label { proxy: Some("www"), ..Label::default() }), "www");
        assert_eq!(shown(Label::default()), "");
        for name in ["www", "web", "w1", "web/w1"] {
            assert!(server.is_called(name), "{name}");
        }
        for name in ["web/w2", "api/w1", "", "/"] {
            assert!(!server.is_called(name), "{name}");
        }
    }
}
