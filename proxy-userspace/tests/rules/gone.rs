//! Words that HAProxy has no more: both refuse them, and name the same words for them.

use std::path::Path;
use std::process::Command;

use teardown::config::directives::{GLOBAL_GONE, Gone, OPTION_GONE, PROXY_GONE};
use teardown::config::{Strictness, load};

/// A configuration with that word in it.
type With = fn(&str) -> String;

/// What HAProxy and teardown say of a configuration, in a line each.
fn said(folder: &Path, text: &str) -> (String, String) {
    let file = folder.join("gone.cfg");
    std::fs::write(&file, text).expect("writes");
    let output = Command::new("/usr/sbin/haproxy").args(["-c", "-f"]).arg(&file).output();
    let output = output.expect("HAProxy is installed (cargo xtask test sees to it)");
    let (_, findings) = load(&[file], Strictness::Strict).expect("reads");
    assert!(findings.is_fatal(), "{text}: {findings}");
    (String::from_utf8_lossy(&output.stderr).into_owned(), findings.to_string())
}

#[test]
fn both_say_what_took_a_words_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let proxy: With = |name| format!("defaults\n mode http\nlisten a\n bind :1\n {name} x y\n");
    let option: With =
        |name| format!("defaults\n mode http\nlisten a\n bind :1\n option {name} x y\n");
    let global: With = |name| format!("global\n {name} 1\n");
    let all: [(&[Gone], With); 3] =
        [(PROXY_GONE, proxy), (OPTION_GONE, option), (GLOBAL_GONE, global)];
    for (list, configuration) in all {
        for gone in list {
            let (theirs, ours) = said(folder.path(), &configuration(gone.name));
            let line = theirs.lines().find(|line| line.contains("parsing [")).expect(gone.name);
            let is_gone =
                ["any more", "anymore", "not supported"].iter().any(|not| line.contains(not));
            assert!(is_gone, "{line}");
            let ours =
                ours.lines().find(|line| line.contains("gone from HAProxy")).expect(gone.name);
            if let Some((_, since)) = line.split_once("since HAProxy ") {
                let since = since.trim_start_matches("version ");
                assert!(since.starts_with(gone.since), "{}: {line}", gone.name);
            }
            // What stands in quotes behind "Use".
            let instead = line.split_once("Use ").map_or("", |(_, instead)| instead);
            for words in instead.split('\'').skip(1).step_by(2) {
                let last = words.split(' ').next_back().expect("a word");
                assert!(ours.contains(last), "{}: {last}: {ours}", gone.name);
            }
        }
    }
    // As HAProxy, also in the place of the new word.
    for (word, new) in [("clitimeout", "client"), ("contimeout", "connect")] {
        let (theirs, ours) = said(folder.path(), &proxy(&format!("timeout {word}")));
        let new = format!("'timeout {new}'");
        assert!(theirs.contains(&new) && ours.contains(&new), "{theirs}{ours}");
    }
}
