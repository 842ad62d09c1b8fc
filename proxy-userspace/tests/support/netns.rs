//! Network namespaces without a name: each lives as long as its descriptor, the processes in it
//! and their sockets, so that nothing is left behind, even by a test that is killed.

use super::process::spawn;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A network namespace of the test's own; clones are the same one.
#[derive(Clone)]
pub(crate) struct Netns {
    file: Arc<File>,
}

impl Netns {
    /// A new namespace, its loopback interface up.
    pub(crate) fn new() -> Self {
        let file = std::thread::spawn(|| {
            // SAFETY: only this thread's network namespace is unshared; no memory or descriptor
            // that another thread relies on changes.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                .expect("a network namespace of our own (the tests run as root)");
            File::open("/proc/thread-self/ns/net").expect("the new namespace's descriptor")
        })
        .join()
        .expect("the namespace's thread");
        let netns = Self { file: Arc::new(file) };
        netns.ip("link set lo up");
        netns
    }

    /// The namespace that this process runs in.
    pub(crate) fn current() -> Self {
        let file = File::open("/proc/thread-self/ns/net").expect("our namespace's descriptor");
        Self { file: Arc::new(file) }
    }

    /// A path by which any process of the host opens this namespace while the test runs.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs `work` on a thread inside. Sockets made and processes started there stay inside.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let name = std::thread::current().name().unwrap_or("netns").to_owned();
        let result = std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, || {
                    self.enter();
                    work()
                })
                .expect("a thread")
                .join()
        });
        match result {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Moves the calling thread inside for good.
    pub(crate) fn enter(&self) {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("setns into the test's namespace");
    }

    /// Sets what sysctl(8) calls `net.NAME`, as `set("ipv4/tcp_fin_timeout", "2")`.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/net/{name}"), value))
            .unwrap_or_else(|error| panic!("net/{name} = {value}: {error}"));
    }

    /// Runs `ip -batch` inside, one command a line.
    pub(crate) fn ip(&self, batch: &str) {
        self.feed(Command::new("ip").args(["-batch", "-"]), batch);
    }

    /// Runs one such command; says whether the kernel can do that.
    pub(crate) fn can_ip(&self, command: &str) -> bool {
        let mut ip = Command::new("ip");
        ip.args(command.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::null());
        spawn(self, &mut ip).wait().expect("ip ends").success()
    }

    /// Runs a command inside, gives it `input`, and panics with its words if it fails.
    pub(crate) fn feed(&self, command: &mut Command, input: &str) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(self, command);
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("the command reads its input");
        drop(stdin);
        let output = child.wait_with_output().expect("the command ends");
        assert!(
            output.status.success(),
            "{command:?} with\n{input}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Runs a command inside and returns what it printed; panics if it fails.
    pub(crate) fn output(&self, command: &mut Command) -> String {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(self, command).wait_with_output().expect("the command ends");
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}
