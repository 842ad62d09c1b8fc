//! Processes that end with the test: started in a namespace, ended by their own pid.

use super::netns::Netns;
use super::until::until;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A child whose standard error (and output, unless taken) is kept line by line.
pub(crate) struct Process {
    child: Child,
    name: String,
    /// Lines of standard error.
    pub(crate) errors: Lines,
}

impl Process {
    /// Starts `command` inside `netns`. Standard output is left as the command says.
    pub(crate) fn start(netns: &Netns, command: &mut Command) -> Self {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = spawn(netns, command);
        let errors = Lines::read(child.stderr.take().expect("a pipe"));
        Self { child, name, errors }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, if it was piped and nobody took it yet.
    pub(crate) fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("the output was piped")
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        until(&format!("the end of {name}"), || self.ended())
    }

    /// Waits for a line of standard error that holds `words`; fails if it ends before.
    pub(crate) fn wait_for_words(&mut self, words: &str) {
        let name = self.name.clone();
        until(&format!("{words:?} from {name}"), || {
            if self.errors.all().iter().any(|line| line.contains(words)) {
                return Some(());
            }
            if let Some(status) = self.ended() {
                panic!("{name} ended with {status} instead: {:#?}", self.errors.all());
            }
            None
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // A polite end first: nginx's master takes its workers along only then.
        let _gone_already = kill_process(Pid::from_child(&self.child), Signal::TERM);
        for _ in 0..400 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A child has all our descriptors until it has become another program: a close would end nothing.
static BECOMING: RwLock<()> = RwLock::new(());

/// Starts a child inside `netns`; returns once it has become its program.
pub(crate) fn spawn(netns: &Netns, command: &mut Command) -> Child {
    let _nobody_closes = BECOMING.write().unwrap_or_else(PoisonError::into_inner);
    let (child, ours) = netns.run(|| {
        let ours = std::fs::read("/proc/thread-self/comm").expect("this thread's name");
        (command.spawn(), ours)
    });
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // The kernel lets us go on, then closes descriptors, then gives the child its program's name.
    let name = format!("/proc/{}/comm", child.id());
    while std::fs::read(&name).is_ok_and(|name| name == ours) {
        std::thread::yield_now();
    }
    child
}

/// Does something while no child has our descriptors: what is closed in it ends here and now.
pub(crate) fn undivided<T>(work: impl FnOnce() -> T) -> T {
    let _no_child_becomes = BECOMING.read().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// Lines that a thread reads as they come.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    ended: Arc<Mutex<bool>>,
}

impl Lines {
    /// Reads `source` to its end in the background.
    pub(crate) fn read(source: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let (into, ended) = (Arc::clone(&lines.lines), Arc::clone(&lines.ended));
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                into.lock().expect("the lines").push(text);
                line.clear();
            }
            *ended.lock().expect("the flag") = true;
        });
        lines
    }

    /// All lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().expect("the lines").clone()
    }

    /// How many lines so far.
    pub(crate) fn count(&self) -> usize {
        self.lines.lock().expect("the lines").len()
    }

    /// Waits for the end of the source, then gives every line.
    pub(crate) fn to_the_end(&self) -> Vec<String> {
        until("the end of the output", || self.ended.lock().expect("the flag").then_some(()));
        self.all()
    }
}
