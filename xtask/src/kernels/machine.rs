//! An emulated machine: what it boots, and what its console says.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::debian::Kernel;

/// A machine that still runs after so long hangs, or never comes to an end.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// What runs the tests from the second disk.
const TESTS: &str = "mount /dev/vdb /mnt && sh /mnt/run.sh";

/// What is process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Init {
    /// The shell that runs the tests.
    Tests,
    /// systemd, which runs them as a service.
    Systemd,
}

/// A machine that is switched off.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Kernel,
    /// The Debian, and what is to run there. Both stay as they are.
    pub(super) disks: [&'a Path; 2],
    pub(super) init: Init,
    /// Where its console is written to.
    pub(super) console: PathBuf,
}

impl Machine<'_> {
    /// Runs it until it switches itself off; `hear` gets each line of its console.
    pub(super) fn run(&self, mut hear: impl FnMut(&str)) -> Result<()> {
        let mut log = File::create(&self.console)
            .with_context(|| format!("writing {}", self.console.display()))?;
        let mut qemu = self.command();
        let mut child = qemu.spawn().context("cannot start qemu-system-x86_64")?;
        let console = child.stdout.take().context("a pipe")?;
        let (says, said) = mpsc::channel();
        thread::spawn(move || {
            let mut console = BufReader::new(console);
            let mut line = Vec::new();
            while console.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if says.send(text).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let end = Instant::now() + LIMIT;
        loop {
            match said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    writeln!(log, "{line}")?;
                    hear(&line);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    child.wait()?;
                    bail!("the machine was not done within {} minutes", LIMIT.as_secs() / 60);
                }
            }
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("qemu-system-x86_64 failed ({status})");
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let append = match self.init {
            Init::Tests => format!("init=/bin/sh -- -c \"{TESTS}; poweroff -f\""),
            Init::Systemd => format!(
                "systemd.run=\"/bin/sh -c '{TESTS}'\" systemd.run_success_action=poweroff \
                 systemd.run_failure_action=poweroff"
            ),
        };
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", "q35", "-cpu", "max", "-m", "3G"]);
        // Its clock counts instructions, one a nanosecond, and leaps where there is nothing to do:
        // what else this host does makes the tests slow, and none of them late.
        qemu.args(["-accel", "tcg", "-icount", "shift=0,sleep=off"]);
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]);
        for disk in self.disks {
            let drive = format!("file={},if=virtio,format=raw,snapshot=on", disk.display());
            qemu.arg("-drive").arg(drive);
        }
        qemu.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(&self.kernel.initrd);
        qemu.arg("-append").arg(format!("root=/dev/vda rw console=ttyS0 quiet panic=-1 {append}"));
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        qemu
    }
}
