use proptest::prelude::*;

use super::*;

/// Feeds `wire` in pieces of the given sizes; returns the data and how much was consumed.
fn decode(wire: &[u8], sizes: &[usize]) -> Result<(Vec<u8>, usize, bool), Refusal> {
    let mut chunked = Chunked::default();
    let (mut data, mut at, mut turn) = (Vec::new(), 0, 0);
    while at < wire.len() && !chunked.is_over() {
        let size = sizes.get(turn % sizes.len().max(1)).copied().unwrap_or(wire.len()).max(1);
        turn += 1;
        let part = &wire[at..wire.len().min(at + size)];
        match chunked.next(part)? {
            Piece::Data(n) => {
                data.extend_from_slice(&part[..n]);
                at += n;
            }
            Piece::Framing(n) | Piece::End(n) => at += n,
        }
    }
    Ok((data, at, chunked.is_over()))
}

#[test]
fn plain_chunks() {
    let wire = b"5\r\nhello\r\n6;a=b;c=\"d;\\\"\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nGET /";
    let (data, used, over) = decode(wire, &[]).expect("well formed");
    assert_eq!((data.as_slice(), over), (&b"hello world"[..], true));
    assert_eq!(&wire[used..], b"GET /");
}

#[test]
fn refused_chunks() {
    let cases: &[(&[u8], Refusal)] = &[
        (b"\r\n", Refusal::ChunkSize),
        (b"g\r\n", Refusal::ChunkSize),
        (b"0x5\r\nhello\r\n", Refusal::ChunkSize),
        (b" 5\r\nhello\r\n", Refusal::ChunkSize),
        (b"+5\r\nhello\r\n", Refusal::ChunkSize),
        (b"-5\r\nhello\r\n", Refusal::ChunkSize),
        (b"5\nhello\r\n", Refusal::ChunkSize),
        (b"5\rhello\r\n", Refusal::ChunkSize),
        (b"5 \r\nhello\r\n", Refusal::ChunkExtension),
        (b"5 x\r\nhello\r\n", Refusal::ChunkExtension),
        (b"5;a\nhello\r\n", Refusal::ChunkExtension),
        (b"5;a=\"\r\n\"\r\nhello\r\n", Refusal::ChunkExtension),
        (b"5;\0\r\nhello\r\n", Refusal::ChunkExtension),
        (b"5\r\nhello0\r\n", Refusal::ChunkEnd),
        (b"5\r\nhello\n0\r\n", Refusal::ChunkEnd),
        (b"5\r\nhello\r\r\n", Refusal::ChunkEnd),
        (b"0000000000000005\r\nhello", Refusal::ChunkSize),
        (b"ffffffffffffffff\r\n", Refusal::ChunkSize),
        (b"0\r\nContent-Length: 5\r\n\r\n", Refusal::Trailer),
        (b"0\r\ntransfer-ENCODING: chunked\r\n\r\n", Refusal::Trailer),
        (b"0\r\nHost: a\r\n\r\n", Refusal::Trailer),
        (b"0\r\n folded: a\r\n\r\n", Refusal::Trailer),
        (b"0\r\nA : a\r\n\r\n", Refusal::Trailer),
        (b"0\r\nA: a\n\r\n", Refusal::Trailer),
        (b"0\r\nA: \0\r\n\r\n", Refusal::Trailer),
        (b"0\r\n\n", Refusal::Trailer),
        (b"0\r\n\rX", Refusal::Trailer),
    ];
    for (wire, refusal) in cases {
        let shown = wire.escape_ascii();
        assert_eq!(decode(wire, &[]).unwrap_err(), *refusal, "{shown}");
        assert_eq!(decode(wire, &[1]).unwrap_err(), *refusal, "{shown}, byte by byte");
    }
}

#[test]
fn overhead_is_limited() {
    let long = [b"5;", vec![b'a'; 20_000].as_slice()].concat();
    assert_eq!(decode(&long, &[]).unwrap_err(), Refusal::ChunkExtension);
    let long = [b"0\r\n", b"a:b\r\n".repeat(10_000).as_slice()].concat();
    assert_eq!(decode(&long, &[]).unwrap_err(), Refusal::Trailer);
}

proptest! {
    /// However the bytes arrive, the data is the same and the end is found.
    #[test]
    fn pieces_do_not_matter(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 0..8),
        sizes in prop::collection::vec(1_usize..40, 1..6),
        rest in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let end = wire.len();
        wire.extend_from_slice(&rest);
        let (data, used, over) = decode(&wire, &sizes).expect("well formed");
        prop_assert!(over);
        prop_assert_eq!(used, end);
        prop_assert_eq!(data, chunks.concat());
    }

    /// Any bytes are taken or refused the same way in one piece as byte by byte.
    #[test]
    fn any_bytes(wire in prop::collection::vec(prop::sample::select(
        b"0123aF;=\" \t\r\n\\x:\0\x80".to_vec()), 0..60)) {
        prop_assert_eq!(decode(&wire, &[]), decode(&wire, &[1]));
    }
}
