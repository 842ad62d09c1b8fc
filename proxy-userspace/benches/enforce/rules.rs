//! The rules that stand beside HAProxy, from none to one for its server.

use crate::frame::beside::{Beside, SERVER_PORT, Watching};
use crate::support::process::Process;
use crate::support::topology::Topology;
use crate::support::watch::teardown;
use std::fs::File;
use std::path::Path;

/// Which rules there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rules {
    /// No teardown at all.
    Nothing,
    /// `teardown watch` without a rule.
    None,
    /// A rule for somebody else.
    Others,
    /// `passive rst` for HAProxy's server.
    PassiveRst,
    /// `passive rst half-close 30s` for HAProxy's server, so that deadlines are kept too.
    HalfClose,
}

impl Rules {
    pub(crate) const ALL: [Self; 5] =
        [Self::None, Self::Nothing, Self::Others, Self::PassiveRst, Self::HalfClose];
}

impl Beside for Rules {
    fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::None => "no rule",
            Self::Others => "for others",
            Self::PassiveRst => "passive rst",
            Self::HalfClose => "and half-close",
        }
    }

    fn start(&self, topology: &Topology, folder: &Path) -> Watching {
        let rule = match self {
            Self::Nothing => return Watching::Nobody,
            Self::None => None,
            Self::Others => Some("192.0.2.1:80 passive rst".to_owned()),
            // The only peer with this port.
            Self::PassiveRst => Some(format!("0.0.0.0/0:{SERVER_PORT} passive rst")),
            Self::HalfClose => Some(format!("0.0.0.0/0:{SERVER_PORT} passive rst half-close 30s")),
        };
        let mut command = teardown();
        command.arg("watch");
        if let Some(rule) = &rule {
            command.args(["--policy", rule]);
        }
        let file = File::create(folder.join("output")).expect("the output's file");
        let mut process = Process::start(&topology.proxy, command.stdout(file));
        process.wait_for_words("watching");
        Watching::Program(process)
    }
}
