//! Single words.

use super::*;

fn said(text: &str) -> String {
    read(text, Strictness::Strict).1.to_string()
}

#[test]
fn a_network_may_have_a_mask() {
    let text = "backend b\n mode http\n option forwardfor except 10.0.0.0/255.0.0.0\n";
    let (config, findings) = read(text, Strictness::Strict);
    assert!(!findings.is_fatal(), "{findings}");
    let except = config.proxies[0].settings.forward_for.as_ref().and_then(|said| said.except);
    assert_eq!(except, crate::prefix::Prefix::new([10, 0, 0, 0].into(), 8));
    assert!(said(&text.replace("255.0.0.0", "255.0.255.0")).contains("expects a network"));
}

/// As HAProxy's.
#[test]
fn a_section_without_a_name_is_called_by_its_keyword() {
    let said = said(
        "global\n.notice \"<${.SECTION}>\"\ndefaults\n.notice \"<${.SECTION}>\"\ndefaults a\n\
         .notice \"<${.SECTION}>\"\nbackend b\n.notice \"<${.SECTION}>\"\n",
    );
    for (line, name) in [(2, "global"), (4, "defaults"), (6, "a"), (8, "b")] {
        assert!(said.contains(&format!("test.cfg:{line}:1: <{name}>")), "{said}");
    }
}

/// It may be a later HAProxy's.
#[test]
fn what_is_passed_over_may_have_unknown_directives() {
    let text = ".if WHEN\n.new\n.notice seen\n.endif\n";
    let passed_over = said(&text.replace("WHEN", "0"));
    assert!(!passed_over.contains(".new") && !passed_over.contains("seen"), "{passed_over}");
    assert!(said(&text.replace("WHEN", "1")).contains("2:1: unknown directive '.new'"));
}

#[test]
fn a_server_may_be_called_by_a_keyword() {
    for line in ["server close close:1", "server-template close 2 close:1"] {
        let once = format!("backend b\n {line} close like haproxy-1.4\n");
        assert!(!said(&once).contains("[ALERT]"), "{line}: {}", said(&once));
        let twice = once.replace("haproxy-1.4", "haproxy-1.4 weight 5 close like haproxy-1.5");
        assert!(said(&twice).contains("'close' stands once"), "{line}: {}", said(&twice));
    }
}
