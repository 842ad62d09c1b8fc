//! Real-world shapes of haproxy.cfg: Debian's HAProxy and teardown must agree on each, but where
//! its first line says otherwise.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn shapes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/configuration");
    let files = std::fs::read_dir(folder).expect("the fixtures' folder");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The exit code and what was said: 0 is well, 1 is wrong, 2 is "no error, but no listener either".
fn teardown(file: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_teardown"));
    let output = command.args(["run", "-c", "-f"]).arg(file).output().expect("it starts");
    (output.status.code(), said(&output))
}

/// The same of HAProxy.
fn haproxy(file: &Path) -> (Option<i32>, String) {
    let mut command = Command::new("haproxy");
    let output = command
        .args(["-c", "-f"])
        .arg(file)
        .output()
        .expect("haproxy is installed (cargo xtask test sees to it)");
    (output.status.code(), said(&output))
}

#[test]
fn teardown_and_haproxy_agree_on_what_is_a_configuration() {
    let shapes = shapes();
    assert!(shapes.len() >= 30, "{} shapes", shapes.len());
    let mut wrong = Vec::new();
    for file in &shapes {
        let text = std::fs::read_to_string(file).expect("UTF-8");
        let first = text.lines().next().unwrap_or_default();
        let (ours, our_words) = teardown(file);
        let (theirs, their_words) = haproxy(file);
        let good = if first == "# both the same" {
            ours == theirs
        } else if let Some(words) = first.strip_prefix("# teardown refuses: ") {
            ours == Some(1)
                && our_words.contains(words)
                && our_words.contains("teardown has not got it")
        } else {
            assert_eq!(first, "# teardown accepts, HAProxy 2.6 refuses", "{}", file.display());
            ours != Some(1) && theirs == Some(1)
        };
        if !good {
            wrong.push(format!(
                "{}: {first}\nteardown ({ours:?}): {our_words}\nhaproxy ({theirs:?}): {their_words}",
                file.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Both must name the same lines of a configuration with mistakes; teardown names all of them.
#[test]
fn mistakes_are_named_by_the_same_lines() {
    let lines = |words: &str, mark: &dyn Fn(&str) -> Option<u32>| -> Vec<u32> {
        let mut list: Vec<u32> =
            words.lines().filter(|line| line.contains("[ALERT]")).filter_map(mark).collect();
        list.dedup();
        list
    };
    let ours = |line: &str| line.split(".cfg:").nth(1)?.split(':').next()?.parse().ok();
    let theirs = |line: &str| line.split(".cfg:").nth(1)?.split(']').next()?.parse().ok();
    for name in [
        "wrong-words",
        "wrong-acl",
        "wrong-quote",
        "wrong-times",
        "wrong-names-twice",
        "wrong-formats",
        "wrong-log-sample",
        "wrong-tcp-log",
        "wrong-track",
        "wrong-observe",
        "wrong-choices",
        "wrong-ids",
        "wrong-rewrites",
        "wrong-cookie",
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/fixtures/configuration/{name}.cfg"));
        let (our_words, their_words) = (teardown(&file).1, haproxy(&file).1);
        let (ours, theirs) = (lines(&our_words, &ours), lines(&their_words, &theirs));
        assert!(!ours.is_empty(), "{name}: {our_words}");
        assert!(
            theirs.iter().all(|line| ours.contains(line)),
            "{name}: {ours:?} and {theirs:?}\n{our_words}\n{their_words}"
        );
    }
}

#[test]
fn what_listens_nowhere_is_not_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("haproxy.cfg");
    let socket = format!("global\n stats socket {}/stats\n", folder.path().display());
    let off = "frontend f\n mode http\n timeout client 1s\n bind 127.0.0.1:8080\n disabled\n";
    for (text, code) in [
        ("", 2),
        ("backend b\n mode http\n", 2),
        (off, 2),
        (&socket, 0),
        (&format!("{socket}{off}"), 0),
        (&off.replace(" disabled\n", ""), 0),
    ] {
        std::fs::write(&file, text).expect("a file");
        let ((ours, our_words), (theirs, their_words)) = (teardown(&file), haproxy(&file));
        assert_eq!((ours, theirs), (Some(code), Some(code)), "{text}{our_words}{their_words}");
        let last =
            |words: &str| words.lines().find(|line| line.starts_with("Conf")).map(str::to_owned);
        assert_eq!(last(&our_words), last(&their_words), "{text}{our_words}");
        if code == 2 {
            let mut command = Command::new(env!("CARGO_BIN_EXE_teardown"));
            command.arg("run").arg("-f").arg(&file).arg("--socket").arg(folder.path().join("own"));
            let output = command.output().expect("it starts");
            assert_eq!(output.status.code(), Some(1), "{}", said(&output));
            assert!(said(&output).contains("no enabled listener found"), "{}", said(&output));
        }
    }
}

#[test]
fn a_wrong_command_line_and_a_missing_file_are_told_apart() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_teardown"))
            .args(arguments)
            .output()
            .expect("it starts");
        (output.status.code(), said(&output))
    };
    let (code, words) = run(&["run", "-c"]);
    assert_eq!((code, words.contains("say -f FILE")), (Some(2), true), "{words}");
    let (code, words) = run(&["run", "-c", "-f", "/nonexistent/haproxy.cfg"]);
    assert_eq!((code, words.contains("/nonexistent/haproxy.cfg")), (Some(1), true), "{words}");
}
