use super::*;
use proptest::prelude::*;

fn bytes_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
}

/// 192.0.2.1:1000 to 192.0.2.2:80.
const ENDS: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 0, 80];

fn some_ends() -> Option<Ends> {
    Some(["192.0.2.1:1000", "192.0.2.2:80"].map(|end| end.parse().unwrap()))
}

#[test]
fn lines_are_read_strictly() {
    use Fault::{Invalid, Other, Protocol, Truncated};
    let wide = ["[2001:db8::1]:1000", "[2001:db8::2]:0"].map(|end| end.parse().unwrap());
    let long = format!("PROXY TCP6 {} 1 2\r\n", "1".repeat(100));
    let cases = [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nGET", Ok((40, some_ends()))),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1000 0\r\n", Ok((43, Some(wide)))),
        ("PROXY UNKNOWN\r\nGET", Ok((15, None))),
        // As HAProxy, though the protocol has what follows ignored.
        ("PROXY UNKNOWN ::1 ::1 1 2\r\n", Err(Protocol)),
        ("PROXY TCP5 192.0.2.1 192.0.2.2 1000 80\r\n", Err(Protocol)),
        ("PROXY tcp4 192.0.2.1 192.0.2.2 1000 80\r\n", Err(Protocol)),
        ("PROX", Err(Truncated)),
        ("PROXY TC", Err(Truncated)),
        ("PROXY UNKNOWN\r", Err(Truncated)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80", Err(Truncated)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r", Err(Truncated)),
        ("GET / HTTP/1.1\r\n\r\n", Err(Other)),
        ("GET / HTTP", Err(Truncated)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\r\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2.1  192.0.2.2 1000 80\r\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80 \r\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1000\r\n", Err(Invalid)),
        // HAProxy reads these as other addresses and ports than are written there.
        ("PROXY TCP4 192.0.2.256 192.0.2.2 1000 80\r\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2 192.0.2.2 1000 80\r\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 70000 80\r\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2  80\r\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 80\r\n", Err(Invalid)),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 80\r\n", Err(Invalid)),
        ("PROXY TCP4 ::1 ::1 1 80\r\n", Err(Invalid)),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 80\r\n", Err(Invalid)),
        (&long, Err(Invalid)),
    ];
    for (text, want) in cases {
        assert_eq!(read(text.as_bytes()), want, "{text:?}");
    }
}

#[test]
fn bytes_are_read_strictly() {
    use Fault::{Invalid, Other, Truncated};
    let with = |fields: &[u8]| bytes_of(PROXY, INET, &[&ENDS, fields].concat());
    let sum = {
        let unsummed = with(&[CRC32C, 0, 4, 0, 0, 0, 0]);
        checksum(&unsummed[..HEADER + 12 + 3], &[])
    };
    let summed = with(&[[CRC32C, 0, 4].as_slice(), &sum].concat());
    let mut wrong = summed.clone();
    wrong[20] ^= 1;
    let cases = [
        (with(&[]), Ok((28, some_ends()))),
        (with(&[4, 0, 3, 1, 2, 3]), Ok((34, some_ends()))),
        (with(&[4, 0, 4, 1, 2, 3]), Err(Invalid)),
        (with(&[4, 0]), Err(Invalid)),
        (summed, Ok((35, some_ends()))),
        (wrong, Err(Invalid)),
        (with(&[CRC32C, 0, 1, 0]), Err(Invalid)),
        (bytes_of(LOCAL, INET, &ENDS), Ok((28, None))),
        (bytes_of(LOCAL, 0, &[4, 0]), Ok((18, None))),
        (bytes_of(PROXY, INET, &ENDS[..11]), Err(Invalid)),
        (bytes_of(PROXY, 0, &[]), Err(Invalid)),
        (bytes_of(PROXY, 0x31, &[0; 216]), Err(Invalid)),
        (bytes_of(0x22, INET, &ENDS), Err(Invalid)),
        (bytes_of(0x11, INET, &ENDS), Err(Other)),
        (with(&[])[..27].to_vec(), Err(Truncated)),
        (with(&[])[..15].to_vec(), Err(Truncated)),
    ];
    for (bytes, want) in cases {
        assert_eq!(read(&bytes), want, "{bytes:?}");
    }
}

#[test]
fn the_checksum_is_that_of_its_standard() {
    // RFC 9260 has no example; RFC 3720, B.4 has this one, of 32 zeros.
    assert_eq!(checksum(&[0; 28], &[]), 0x8a91_36aa_u32.to_be_bytes());
}

proptest! {
    #[test]
    fn what_is_written_reads_back(from: SocketAddr, to: SocketAddr, v2: bool, rest: Vec<u8>) {
        let version = if v2 { Version::V2 } else { Version::V1 };
        let mut out = Vec::new();
        write(version, Some([from, to]), &mut out);
        let length = out.len();
        out.extend(rest);
        let ends = match (from.ip(), to.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) => [from, to],
            _ => [from, to].map(|end| SocketAddr::new(wide(end.ip()).into(), end.port())),
        };
        prop_assert_eq!(read(&out), Ok((length, Some(ends))));
        out.clear();
        write(version, None, &mut out);
        prop_assert_eq!(read(&out), Ok((out.len(), None)));
    }

    #[test]
    fn no_bytes_are_too_odd(bytes: Vec<u8>, command: u8, family: u8) {
        let _ = read(&bytes);
        let _ = read(&[b"PROXY TCP4 ".as_slice(), &bytes].concat());
        let _ = read(&bytes_of(command, family, &bytes));
    }
}
