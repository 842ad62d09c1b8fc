//! Rules of `defaults`.

use super::*;

/// What `haproxy -c` refuses, too.
#[test]
fn rules_of_defaults_are_for_frontends_or_for_backends() {
    let said = |text: &str| {
        let text = text.replace("RULE", " mode http\n http-request deny if TRUE");
        let (_, findings) = read(&text, Strictness::Strict);
        findings.list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (text, words) in [
        (
            "defaults\nRULE\n",
            "3:2: 'http-request' cannot stand in a 'defaults' section that has no name",
        ),
        (
            "defaults\n acl a path /\n",
            "2:2: 'acl' cannot stand in a 'defaults' section that has no name",
        ),
        (
            "defaults a\n redirect location /\n",
            "2:2: 'redirect' cannot stand in a 'defaults' section",
        ),
        (
            "defaults a\nRULE\nlisten b from a\n",
            "4:1: listen 'b' has the rules of the 'defaults' at test.cfg:1:1",
        ),
        (
            "defaults a\nRULE\nfrontend f from a\nfrontend g from a\nbackend b from a\n",
            "6:1: backend 'b' has the rules of the 'defaults' at test.cfg:1:1: these are for frontends or \
             for backends, and frontend 'f' has them too",
        ),
        ("defaults a\nRULE\nfrontend f\nbackend b\n", "5:1: backend 'b' has the rules"),
        (
            "defaults a\nRULE\ndefaults b from a\n",
            "4:17: 'defaults a' has rules: no other can be made of it",
        ),
        (
            "defaults a\nRULE\n acl x path /\nfrontend f from a\n http-request deny if x\n",
            "6:23: no acl 'x' stands before this",
        ),
    ] {
        let said = said(text);
        assert!(said.contains(&format!("[ALERT] test.cfg:{words}")), "{text}: {said}");
    }
    for text in [
        "defaults a\nRULE\nfrontend f from a\nfrontend g from a\n",
        "defaults a\n acl x path /\nlisten f from a\nbackend b from a\ndefaults b from a\n",
        "defaults a\nRULE\ndefaults\nlisten f\n",
    ] {
        assert!(!said(text).contains("[ALERT]"), "{text}: {}", said(text));
    }
}
