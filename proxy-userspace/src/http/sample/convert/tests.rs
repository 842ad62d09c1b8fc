use super::*;

/// The manual's examples, and what HAProxy 2.6 does with others.
#[test]
fn fields_and_words_are_haproxys() {
    let of = |text: &str, index, count, words| {
        let delimiters: &[u8] = if text.starts_with('/') { b"/" } else { b"_" };
        part(text.as_bytes(), index, delimiters, count, words)
            .map(|part| String::from_utf8(part.to_vec()).unwrap())
    };
    let text = "f1_f2_f3__f5";
    for (text, index, count, words, part) in [
        (text, 5, 1, false, "f5"),
        (text, 2, 0, false, "f2_f3__f5"),
        (text, 2, 2, false, "f2_f3"),
        (text, -2, 3, false, "f2_f3_"),
        (text, -3, 0, false, "f1_f2_f3"),
        (text, 4, 1, true, "f5"),
        (text, 2, 0, true, "f2_f3__f5"),
        (text, 3, 2, true, "f3__f5"),
        (text, -2, 3, true, "f1_f2_f3"),
        (text, -3, 0, true, "f1_f2"),
        ("/f1/f2/f3/f4", 1, 1, true, "f1"),
        ("/2//x", 2, 2, false, "2/"),
        ("/unset", 2, 2, false, "unset"),
    ] {
        let got = of(text, index, count, words);
        assert_eq!(got.as_deref(), Some(part), "{text} {index} {count} {words}");
    }
    for (text, index, words) in [(text, 6, false), (text, 5, true), (text, -5, true), ("", 1, true)]
    {
        assert_eq!(of(text, index, 1, words), None, "{text} {index} {words}");
    }
}

#[test]
fn numbers_do_not_overflow() {
    for (operator, a, b, result) in [
        (Operator::Add, i64::MAX, 1, i64::MAX),
        (Operator::Subtract, i64::MIN, 1, i64::MIN),
        (Operator::Multiply, i64::MAX, 2, i64::MAX),
        (Operator::Divide, 7, 0, i64::MAX),
        (Operator::Divide, i64::MIN, -1, i64::MAX),
        (Operator::Remainder, 7, 0, 0),
        (Operator::Remainder, i64::MIN, -1, 0),
    ] {
        assert_eq!(operator.apply(a, b), result, "{operator:?} {a} {b}");
    }
}

#[test]
fn what_is_not_encoded_is_nothing() {
    assert_eq!(url_decoded(b"a%20b+c?d+e", false).unwrap(), b"a b+c?d e");
    assert_eq!(url_decoded(b"a+b", true).unwrap(), b"a b");
    assert_eq!(url_decoded(b"a%2", false), None);
    assert_eq!(url_decoded(b"a%zz", false), None);
    assert_eq!(url_decoded(b"a%+A", false), None);
}

#[test]
fn hosts_have_ports_or_not() {
    for (host, halves) in [
        ("h", ("h", "")),
        ("h:80", ("h", "80")),
        ("[::1]", ("[::1]", "")),
        ("[::1]:80", ("[::1]", "80")),
    ] {
        let (name, port) = host_and_port(host.as_bytes());
        assert_eq!((name, port), (halves.0.as_bytes(), halves.1.as_bytes()), "{host}");
    }
}
