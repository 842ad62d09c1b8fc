//! `teardown tail --write`: a recording that the daemon makes and this end writes to its disk.

use super::ask::gone;
use crate::capture::write::blocks::{SECTION_HEADER, stated_len};
use crate::capture::write::rotate::Rotating;
use crate::capture::write::target::Target;
use anyhow::{Context, anyhow, bail};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

/// The least length of a block: its type, and its length twice.
const LEAST: usize = 12;

/// A recording that is being copied.
#[derive(Debug)]
pub struct Copy {
    stream: UnixStream,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Copy {
    /// Asks the daemon at `socket` for a recording, and copies it to `target`; `None` where none is
    /// wanted.
    ///
    /// # Errors
    /// Where the daemon refuses, or the file cannot be created.
    pub fn start(socket: &Path, target: &Target) -> anyhow::Result<Option<Self>> {
        if !target.is_wanted() {
            return Ok(None);
        }
        let mut stream = UnixStream::connect(socket).context("the daemon's socket")?;
        stream.write_all(b"tail --record\n").map_err(|error| gone(socket, &error))?;
        let mut blocks = Blocks { stream: stream.try_clone()?, held: Vec::new() };
        blocks.expect_section()?;
        // A section, then its interface: what each file begins with.
        let mut head = Vec::new();
        for _ in 0..2 {
            head.extend(blocks.next()?.context("the daemon is gone")?);
        }
        let file = target.create(head).context("cannot write the recording")?;
        let file = file.ok_or_else(|| anyhow!("no file is wanted"))?;
        let thread = std::thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || write(blocks, file))?;
        Ok(Some(Self { stream, thread }))
    }

    /// Asks for the rest, and waits until it is written.
    ///
    /// # Errors
    /// What the daemon or the disk said.
    pub fn finish(mut self) -> anyhow::Result<()> {
        // A daemon that is gone has sent all that it had.
        let _ = self.stream.write_all(b"\n");
        let _ = self.stream.shutdown(Shutdown::Write);
        self.thread.join().map_err(|_| anyhow!("the recording's thread died"))?
    }
}

fn write(mut blocks: Blocks, mut file: Rotating) -> anyhow::Result<()> {
    while let Some(block) = blocks.next()? {
        file.write(&block).context("the recording's file")?;
        // Whoever looks at the file meanwhile sees whole blocks.
        if blocks.held.len() < LEAST {
            file.flush().context("the recording's file")?;
        }
    }
    file.flush().context("the recording's file")?;
    if !blocks.held.is_empty() {
        bail!("the daemon is gone in the middle of a block; what came before is written");
    }
    Ok(())
}

/// Cuts what comes into blocks.
#[derive(Debug)]
struct Blocks {
    stream: UnixStream,
    held: Vec<u8>,
}

impl Blocks {
    /// Waits for the first block; what else comes is a refusal.
    fn expect_section(&mut self) -> anyhow::Result<()> {
        let section = SECTION_HEADER.to_le_bytes();
        while self.held.len() < section.len() && self.read()? {}
        if self.held.starts_with(&section) {
            return Ok(());
        }
        while self.read()? {}
        bail!("{}", String::from_utf8_lossy(&self.held).trim_end())
    }

    /// The next whole block; `None` at the end, where `held` has what is left.
    fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            if let Some(length) = stated_len(&self.held) {
                if length < LEAST {
                    bail!("the daemon sent a block of {length} bytes; {LEAST} is the least");
                }
                if self.held.len() >= length {
                    let rest = self.held.split_off(length);
                    return Ok(Some(std::mem::replace(&mut self.held, rest)));
                }
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Takes what has come; false at the end.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut chunk = [0; 16 << 10];
        let length = self.stream.read(&mut chunk).context("the daemon's socket")?;
        self.held.extend_from_slice(&chunk[..length]);
        Ok(length != 0)
    }
}
