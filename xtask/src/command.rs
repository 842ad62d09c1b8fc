//! Running other programs: said once, timed, as root where that is needed.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Error, Result, anyhow, bail};

use crate::workspace;

/// How many lines of a failed program's output are shown.
const SHOWN: usize = 40;

/// Says what is done and, when it is done, how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {what}");
    let start = Instant::now();
    let result = work()?;
    eprintln!("    done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(result)
}

/// Runs a program whose output is for the user.
pub(crate) fn loudly(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a program whose output matters only if it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", line(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(SHOWN)..] {
        eprintln!("    {line}");
    }
    io::stderr().flush()?;
    bail!("{} failed ({})", line(command), output.status);
}

/// Becomes the program. Comes back only with why it could not.
pub(crate) fn replace(command: &mut Command) -> Error {
    let error = command.exec();
    anyhow!("cannot start {}: {error}", line(command))
}

/// A call of `program` by root: as it is for root, through sudo for others.
pub(crate) fn privileged(program: impl AsRef<OsStr>) -> Result<Command> {
    let program = program.as_ref();
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    let sudo = workspace::which("sudo").with_context(|| {
        let task: Vec<String> = env::args().skip(1).collect();
        format!(
            "this needs root and there is no sudo; type\n    su -c 'cd {} && PATH={} cargo xtask {}'",
            workspace::root().display(),
            env::var("PATH").unwrap_or_default(),
            task.join(" ")
        )
    })?;
    let mut command = Command::new(sudo);
    command.arg("--preserve-env").arg(program);
    Ok(command)
}

/// Makes `cargo` (test or bench) run what it builds as root.
pub(crate) fn run_as_root(cargo: &mut Command) -> Result<()> {
    let sudo = privileged("env")?;
    if sudo.get_program() != "env" {
        let host = format!("{}-unknown-linux-gnu", env::consts::ARCH).to_uppercase();
        let runner = format!("{} --preserve-env", sudo.get_program().to_string_lossy());
        cargo.env(format!("CARGO_TARGET_{}_RUNNER", host.replace('-', "_")), runner);
    }
    Ok(())
}

/// The command as one would type it; a script among its words is left out.
pub(crate) fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(OsStr::to_string_lossy);
    words
        .map(|word| if word.contains('\n') { "...".into() } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_without_its_script() {
        let mut command = Command::new("sh");
        command.args(["-c", "set -eu\nfalse", "apt.sh", "socat"]);
        assert_eq!(line(&command), "sh -c ... apt.sh socat");
    }
}
