//! One turn: a program reads the capture to its end, and the kernel tells what that took.

use crate::generate::Files;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `teardown explain` on the pcap.
    Pcap,
    /// The same with a line of JSON for each connection.
    Json,
    /// `teardown explain` on tcpdump's text.
    Text,
    /// `tcpdump -n -r`.
    Tcpdump,
    /// `tshark -z conv,tcp`.
    Tshark,
    /// `capinfos -c`: counts packets, and looks into none.
    Capinfos,
}

impl Reader {
    pub(crate) const ALL: [Self; 6] =
        [Self::Pcap, Self::Json, Self::Text, Self::Tcpdump, Self::Tshark, Self::Capinfos];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pcap => "teardown explain FILE.pcap",
            Self::Json => "teardown explain --json FILE.pcap",
            Self::Text => "teardown explain FILE.txt",
            Self::Tcpdump => "tcpdump -n -r FILE.pcap",
            Self::Tshark => "tshark -q -z conv,tcp -r FILE.pcap",
            Self::Capinfos => "capinfos -c FILE.pcap",
        }
    }

    fn command(self, files: &Files) -> Command {
        let teardown = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_teardown"));
            command.arg("explain").args(arguments);
            command
        };
        let other = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        };
        let mut command = match self {
            Self::Pcap | Self::Text => teardown(&[]),
            Self::Json => teardown(&["--json"]),
            Self::Tcpdump => other("tcpdump", &["-n", "-r"]),
            Self::Tshark => other("tshark", &["-q", "-n", "-z", "conv,tcp", "-r"]),
            Self::Capinfos => other("capinfos", &["-c"]),
        };
        command.arg(if self == Self::Text { &files.text } else { &files.pcap });
        command
    }

    /// Reads the capture once.
    #[expect(
        clippy::zombie_processes,
        reason = "wait4 waits for it, and tells what it used, which wait does not"
    )]
    pub(crate) fn read(self, files: &Files) -> Turn {
        let started = Instant::now();
        let child = self
            .command(files)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name()));
        let mut status = 0;
        // SAFETY: all zeros is a value of this struct of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        let pid = child.id().cast_signed();
        // SAFETY: both pointers are to live variables of the right types, and the child is ours.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        assert_eq!(waited, pid, "the child is waited for");
        assert_eq!(status, 0, "{} succeeds", self.name());
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Turn {
            wall: started.elapsed().as_secs_f64(),
            cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            peak_kib: usage.ru_maxrss,
        }
    }
}

/// What a turn took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) peak_kib: i64,
}
