//! What is said of rules and error pages that are wrong.

use super::*;

#[test]
fn wrong_rules_give_their_place_and_what_would_be_right() {
    let (_, findings) = read(
        "defaults\n mode http\nfrontend a\n bind :80\n\
         http-request set-path\n\
         http-request set-pth /a\n\
         http-request set-method A/B\n\
         http-request set-method HEAD\n\
         http-request replace-path (a b\n\
         http-request replace-path a \\1\\\n\
         http-request replace-header a:b c d\n\
         http-request set-log-level warn\n\
         http-request reject now\n\
         http-request use-service x\n\
         http-response set-path /a\n\
         http-response set-status 304\n\
         http-response set-status 200 reason \"a\\nb\"\n\
         http-response redirect prefix /a\n\
         http-after-response deny\n\
         http-request set-var path\n\
         http-request set-var(a) path\n\
         http-request set-var(txn.a-b) path\n\
         http-request set-var(txn.a) res.hdr(x)\n\
         http-request set-var(txn.a,ifexists) path\n\
         http-request unset-var(proc.a)\n\
         http-request deny if { var(txn.a) b }\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    for words in [
        "test.cfg:5:22: 'set-path' expects a format string",
        "test.cfg:6:14: 'http-request' expects one of allow, ",
        "did you mean 'set-path'?",
        "test.cfg:7:25: 'A/B' is not a method's name",
        "test.cfg:8:25: 'set-method HEAD' would change where the response ends",
        "test.cfg:9:27: '(a' is not a regular expression",
        "test.cfg:10:29: 'replace-path': nothing follows the last backslash",
        "test.cfg:11:29: 'a:b' is not a header's name",
        "test.cfg:12:28: 'set-log-level' expects one of emerg, ",
        "did you mean 'warning'?",
        "test.cfg:13:21: expected 'if' or 'unless' and a condition, not 'now'",
        "test.cfg:14:14: 'http-request use-service' is HAProxy's",
        "test.cfg:15:15: 'http-response' expects one of allow, ",
        "test.cfg:16:26: 'set-status 304' would change where the response ends",
        "test.cfg:17:37: a reason has no control characters",
        "test.cfg:18:24: 'redirect' of a response expects 'location', not 'prefix'",
        "test.cfg:19:21: 'http-after-response' expects one of allow, ",
        "test.cfg:20:14: 'set-var' expects a variable's name: set-var(txn.NAME)",
        "test.cfg:21:14: 'set-var': a variable begins with sess., txn., req. or res., not 'a'",
        "test.cfg:22:14: 'set-var': a variable's name has letters",
        "test.cfg:23:29: 'set-var': 'res.hdr(x)' takes something from the response",
        "test.cfg:24:14: conditions in 'set-var' are HAProxy's",
        "test.cfg:25:14: 'unset-var': variables of 'proc' are HAProxy's",
        "test.cfg:26:35: 'var(txn.a)' may be of any type: say how to compare it",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn wrong_error_pages_give_their_place_and_what_would_be_right() {
    let (_, findings) = read(
        "http-errors one\n errorfile 404 /dev/null\n errorloc 404 /a\nhttp-errors one\n\
         defaults\n mode http\n errorfiles tow\nfrontend a\n bind :80\n\
         errorloc 402 /a\n\
         errorfiles one 402\n\
         http-error content-type text/plain string a\n\
         http-error status 404 string a\n\
         http-error status 402\n\
         http-error status 404 errorfiles none\n\
         unique-id-format a%[unique-id]\nunique-id-header a:b\nunique-id-format %[res.hdr(x)]\n\
         http-request return status 200 hdr \"A: b\" c\n\
         http-request return status 200 content-type \"a\\r\\nB: c\" string d\n\
         http-request deny errorfile /dev/null hdr A b\n\
         http-request return default-errorfiles content-type a/b\n\
         http-request return content-type a/b string a string b\n\
         http-request deny default-errorfiles errorfile /dev/null\n\
         http-request return content-type a/b\n\
         http-request deny hdr A b deny_status 404\n\
         http-request deny deny_status 402\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    for words in [
        "test.cfg:3:2: unknown keyword 'errorloc' in 'http-errors' section",
        "test.cfg:4:1: http-errors 'one' has the name of the one at test.cfg:1:1",
        "test.cfg:7:13: there is no section 'http-errors tow'",
        "test.cfg:10:10: 'errorloc' expects one of the status codes 200, ",
        "test.cfg:11:16: 'errorfiles' expects one of the status codes 200, ",
        "test.cfg:12:12: 'http-error' expects 'status'",
        "'http-error' with a body expects its 'content-type' too",
        "test.cfg:14:19: there are error pages of 200, ",
        "test.cfg:15:34: there is no section 'http-errors none'",
        "test.cfg:16:18: 'unique-id-format' cannot take 'unique-id'",
        "test.cfg:17:18: 'a:b' is not a header's name",
        "test.cfg:18:18: 'unique-id-format': 'res.hdr(x)' takes something from the response",
        "test.cfg:19:36: 'A: b' is not a header's name",
        "test.cfg:20:45: a 'content-type' has no control characters",
        "[WARNING] test.cfg:21:39: this 'hdr' changes nothing: an error page",
        "[WARNING] test.cfg:22:40: this 'content-type' changes nothing: there is no body",
        "test.cfg:23:47: 'string' cannot stand beside 'string': both say what is sent",
        "test.cfg:24:38: 'errorfile' cannot stand beside 'default-errorfiles'",
        "[WARNING] test.cfg:25:21: this 'content-type' changes nothing: there is no body",
        "test.cfg:26:27: expected 'if' or 'unless' and a condition, not 'deny_status'",
        "test.cfg:27:31: there are error pages of 200, ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(said.matches("http-errors tow").count(), 1, "{said}");
}
