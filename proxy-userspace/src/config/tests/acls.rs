//! What acls say, and what is said of those that are wrong.

use super::*;

/// What is said of `http-request deny if { TEST }`.
fn said_of(test: &str) -> String {
    let text = format!(
        "defaults\n mode http\nfrontend a\n bind :80\n http-request deny if {{ {test} }}\n"
    );
    read(&text, Strictness::Strict).1.to_string()
}

#[test]
fn acls_that_haproxy_alone_defines_are_named() {
    let said = |name: &str| {
        let text = format!("backend a\n mode http\n http-request deny if {name}\n");
        read(&text, Strictness::Strict).1.to_string().contains("is HAProxy's")
    };
    assert!(said("RDP_COOKIE") && !said("REQ_CONTENT") && !said("WAIT_END"));
}

#[test]
fn a_wrong_pattern_is_named_where_it_stands() {
    for (test, words) in [
        ("src 127.0.0.1 x 10.0.0.0/8", "5:39: 'x' is not an IPv4 or IPv6 address"),
        ("src_port gt 5 lt x 7", "5:42: 'x' is neither a number, a range"),
        ("path -m reg a b( c", "5:39: 'b(' is not a regular expression"),
    ] {
        let said = said_of(test);
        assert!(said.contains(&format!("test.cfg:{words}")), "{test}: {said}");
    }
}

/// As HAProxy has it: with others, such as `path_int`, a number would be compared as a text.
#[test]
fn a_familys_endings_are_those_that_haproxy_has() {
    for family in ["path", "base", "url", "hdr", "urlp"] {
        let argument = if matches!(family, "hdr" | "urlp") { "(x)" } else { "" };
        for ending in ["found", "bool", "int", "str"] {
            let said = said_of(&format!("{family}_{ending}{argument} 1"));
            let words = format!("unknown fetch '{family}_{ending}'");
            assert!(said.contains(&words), "{family}_{ending}: {said}");
        }
        for ending in ["beg", "dir", "dom", "end", "len", "reg", "sub"] {
            let said = said_of(&format!("{family}_{ending}{argument} 1"));
            assert!(!said.contains("test.cfg:5"), "{family}_{ending}: {said}");
        }
    }
}
