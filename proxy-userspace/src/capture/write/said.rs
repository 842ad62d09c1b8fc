//! What a proxy said of a connection, as it stands behind a close in a file of ours. Files of the
//! first versions end before it.

/// What teardown's own proxy said of a connection when it closed it, in the words of the tail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `traffic`, `check` or `tunnel`.
    pub class: Box<str>,
    /// HAProxy's termination state.
    pub termination: Box<str>,
    /// What the session was doing.
    pub phase: Option<Box<str>>,
    /// The last request's method.
    pub method: Option<Box<str>>,
    /// The status of the last response.
    pub status: Option<u16>,
    /// Requests that the connection carried.
    pub requests: u32,
}

impl Said {
    /// Appends it: four words behind their lengths, the status (0 is none), the requests.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let words = [Some(&self.class), Some(&self.termination), self.phase.as_ref()];
        for word in words.into_iter().chain([self.method.as_ref()]) {
            let bytes = word.map_or("", |word| word).as_bytes();
            let bytes = &bytes[..bytes.len().min(255)];
            out.push(bytes.len() as u8);
            out.extend(bytes);
        }
        out.extend(self.status.unwrap_or(0).to_le_bytes());
        out.extend(self.requests.to_le_bytes());
    }

    /// Reads it; `None` where it is not there, or not whole.
    pub(super) fn take(mut bytes: &[u8]) -> Option<Self> {
        let mut word = || -> Option<Box<str>> {
            let (&len, rest) = bytes.split_first()?;
            let (text, rest) = rest.split_at_checked(usize::from(len))?;
            bytes = rest;
            Some(String::from_utf8_lossy(text).into())
        };
        let (class, termination, phase, method) = (word()?, word()?, word()?, word()?);
        let (status, rest) = bytes.split_first_chunk::<2>()?;
        let (requests, _) = rest.split_first_chunk::<4>()?;
        let told = |word: Box<str>| Some(word).filter(|word| !word.is_empty());
        Some(Self {
            class,
            termination,
            phase: told(phase),
            method: told(method),
            status: Some(u16::from_le_bytes(*status)).filter(|status| *status != 0),
            requests: u32::from_le_bytes(*requests),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_read_again() {
        let all = Said {
            class: "traffic".into(),
            termination: "SD--".into(),
            phase: Some("data".into()),
            method: Some("GET".into()),
            status: Some(200),
            requests: 3,
        };
        for said in [all, Said::default()] {
            let mut bytes = Vec::new();
            said.put(&mut bytes);
            assert_eq!(Said::take(&bytes), Some(said));
            for cut in 0..bytes.len() {
                assert_eq!(Said::take(&bytes[..cut]), None, "{cut}");
            }
        }
    }
}
