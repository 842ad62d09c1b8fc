//! What the host lacks, and what is asked wrongly.

use crate::host::Host;
use crate::json;
use crate::support::process::{Lines, Process};
use crate::support::until::until;
use crate::support::watch::{teardown, teardown_as_nobody};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit, setrlimit};
use serde_json::Value;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

const DOCTOR: [&str; 2] = [env!("CARGO_BIN_EXE_teardown"), "doctor"];

fn output(command: &mut Command) -> Output {
    command.output().expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_asked_wrongly_is_said_with_its_exit_code() {
    let host = Host::new();
    let folder = host.folder.path();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let wrong = file("wrong.cfg", "root:x:0:0:root\n");
    let port = file("x.cfg", "backend b\n server s 10.0.0.1:70000\n");
    let missing = folder.join("missing.cfg").to_str().expect("UTF-8").to_owned();
    let named = file("named.cfg", "backend b\n server s 10.0.0.1:80\n");
    let text = "global\n chroot /nonexistent\nfrontend f\n bind 127.0.0.1:1\n timeout client 1s\n";
    let nowhere = file("nowhere.cfg", text);
    let own = folder.join("x.sock").to_str().expect("UTF-8").to_owned();
    let plain = file("plain", "not a socket");
    for (arguments, code, words) in [
        (&["watch", "--port", "65536"][..], 2, "65536 is not in 1..=65535"),
        (&["watch", "--port", "0"], 2, "0 is not in 1..=65535"),
        (&["watch", "--host", "10.0.0.0/33"], 2, "'33' is not a prefix length from 0 to 32"),
        (&["watch", "--ring", "5000"], 2, "must be a power of two from 4k to 1g"),
        (&["watch", "--ingress", "raw"], 2, "[possible values: tc, xdp]"),
        (&["watch", "--count", "0"], 2, "0 is not in 1.."),
        (&["watch", "--duration", "soon"], 2, "is not a number with a unit"),
        (&["watch", "--write", "x", "--rotate", "100"], 2, "is less than 1k; the units of a size"),
        (&["watch", "--write", "/nonexistent/x"], 1, "/nonexistent/x: No such file or directory"),
        (&["run", "--metrics", "localhost"], 2, "should be ADDR:PORT, as 10.0.0.5:80"),
        (&["close", "10.0.0.1:1", "x"], 2, "should be ADDR:PORT, as 10.0.0.5:80"),
        (&["wach"], 2, "a similar subcommand exists: 'watch'"),
        (&["watch", "--interface", "nope0"], 1, "there is no interface nope0; there are: lo"),
        (&["watch", "-f", &missing], 1, "missing.cfg: No such file or directory"),
        (&["watch", "-f", &wrong], 1, "no 'bind' and no 'server' with an address"),
        (&["watch", "-f", &port], 1, "x.cfg:2:11: server 's': '70000' is not a port"),
        (
            &["explain", "-f", &named, "--backend", "b/t", &plain],
            1,
            "--backend 'b/t': the configuration has no proxy, backend or server of this name",
        ),
        (
            &["run", "-f", &nowhere, "--socket", &own],
            1,
            "cannot change the root to /nonexistent: No such file or directory",
        ),
        (&["run", "--socket", &plain], 1, "exists and is no stream socket"),
        (&["run", "--socket", "/nonexistent/x.sock"], 1, "cannot listen on /nonexistent/x.sock"),
        (
            &["tail", "--socket", "/nonexistent/x.sock"],
            1,
            "no daemon answers at /nonexistent/x.sock",
        ),
    ] {
        let output = host.netns.run(|| output(teardown().args(arguments)));
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?} says it on stderr alone");
    }
}

#[test]
fn a_second_daemon_leaves_the_first_alone() {
    let host = Host::new();
    let daemon = host.run(&[]);
    let second =
        host.netns.run(|| output(teardown().arg("run").arg("--socket").arg(host.socket())));
    assert_eq!(second.status.code(), Some(1));
    let words = format!("is in use by process {}", daemon.pid());
    assert!(said(&second).contains(&words), "{}", said(&second));
    assert!(host.ask("show info").contains(&format!("Pid: {}\n", daemon.pid())));
}

#[test]
fn without_root_and_without_btf_it_says_what_it_needs() {
    let as_nobody = output(teardown_as_nobody().arg("watch"));
    assert_eq!(as_nobody.status.code(), Some(1));
    let words = "needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
    assert!(said(&as_nobody).contains(words), "{}", said(&as_nobody));

    // Root, but not of all: without CAP_PERFMON the verifier has reasons of its own.
    let binary = env!("CARGO_BIN_EXE_teardown");
    let part = ["--bounding-set", "-perfmon,-sys_admin", binary, "watch"];
    let nested = ["-U", "-r", binary, "watch"];
    for (program, arguments) in [("setpriv", part), ("unshare", nested)] {
        let refused = output(Command::new(program).args(arguments));
        assert_eq!(refused.status.code(), Some(1), "{program}");
        assert!(said(&refused).contains(words), "{program}: {}", said(&refused));
    }

    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" watch";
    let without_btf = output(Command::new("unshare").args(["-m", "sh", "-c", hide, binary]));
    assert_eq!(without_btf.status.code(), Some(1));
    let said = said(&without_btf);
    assert!(
        said.contains("/sys/kernel/btf/vmlinux") && said.contains("CONFIG_DEBUG_INFO_BTF"),
        "{said}"
    );
}

/// Runs the command as in a container whose seccomp profile knows no bpf(2).
fn without_bpf(command: &mut Command) -> &mut Command {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let [load, is, answer] = [0x20, 0x15, 0x06];
    let refused = libc::SECCOMP_RET_ERRNO | 1;
    let bpf = u32::try_from(libc::SYS_bpf).expect("a number of a system call");
    let mut filter = [
        step(load, 0, 0, 0),
        step(is, 0, 1, bpf),
        step(answer, 0, 0, refused),
        step(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the program and its four steps live until the call is over.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it calls prctl(2), and allocates nothing.
    unsafe { command.pre_exec(install) }
}

#[test]
fn without_bpf_it_says_who_may_forbid_it() {
    let refused = output(without_bpf(teardown().arg("watch")));
    assert_eq!(refused.status.code(), Some(1));
    let words = "bpf(2) is forbidden, though the capabilities are held: by a container's seccomp";
    assert!(said(&refused).contains(words), "{}", said(&refused));
    let doctor = output(without_bpf(teardown().arg("doctor")));
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(text.contains("FAIL  tc programs         bpf(2) is forbidden: by a"), "{text}");
}

#[test]
fn without_cgroup_v2_it_says_so_and_shows_what_the_wire_tells() {
    let host = Host::new();
    let listener = host.listener();
    let mut command = Command::new("unshare");
    let hide = "umount -lt cgroup2 -a && exec \"$0\" watch --json --count 1";
    command.args(["-m", "sh", "-c", hide, env!("CARGO_BIN_EXE_teardown")]).stdout(Stdio::piped());
    let mut watch = Process::start(&host.netns, &mut command);
    let lines = Lines::read(watch.stdout());
    watch.wait_for_words("watching");
    host.connect(&listener, 1);
    assert!(watch.wait().success());
    let close = json(&lines.to_the_end()[0]);
    assert_eq!((&close["conn_state"], &close["resp_bytes"]), (&"SF".into(), &5.into()));
    assert_eq!(close["unread_bytes"], Value::Null);
    let said = watch.errors.to_the_end().join("\n");
    assert!(said.contains("closes carry no unread and no unacknowledged bytes"), "{said}");
}

#[test]
fn a_disk_that_is_full_and_a_reader_that_is_gone_are_no_reason_to_panic() {
    let full = || File::create("/dev/full").expect("it is there");
    let gone = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer
    };
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("haproxy.cfg");
    let text = "frontend f\n bind 127.0.0.1:1\n timeout client 1s\n";
    std::fs::write(&config, text).expect("a file");
    let valid = |out: Stdio| {
        let mut check = teardown();
        check.args(["run", "-c", "-f"]).arg(&config).stdout(out).stderr(Stdio::null());
        check.status().expect("it starts").code()
    };
    assert_eq!((valid(gone().into()), valid(full().into())), (Some(0), Some(1)));
    let wrong = |err: Stdio| {
        let mut explain = teardown();
        explain.args(["explain", "/nonexistent"]).stderr(err);
        explain.status().expect("it starts").code()
    };
    assert_eq!((wrong(gone().into()), wrong(full().into())), (Some(1), Some(1)));
}

#[test]
fn the_doctor_finds_this_host_fit() {
    let healthy = output(teardown().arg("doctor"));
    let text = String::from_utf8_lossy(&healthy.stdout).into_owned();
    assert!(healthy.status.success(), "{text}");
    assert!(text.contains("ok    BTF ") && text.contains("0 fatal"), "{text}");
    let as_nobody = output(teardown_as_nobody().arg("doctor"));
    let text = String::from_utf8_lossy(&as_nobody.stdout).into_owned();
    assert_eq!(as_nobody.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL  CAP_BPF "), "{text}");
    let nested = output(Command::new("unshare").args(["-U", "-r"]).args(DOCTOR));
    let text = String::from_utf8_lossy(&nested.stdout).into_owned();
    assert!(text.contains("FAIL  CAP_BPF             held in a user namespace alone"), "{text}");
}

/// The limits of open descriptors that a command starts with: its own, and what it may raise that to.
fn with_descriptors(command: &mut Command, soft: u64, hard: u64) -> &mut Command {
    let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
    // SAFETY: between fork and exec it calls prlimit(2), and allocates nothing.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?)) }
}

#[test]
fn it_takes_the_descriptors_that_it_may_have_and_says_where_they_are_too_few() {
    let host = Host::new();
    let mut command = teardown();
    command.args(["run", "--socket"]).arg(host.socket());
    let mut daemon = Process::start(&host.netns, with_descriptors(&mut command, 24, 1_024));
    daemon.wait_for_words("watching");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    for limit in [24, 36] {
        for more in [&[][..], &["--interface", "lo"]] {
            let mut command = teardown();
            with_descriptors(command.arg("watch").args(more), limit, limit);
            let mut watch = Process::start(&host.netns, command.stdout(Stdio::null()));
            assert_eq!(watch.wait().code(), Some(1));
            let said = watch.errors.to_the_end().join("\n");
            assert!(said.contains("'ulimit -n' should be higher"), "{limit}: {said}");
        }
    }
}

#[test]
fn an_interface_for_which_no_descriptor_was_left_is_attached_to_later() {
    let host = Host::new();
    let mut daemon = host.run(&[]);
    // All that it needs for itself is open when it answers.
    host.ask("show info");
    let pid = daemon.pid();
    let limit = |count: u64| {
        let pid = Pid::from_raw(pid as i32);
        let limit = Rlimit { current: Some(count), maximum: Some(1_024) };
        prlimit(pid, Resource::Nofile, limit).expect("our own child");
    };
    // Whatever else it closes meanwhile, no number below this one becomes free.
    limit(3);
    host.netns.ip("link add td-a type veth peer name td-b");
    daemon.wait_for_words("'ulimit -n' should be higher");
    limit(1_024);
    until("both ends", || {
        let info = host.ask("show info");
        ["a", "b"].iter().all(|end| info.contains(&format!("Attached: td-{end} ("))).then_some(())
    });
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

#[test]
fn it_takes_no_more_descriptors_than_its_configuration_says() {
    let host = Host::new();
    let file = host.socket().with_file_name("proxy.cfg");
    let text =
        "global\n  ulimit-n 2000\n  maxconn 100\nlisten in\n  mode tcp\n  bind 127.0.0.1:8180\n";
    std::fs::write(&file, text).expect("a file");
    let mut command = teardown();
    command.args(["run", "--socket"]).arg(host.socket()).arg("-f").arg(&file);
    let mut daemon = Process::start(&host.netns, with_descriptors(&mut command, 1_024, 4_096));
    daemon.wait_for_words("watching");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3..5], ["2000", "4096"], "{line}");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
}

/// As a container starts it that has a cgroup namespace of its own.
#[test]
fn what_a_container_takes_for_the_root_of_all_cgroups_is_not() {
    let script = "
        set -e
        top=$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
        part=$top/td-container-$$; mkdir $part; trap 'echo $$ > $top/cgroup.procs; rmdir $part' EXIT
        echo $$ > $part/cgroup.procs
        unshare --cgroup --mount --propagation private sh -ec '
            awk \"\\$0 ~ / - cgroup2 / { print \\$5 }\" /proc/self/mountinfo | xargs -r umount -l
            mount -t cgroup2 none /mnt; grep -q \" / /mnt .* - cgroup2 \" /proc/self/mountinfo
            \"$0\" doctor' \"$TEARDOWN\"";
    let doctor = output(
        Command::new("sh").args(["-c", script]).env("TEARDOWN", env!("CARGO_BIN_EXE_teardown")),
    );
    let text = String::from_utf8_lossy(&doctor.stdout);
    let words = "less  cgroup v2           /mnt is this container's own, not the root";
    assert!(text.contains(words), "{text}{}", said(&doctor));
}
