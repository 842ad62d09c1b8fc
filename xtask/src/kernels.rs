//! `cargo xtask kernels`: the tests that ask the kernel, on other kernels than the host's, and the
//! service under a systemd of its own, in emulated machines.
//!
//! The machines run a Debian of their own, made once by mmdebstrap, with the kernels and the tests'
//! tools from its packages. The very files that `cargo xtask test` builds and runs here run there.

mod debian;
mod machine;
mod outcome;
mod payload;
mod programs;

use std::env::consts::ARCH;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use debian::Debian;
use machine::{Init, Machine};
use outcome::Outcome;
use programs::Program;

use crate::{command::step, dist, workspace};

/// Which machines, and which tests in them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The machines; all of them where none is named
    names: Vec<Name>,
    /// Only tests with one of these words in their names
    #[arg(last = true)]
    words: Vec<String>,
}

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Debian 12's own kernel: no TCX
    #[value(name = "6.1")]
    Linux6_1,
    /// The newer one of Debian 12: TCX
    #[value(name = "6.12")]
    Linux6_12,
    /// systemd as process 1, the Debian package, and its unit
    Systemd,
}

impl Name {
    /// How the version of its kernel begins.
    const fn kernel(self) -> &'static str {
        match self {
            Self::Linux6_1 | Self::Systemd => "6.1.",
            Self::Linux6_12 => "6.12.",
        }
    }

    const fn init(self) -> Init {
        match self {
            Self::Linux6_1 | Self::Linux6_12 => Init::Tests,
            Self::Systemd => Init::Systemd,
        }
    }

    const fn programs(self) -> &'static [Program] {
        match self {
            Self::Linux6_1 | Self::Linux6_12 => programs::KERNEL,
            Self::Systemd => programs::SERVICE,
        }
    }
}

/// Runs the tests in each machine, one after the other.
pub(crate) fn run(args: &Args) -> Result<()> {
    if ARCH != "x86_64" {
        bail!("the machines are of x86-64, and what is built here is of {ARCH}");
    }
    let mut names = Name::value_variants().to_vec();
    names.retain(|name| args.names.is_empty() || args.names.contains(name));

    let folder = workspace::target_dir().join("kernels");
    let debian = Debian::ensure(&folder)?;
    let package = if names.contains(&Name::Systemd) { dist::dist()? } else { None };
    let mut outcomes = Vec::new();
    for name in names {
        let shown = name.to_possible_value().context("none is hidden")?.get_name().to_owned();
        let kernel = debian.kernel(name.kernel())?;
        let own = folder.join(&shown);
        let payload = payload::make(&own, name.programs(), &args.words, package.as_deref())?;
        let machine = Machine {
            kernel: &kernel,
            disks: [&debian.root, &payload],
            init: name.init(),
            console: own.join("console"),
        };
        let mut outcome = Outcome::of(format!("{shown}: Linux {}", kernel.version));
        step(&format!("Running Linux {}", kernel.version), || {
            machine.run(|line| outcome.hear(line))
        })?;
        outcomes.push(outcome);
    }
    for outcome in &outcomes {
        println!("{outcome}");
    }
    if !outcomes.iter().all(Outcome::is_good) {
        bail!("not all is well; what the machines said is in {}", folder.display());
    }
    Ok(())
}
