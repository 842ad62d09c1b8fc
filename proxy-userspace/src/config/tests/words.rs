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

#[test]
fn wrong_words_of_a_log_line_are_named_where_they_stand() {
    for (line, words) in [
        ("log", "2:5: 'log' expects an address and a facility, or 'global'"),
        ("log 127.0.0.1", "2:15: 'log facility' expects one of kern, "),
        ("log 127.0.0.1 len 7 local0", "2:20: 'len' expects a number from 80 to 65535, not '7'"),
        ("log 127.0.0.1 format rfc local0", "2:23: 'log format' expects one of local, "),
        ("log 127.0.0.1 sample 1:2 local0", "2:16: 'sample' of 'log' is HAProxy's"),
        ("log ring@a local0", "2:6: 'log': 'ring@' is HAProxy's"),
        ("log 127.0.0.1 local0 notic", "2:23: 'log level' expects one of emerg, "),
        ("log 127.0.0.1 local0 info err x", "2:32: 'log' takes no further word: 'x'"),
        ("log global local0", "2:13: 'log' takes no further word: 'local0'"),
    ] {
        let said = said(&format!("backend b\n {line}\n"));
        assert!(said.contains(&format!("test.cfg:{words}")), "{line}: {said}");
        assert_eq!(said.matches("[ALERT]").count(), 1, "{line}: {said}");
    }
}

#[test]
fn wrong_words_of_retry_on_are_named() {
    let (_, findings) = read(
        "defaults\n mode http\n retry-on 503 empty-response\nbackend b\n retry-on\n\
         retry-on empty\n\
         retry-on 400\n\
         retry-on none 503\n\
         retry-on 503 none\n\
         retry-on all-retryable-errors 404 0rtt-rejected conn-failure\n\
         retry-on none\nfrontend f\n bind :80\n retry-on 503\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    for words in [
        "[ALERT] test.cfg:5:10: 'retry-on' expects some of none, conn-failure, ",
        "[ALERT] test.cfg:6:10: 'retry-on' expects some of none, conn-failure, ",
        "not 'empty'",
        "[ALERT] test.cfg:7:10: 'retry-on' expects some of none, ",
        "[ALERT] test.cfg:8:10: 'none' stands alone behind 'retry-on'",
        "[ALERT] test.cfg:9:14: 'none' stands alone behind 'retry-on'",
        "[WARNING] test.cfg:14:2: 'retry-on' cannot stand in a 'frontend' section: it is ignored",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(said.matches("[ALERT]").count(), 5, "{said}");
}
