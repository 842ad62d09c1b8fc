//! `teardown tail`: the client of the runtime socket that shows closes as they come.
//!
//! The daemon filters and formats; this end copies, and asks for the summary when it is stopped. If
//! stdout is slow, it reads less from the socket, and the daemon says how many lines were missed.

use super::ask::{gone, unreachable_daemon};
use super::copy::Copy;
use super::outlet::{Outlet, Sent};
use super::socket::DEFAULT_PATH;
use super::terminal::Terminal;
use crate::capture::write::target::Target;
use crate::report::columns::Paint;
use crate::report::tail::{Look, time};
use anyhow::{Context, bail};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes between the socket and stdout.
const BACKLOG: usize = 256 << 10;
/// How a warning begins.
const WARNING: &[u8] = b"[WARNING] ";
const WARNING_JSON: &[u8] = b"{\"v\":1,\"warning\":";
/// How long stdout is left alone when it takes no more.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the end waits for the summary.
const PATIENCE: Duration = Duration::from_secs(2);

/// Arguments of `teardown tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The daemon's runtime socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    socket: PathBuf,
    /// End after this time (30s, 5m)
    #[arg(long, value_name = "T", value_parser = time)]
    duration: Option<Duration>,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    target: Target,
}

/// Shows closes until it is stopped, or the daemon is.
///
/// # Errors
/// Where no daemon answers, where it dies, or where stdout cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stream = UnixStream::connect(&args.socket)
            .await
            .map_err(|error| unreachable_daemon(&args.socket, &error))?;
        let colour = if Paint::of_stdout().colour { " --colour" } else { "" };
        let asked = stream.write_all(format!("tail{}{colour}\n", args.look).as_bytes()).await;
        asked.map_err(|error| gone(&args.socket, &error))?;
        let recording = Copy::start(&args.socket, &args.target)?;
        let (terminal, outlet) = Terminal::start(BACKLOG)?;
        let ended_well = copy(stream, outlet, args).await?;
        terminal.finish().context("stdout")?;
        recording.map(Copy::finish).transpose()?;
        if !ended_well {
            return Err(gone(&args.socket, &io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Copies from the daemon to stdout; whether the end was a summary rather than a break.
async fn copy(mut stream: UnixStream, outlet: Outlet, args: &Args) -> anyhow::Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let far = Duration::from_secs(u64::from(u32::MAX));
    let mut ask_at = Instant::now() + args.duration.unwrap_or(far);
    let mut give_up_at = Instant::now() + far;
    let mut lines = Lines { json: args.look.json, ..Lines::default() };
    let mut chunk = vec![0; 64 << 10];
    loop {
        let is_blocked = !lines.ready.is_empty();
        tokio::select! {
            read = stream.read(&mut chunk), if !is_blocked => {
                // A daemon that was killed resets what it had not sent.
                let length = read.unwrap_or(0);
                if length == 0 {
                    outlet.send_last(&lines.partial);
                    return Ok(lines.saw_summary);
                }
                lines.take(&chunk[..length])?;
            }
            () = sleep(PAUSE), if is_blocked => {}
            _ = interrupt.recv() => ask_at = Instant::now(),
            _ = terminate.recv() => ask_at = Instant::now(),
            () = sleep_until(ask_at) => {
                // An empty line asks for the summary, after which the daemon ends the session.
                if stream.write_all(b"\n").await.is_err() {
                    return Ok(lines.saw_summary);
                }
                give_up_at = Instant::now() + PATIENCE;
                ask_at = Instant::now() + far;
            }
            () = sleep_until(give_up_at) => bail!("stdout is not read; the end is cut off"),
        }
        match outlet.send(&lines.ready) {
            Sent::Queued => lines.ready.clear(),
            Sent::Full => {}
            Sent::Gone => return Ok(true),
        }
    }
}

/// What came, cut into whole lines.
#[derive(Default)]
struct Lines {
    json: bool,
    /// Whole lines for stdout.
    ready: Vec<u8>,
    /// The beginning of the next.
    partial: Vec<u8>,
    saw_summary: bool,
}

impl Lines {
    /// Takes a chunk; warnings and, in JSON, all that is no close go to stderr.
    fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if !self.partial.ends_with(b"\n") {
                break;
            }
            let line = &self.partial;
            let is_warning = line.starts_with(if self.json { WARNING_JSON } else { WARNING });
            let is_summary = if self.json {
                line.starts_with(b"{\"v\":1,\"summary\"")
            } else {
                memchr::memmem::find(line, b" events lost").is_some()
            };
            self.saw_summary |= is_summary && !is_warning;
            let is_note = self.json && (is_summary || line.starts_with(b"{\"v\":1,\"missed\""));
            if is_warning || is_note {
                io::stderr().write_all(line)?;
            } else {
                self.ready.extend_from_slice(line);
            }
            self.partial.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_lines() {
        let mut lines = Lines { json: true, ..Lines::default() };
        lines.take(b"{\"v\":1,\"ts\":1}\n{\"v\":1,").expect("nothing to write");
        assert_eq!(lines.ready, b"{\"v\":1,\"ts\":1}\n");
        assert!(!lines.saw_summary);
        lines.take(b"\"summary\":{}}\n").expect("stderr");
        assert_eq!(lines.ready, b"{\"v\":1,\"ts\":1}\n");
        assert!(lines.saw_summary && lines.partial.is_empty());
    }

    #[test]
    fn a_warning_is_no_line_of_the_tail() {
        for (json, warning) in [
            (true, "{\"v\":1,\"warning\":\"--backend ' events lost'\"}\n"),
            (false, "[WARNING] --backend ' events lost'\n"),
        ] {
            let mut lines = Lines { json, ..Lines::default() };
            lines.take(warning.as_bytes()).expect("stderr");
            assert!(lines.ready.is_empty() && !lines.saw_summary, "{warning}");
        }
    }
}
