//! A close as it stands in a file of ours: the whole flow, so that it is read back as it was.
//!
//! It is a custom option of pcapng. The private enterprise number is the one for documentation
//! (RFC 5612), as teardown has none; the magic behind it tells ours from any other's.

use super::said::Said;
use proxy_common::acts::Cause;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::verdict::Signal;

/// RFC 5612's number, in the byte order of our sections.
const ENTERPRISE: [u8; 4] = 32_473_u32.to_le_bytes();
/// The last byte is the version of what follows.
const MAGIC: &[u8; 12] = b"teardown\0\0\0\x02";

/// A close with what the machine does not know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The connection.
    pub key: FlowKey,
    /// All that was known, its times in nanoseconds since 1970.
    pub flow: Flow,
    /// The proxy's, backend's and server's names, the kernel's reason for a RST, and the rule that
    /// changed the close.
    pub words: [Option<Box<str>>; 5],
    /// Why it was changed, what the application asked for, and what was sent instead.
    pub change: Option<(Cause, Option<Signal>, Signal)>,
    /// What the host's own proxy said of it.
    pub said: Option<Said>,
}

/// Signals by number; 0 is none.
const SIGNALS: [Option<Signal>; 5] =
    [None, Some(Signal::Fin), Some(Signal::Rst), Some(Signal::RstAck), Some(Signal::Timeout)];

impl Stored {
    /// The option's value.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(640);
        out.extend(ENTERPRISE);
        out.extend(MAGIC);
        out.extend((size_of::<Flow>() as u32).to_le_bytes());
        out.extend(bytemuck::bytes_of(&self.key));
        out.extend(bytemuck::bytes_of(&self.flow));
        for word in &self.words {
            let bytes = word.as_deref().unwrap_or_default().as_bytes();
            let bytes = &bytes[..bytes.len().min(255)];
            out.push(bytes.len() as u8);
            out.extend(bytes);
        }
        let number = |signal: Option<Signal>| {
            SIGNALS.iter().position(|known| *known == signal).unwrap_or(0) as u8
        };
        let (cause, asked, sent) = match self.change {
            None => (Cause::Rule, None, None),
            Some((cause, asked, sent)) => (cause, asked, Some(sent)),
        };
        let cause = Cause::ALL.iter().position(|known| *known == cause).unwrap_or(0) as u8;
        out.extend([number(asked), number(sent), cause]);
        if let Some(said) = &self.said {
            said.put(&mut out);
        }
        out
    }

    /// Reads the option's value; `None` where it is somebody else's, or of another version.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&ENTERPRISE)?.strip_prefix(MAGIC)?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*size) as usize != size_of::<Flow>() {
            return None;
        }
        let (key, rest) = rest.split_at_checked(size_of::<FlowKey>())?;
        let (flow, mut rest) = rest.split_at_checked(size_of::<Flow>())?;
        let mut words = [const { None }; 5];
        for word in &mut words {
            let (&len, behind) = rest.split_first()?;
            let (text, behind) = behind.split_at_checked(usize::from(len))?;
            *word = match text {
                [] => None,
                text => Some(String::from_utf8_lossy(text).into()),
            };
            rest = behind;
        }
        let signal = |at: usize| *SIGNALS.get(usize::from(*rest.get(at)?)).unwrap_or(&None);
        // Files of the first versions end before the cause: only rules changed closes then.
        let cause = rest.get(2).and_then(|cause| Cause::ALL.get(usize::from(*cause)));
        let cause = cause.copied().unwrap_or(Cause::Rule);
        let change = signal(1).map(|sent| (cause, signal(0), sent));
        let said = rest.get(3..).and_then(Said::take);
        let key: FlowKey = bytemuck::pod_read_unaligned(key);
        let flow: Flow = bytemuck::pod_read_unaligned(flow);
        // A history longer than its place would be read beyond it.
        let sound = usize::from(flow.history_len) <= flow.history.len();
        sound.then_some(Self { key, flow, words, change, said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_common::key::Endpoint;

    #[test]
    fn what_is_stored_is_read() {
        let (key, _) =
            FlowKey::new(Endpoint::v4([192, 0, 2, 1], 4000), Endpoint::v4([192, 0, 2, 2], 80));
        let mut flow = Flow::new();
        flow.started_ns = 7;
        let words = [Some("www".into()), None, Some("w1".into()), None, Some("w1".into())];
        let change = Some((Cause::Rule, Some(Signal::Fin), Signal::RstAck));
        let mut stored = Stored { key, flow, words, change, said: None };
        let bytes = stored.to_bytes();
        assert_eq!(Stored::from_bytes(&bytes).as_ref(), Some(&stored));
        stored.said = Some(Said { class: "check".into(), ..Said::default() });
        assert_eq!(Stored::from_bytes(&stored.to_bytes()), Some(stored));
        for cut in 0..bytes.len() - 3 {
            assert_eq!(Stored::from_bytes(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Stored::from_bytes(b"somebody else's"), None);
    }
}
