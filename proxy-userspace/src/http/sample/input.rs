//! What is taken from the bytes that a client or a server sends, of whatever protocol: how many there are, some of
//! them, and what a TLS ClientHello says (RFC 8446, 4.1.2; RFC 6066, 3).

use super::{Fetch, Message, Sample, View};

/// Whether it is taken from what a client sends.
pub(super) fn is_of_input(fetch: &Fetch) -> bool {
    matches!(
        fetch,
        Fetch::Length(Message::Request)
            | Fetch::Payload(Message::Request, ..)
            | Fetch::HelloType
            | Fetch::ServerNameIndication
    )
}

/// The bytes that it is taken from, while they are at hand.
fn bytes<'a>(fetch: &Fetch, view: &View<'a>) -> Option<&'a [u8]> {
    match fetch {
        Fetch::Length(Message::Response) | Fetch::Payload(Message::Response, ..) => view.answered,
        _ => view.received,
    }
}

/// Whether there may be another sample once more has come.
pub(super) fn may_change(fetch: &Fetch, view: &View<'_>) -> bool {
    let input = bytes(fetch, view).unwrap_or_default();
    let missing = match fetch {
        // All of it is more, as long as more comes.
        Fetch::WaitEnd | Fetch::Length(_) | Fetch::Payload(_, _, 0) => return true,
        Fetch::Payload(_, offset, length) => payload(input, *offset, *length).err(),
        Fetch::HelloType => hello_type(input).err(),
        Fetch::ServerNameIndication => server_name(input).err(),
        _ => None,
    };
    missing == Some(Missing::Yet)
}

/// Calls `found` with the sample, if there is one.
pub(super) fn any(
    fetch: &Fetch,
    view: &View<'_>,
    found: &mut dyn FnMut(Sample<'_>) -> bool,
) -> bool {
    if *fetch == Fetch::WaitEnd {
        return !view.is_partial && found(Sample::Truth(true));
    }
    let Some(input) = bytes(fetch, view) else { return false };
    match fetch {
        Fetch::Length(_) => found(Sample::Number(i64::try_from(input.len()).unwrap_or(i64::MAX))),
        Fetch::Payload(_, offset, length) => {
            payload(input, *offset, *length).is_ok_and(|part| found(Sample::Text(part)))
        }
        Fetch::HelloType => hello_type(input).is_ok_and(|kind| found(Sample::Number(kind.into()))),
        Fetch::ServerNameIndication => {
            server_name(input).is_ok_and(|name| found(Sample::Text(name)))
        }
        _ => false,
    }
}

/// Why there is none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It may be in what is still to come.
    Yet,
    /// There will be none.
    Ever,
}

/// `req.payload(OFFSET,LENGTH)`; without a length all that is there.
pub(super) fn payload(input: &[u8], offset: usize, length: usize) -> Result<&[u8], Missing> {
    let behind = input.get(offset..).ok_or(Missing::Yet)?;
    if length == 0 { Ok(behind) } else { behind.get(..length).ok_or(Missing::Yet) }
}

/// The type of the handshake's first message: 1 is a ClientHello. As with HAProxy all of that message
/// has to be there.
pub(super) fn hello_type(input: &[u8]) -> Result<u8, Missing> {
    const SHORTEST: usize = 4;
    let first = *input.first().ok_or(Missing::Yet)?;
    if !matches!(first, 0x14..=0x17 | 0xff) {
        return Err(Missing::Ever);
    }
    let (record, message) = input.split_at_checked(5).ok_or(Missing::Yet)?;
    let (head, rest) = message.split_at_checked(SHORTEST).ok_or(Missing::Yet)?;
    if record[1] < 3 || usize::from(short(record, 3)) < SHORTEST {
        return Err(Missing::Ever);
    }
    if rest.len() < length_of(head) {
        return Err(Missing::Yet);
    }
    Ok(head[0])
}

/// The name of the server that a ClientHello is for. As with HAProxy all of it has to be in one record.
pub(super) fn server_name(input: &[u8]) -> Result<&[u8], Missing> {
    const HANDSHAKE: u8 = 0x16;
    const CLIENT_HELLO: u8 = 1;
    let first = *input.first().ok_or(Missing::Yet)?;
    if first != HANDSHAKE || input.get(1).is_some_and(|major| *major < 3) {
        return Err(Missing::Ever);
    }
    let message = input.get(5..).ok_or(Missing::Yet)?;
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Missing::Ever);
    }
    let (head, rest) = message.split_at_checked(4).ok_or(Missing::Yet)?;
    let hello = rest.get(..length_of(head)).ok_or(Missing::Yet)?;
    named(hello).ok_or(Missing::Ever)
}

/// The host name of a ClientHello's `server_name` extension.
fn named(hello: &[u8]) -> Option<&[u8]> {
    const SERVER_NAME: u16 = 0;
    const HOST_NAME: u8 = 0;
    let mut rest = hello.get(2 + 32..)?;
    let _session = part(&mut rest, 1)?;
    let _ciphers = part(&mut rest, 2)?;
    let _compressions = part(&mut rest, 1)?;
    let mut extensions = part(&mut rest, 2)?;
    loop {
        let kind = short(extensions.get(..2)?, 0);
        extensions = &extensions[2..];
        let mut extension = part(&mut extensions, 2)?;
        if kind != SERVER_NAME {
            continue;
        }
        let mut names = part(&mut extension, 2)?;
        let (kind, mut name) = names.split_first()?;
        names = part(&mut name, 2)?;
        return (*kind == HOST_NAME).then_some(names);
    }
}

/// Takes what a length of so many bytes stands before.
fn part<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_at_checked(size)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (part, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

/// The length in the four bytes that a handshake's message begins with.
fn length_of(head: &[u8]) -> usize {
    head[1..4].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with these extensions.
    fn hello(extensions: &[u8]) -> Vec<u8> {
        let with = |size: usize, bytes: &[u8]| {
            let length = bytes.len().to_be_bytes();
            [&length[length.len() - size..], bytes].concat()
        };
        let body = [
            [3, 3].as_slice(),
            &[7; 32],
            &with(1, &[9; 32]),
            &with(2, &[0x13, 1]),
            &with(1, &[0]),
            &with(2, extensions),
        ]
        .concat();
        let message = [[1].as_slice(), &with(3, &body)].concat();
        [[0x16, 3, 1].as_slice(), &with(2, &message)].concat()
    }

    const NAME: &[u8] = &[0, 0, 0, 8, 0, 6, 0, 0, 3, b'a', b'.', b'b'];

    #[test]
    fn a_server_is_named_once_all_of_it_is_there() {
        let other = [0, 23, 0, 0];
        for extensions in [NAME.to_vec(), [&other, NAME].concat(), [NAME, &other].concat()] {
            let hello = hello(&extensions);
            for end in 0..hello.len() {
                assert_eq!(server_name(&hello[..end]), Err(Missing::Yet), "{end}");
                assert_eq!(hello_type(&hello[..end]), Err(Missing::Yet), "{end}");
            }
            assert_eq!(server_name(&hello), Ok(b"a.b".as_slice()));
            assert_eq!(hello_type(&[hello.as_slice(), b"more"].concat()), Ok(1));
        }
        assert_eq!(server_name(&hello(&[0, 23, 0, 0])), Err(Missing::Ever));
        assert_eq!(server_name(&hello(&NAME[..11])), Err(Missing::Ever));
        for other in [b"GET / HTTP/1.1".as_slice(), b"\x16\x02", b"\x80\x2e\x01"] {
            assert_eq!(server_name(other), Err(Missing::Ever));
        }
        assert_eq!(hello_type(b"GET"), Err(Missing::Ever));
    }

    #[test]
    fn a_payload_is_there_once_it_is_whole() {
        assert_eq!(payload(b"abc", 1, 2), Ok(b"bc".as_slice()));
        assert_eq!(payload(b"abc", 1, 0), Ok(b"bc".as_slice()));
        assert_eq!(payload(b"abc", 3, 0), Ok(b"".as_slice()));
        assert_eq!(payload(b"abc", 2, 2), Err(Missing::Yet));
        assert_eq!(payload(b"abc", 4, 0), Err(Missing::Yet));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120), cut in 0_usize..80) {
            let mut hello = hello(NAME);
            hello.splice(cut.min(hello.len()).., bytes.iter().copied());
            for input in [&bytes, &hello] {
                let _ = (server_name(input), hello_type(input));
            }
        }
    }
}
