//! Wrong input: a clear message that names the culprit, and the right exit code.

use crate::support::netns::Netns;
use crate::support::watch::{teardown, teardown_as_nobody};
use std::process::Command;

/// Runs the command in a namespace of its own; gives its exit code and its words.
fn ends(command: &mut Command) -> (Option<i32>, String) {
    let netns = Netns::new();
    let output = netns.run(|| command.output()).expect("the command runs");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!words.contains("panicked"), "{words}");
    assert!(output.stdout.is_empty(), "errors go to standard error: {output:?}");
    (output.status.code(), words)
}

/// Runs `teardown watch` with `arguments`, which are wrong, and expects the code and all words.
#[track_caller]
fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let (ended, said) = ends(teardown().arg("watch").args(arguments));
    assert_eq!(ended, Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: no {word:?} in {said:?}");
    }
}

#[test]
fn words_that_make_no_sense_are_usage_errors() {
    refused(&["--port", "70000"], 2, &["70000", "--port"]);
    refused(&["--port", "http"], 2, &["http", "--port"]);
    refused(&["--host", "10.0.0.300"], 2, &["10.0.0.300", "--host"]);
    refused(&["--ingress", "raw"], 2, &["raw", "tc", "xdp"]);
    refused(&["--duration", "soon"], 2, &["soon", "--duration"]);
    refused(&["--count", "-1"], 2, &["-1"]);
    refused(&["--no-such-flag"], 2, &["--no-such-flag"]);
}

#[test]
fn an_unknown_interface_is_named() {
    refused(&["--interface", "nosuch0"], 1, &["nosuch0"]);
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    refused(&["-f", "/nonexistent/haproxy.cfg"], 1, &["/nonexistent/haproxy.cfg"]);
    refused(&["-f", "/proc/self"], 1, &["/proc/self"]);
}

#[test]
fn a_wrong_configuration_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wrong.cfg");
    let file = path.to_str().expect("UTF-8");
    // Nothing in it that names a connection: of no use.
    std::fs::write(&path, "this is no configuration\n").expect("written");
    refused(&["-f", file], 1, &[file, "bind", "server"]);
    // It is another proxy's file: what is wrong in it is said, the rest serves.
    std::fs::write(&path, "listen a\n  bind :80\n  server s1 10.0.0.1:99999\n").expect("written");
    let watch = teardown().args(["watch", "--duration", "100ms", "-f", file]).output();
    let watch = watch.expect("it runs");
    let said = String::from_utf8_lossy(&watch.stderr).into_owned();
    assert_eq!(watch.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("{file}:3:")) && said.contains("99999"), "{said}");
}

#[test]
fn without_root_it_says_what_it_needs() {
    let (code, said) = ends(teardown_as_nobody().arg("watch"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("root") || said.contains("CAP_"), "{said}");
}

#[test]
fn without_btf_it_says_so() {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]);
    command.arg("mount --bind /dev/null /sys/kernel/btf/vmlinux && exec \"$0\" watch");
    command.arg(env!("CARGO_BIN_EXE_teardown"));
    let (code, said) = ends(&mut command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("BTF"), "{said}");
}

#[test]
fn a_socket_in_use_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("teardown.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let path = path.to_str().expect("UTF-8");
    let (code, said) = ends(teardown().args(["run", "--socket", path]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(path), "{said}");
}
