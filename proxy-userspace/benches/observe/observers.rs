//! Those who watch: teardown and its peers, each in the proxy's namespace, writing to a file.

use crate::frame::beside::{Beside, Watching};
use crate::support::foreign::{Attached, Hook};
use crate::support::process::Process;
use crate::support::topology::Topology;
use crate::support::until::until;
use aya::programs::TcAttachType;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Observer {
    /// Nobody.
    Nothing,
    /// Programs that do nothing, on the hooks that teardown has at each interface: what anybody
    /// pays who looks at packets there.
    Empty,
    /// `teardown watch`.
    Teardown,
    /// `teardown watch --ingress xdp`.
    TeardownXdp,
    /// `tcpdump -w` of all TCP packets on all interfaces.
    Tcpdump,
    /// bpftrace's tcplife.
    Tcplife,
}

impl Observer {
    pub(crate) const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Empty,
        Self::Teardown,
        Self::TeardownXdp,
        Self::Tcpdump,
        Self::Tcplife,
    ];
}

impl Beside for Observer {
    fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Empty => "empty programs",
            Self::Teardown => "teardown",
            Self::TeardownXdp => "teardown, xdp",
            Self::Tcpdump => "tcpdump -w",
            Self::Tcplife => "tcplife",
        }
    }

    /// Starts it in `netns`; comes back once it watches. Its output goes to a file in `folder`.
    fn start(&self, topology: &Topology, folder: &Path) -> Watching {
        let netns = &topology.proxy;
        let output = folder.join("output");
        let (command, ready) = match self {
            Self::Nothing => return Watching::Nobody,
            Self::Empty => return empty(topology),
            Self::Teardown => (teardown(&["watch"]), "watching"),
            Self::TeardownXdp => (teardown(&["watch", "--ingress", "xdp"]), "watching"),
            Self::Tcpdump => {
                let words = ["tcpdump", "-i", "any", "-n", "-Z", "root", "-w"];
                let file = folder.join("capture").display().to_string();
                (
                    words.map(str::to_owned).into_iter().chain([file, "tcp".into()]).collect(),
                    "listening on",
                )
            }
            Self::Tcplife => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/observe/tcplife.bt");
                let inode = fs::metadata(netns.path()).expect("the namespace").ino();
                (vec!["bpftrace".to_owned(), script.to_owned(), inode.to_string()], "")
            }
        };
        let file = File::create(&output).expect("the output's file");
        let mut process = Process::start(netns, with_tracefs(&command).stdout(file));
        if *self == Self::Tcplife {
            until("bpftrace to attach", || {
                let text = fs::read_to_string(&output).expect("the output");
                text.contains("RX_KB").then_some(())
            });
        } else {
            process.wait_for_words(ready);
        }
        Watching::Program(process)
    }
}

/// Empty programs at both tc hooks of both interfaces over which HAProxy speaks.
fn empty(topology: &Topology) -> Watching {
    let ways = [TcAttachType::Ingress, TcAttachType::Egress];
    let attach = |interface: &&str| {
        ways.map(|way| Attached::empty(&topology.proxy, interface, way, Hook::Tcx))
    };
    Watching::Hooks { _attached: topology.proxy_interfaces.iter().flat_map(attach).collect() }
}

/// `teardown` and its arguments.
pub(crate) fn teardown(arguments: &[&str]) -> Vec<String> {
    [&[env!("CARGO_BIN_EXE_teardown")], arguments].concat().into_iter().map(str::to_owned).collect()
}

/// The command in a mount namespace of its own that has tracefs, where the host has not.
fn with_tracefs(words: &[String]) -> Command {
    let script = "mountpoint -q /sys/kernel/tracing || \
                  mount -t tracefs tracefs /sys/kernel/tracing; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).args(words);
    command
}
