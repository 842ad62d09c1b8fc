use super::*;
use crate::config::expression::expression;

fn request<'a>(target: &'a str, fields: &'a [httparse::Header<'a>]) -> Request<'a> {
    Request { method: "GET", target, minor: 1, fields, client: None, local: None }
}

/// All samples of an expression, and what a format writes of it.
fn samples(text: &str, request: &Request<'_>) -> (Vec<String>, String) {
    let expression = expression(text).unwrap();
    let view = View { request: Some(request), ..View::default() };
    let show = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let mut all = Vec::new();
    expression.any(&view, &mut |sample| {
        all.push(show(&|out| sample.write(out)));
        false
    });
    (all, show(&|out| expression.write(&view, out)))
}

fn of_field(text: &str, value: &str) -> (Vec<String>, String) {
    let fields = [httparse::Header { name: "X", value: value.as_bytes() }];
    samples(text, &request("/", &fields))
}

#[test]
fn addresses_and_numbers_of_fields_are_read_as_haproxy_reads_them() {
    assert_eq!(of_field("hdr_ip(x)", "10.1.2.3:80").1, "10.1.2.3");
    assert_eq!(of_field("hdr_ip(x)", "::1, nobody").0, ["::1"]);
    assert_eq!(of_field("req.hdr_ip(x)", "nobody").1, "");
    for (value, number) in
        [("12abc", "12"), ("a", "0"), ("-3", "-3"), (&"9".repeat(30), "9223372036854775807")]
    {
        assert_eq!(of_field("hdr_val(x)", value).1, number, "{value}");
    }
}

#[test]
fn commas_in_quotes_part_no_values() {
    assert_eq!(of_field("hdr_cnt(x)", r#""a,b",c"#).1, "2");
    assert_eq!(of_field("hdr(x,1)", r#""a\",b", c"#).1, r#""a\",b""#);
    assert_eq!(of_field("hdr(x)", r"a\,b").0, [r"a\", "b"]);
}

/// As HAProxy has it.
#[test]
fn a_target_without_a_path_has_none() {
    let of = |text, target| samples(text, &request(target, &[])).0;
    for target in ["*", "x:443", "http://x"] {
        assert_eq!([of("path", target), of("pathq", target)], [[""; 0]; 2], "{target}");
        assert_eq!(of("base", target), [""], "{target}");
    }
    let target = "http://x?y=/a";
    assert_eq!([of("path", target), of("pathq", target)], [[""; 0]; 2]);
    assert_eq!([of("query", target), of("url_param(y)", target)], [["y=/a"], ["/a"]]);
    let target = "http://x/a?b";
    assert_eq!([of("path", target), of("pathq", target)], [["/a"], ["/a?b"]]);
}

#[test]
fn a_parameter_may_come_several_times() {
    let (all, written) = samples("url_param(x)", &request("/?y=0&x=a;x=b&x=c#x=d", &[]));
    assert_eq!((all, written), (vec!["a".into(), "b".into(), "c".into()], "a".into()));
}
