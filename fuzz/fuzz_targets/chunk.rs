#![no_main]
//! Chunked bodies: however the bytes arrive, the same data is found, or the same fault.

use libfuzzer_sys::fuzz_target;
use teardown::http::chunked::{Chunked, Piece};
use teardown::http::refusal::Refusal;

/// The data, how many bytes were the body's, and whether it is over.
type Decoded = Result<(Vec<u8>, usize, bool), Refusal>;

fn decode(wire: &[u8], size: usize) -> Decoded {
    let mut chunked = Chunked::default();
    let (mut data, mut at) = (Vec::new(), 0);
    while at < wire.len() && !chunked.is_over() {
        let part = &wire[at..wire.len().min(at + size)];
        let left = chunked.left();
        match chunked.next(part)? {
            Piece::Data(count) => {
                assert!(count > 0 && count as u64 <= left);
                data.extend_from_slice(&part[..count]);
                at += count;
            }
            Piece::Framing(count) | Piece::End(count) => at += count,
        }
        assert!(at <= wire.len());
    }
    Ok((data, at, chunked.is_over()))
}

fuzz_target!(|data: &[u8]| {
    let Some((size, wire)) = data.split_first() else { return };
    let whole = decode(wire, usize::MAX / 2);
    assert_eq!(decode(wire, 1), whole);
    assert_eq!(decode(wire, usize::from(*size).max(1)), whole);
    if let Ok((_, used, over)) = whole {
        let mut chunked = Chunked::default();
        assert_eq!(chunked.follow(wire), Ok((used, over)));
        // What comes after the end does not matter.
        assert!(!over || decode(&wire[..used], 1).is_ok_and(|(_, all, end)| end && all == used));
    }
});
