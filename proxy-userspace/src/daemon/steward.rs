//! The steward: a process that stays root for the sake of reloads, and does nothing else.
//!
//! The daemon gives up root and may live in a chroot; a reload wants files, accounts, host names and
//! ports from outside. The steward, another run of this program, waits at the end of a socket. When
//! it is asked it reads the very configuration that it was started for, opens what that wants to be
//! opened, and hands over each answer and each descriptor. The daemon then reads the same
//! configuration from those. Nothing that the daemon says chooses a file or a port, so that whoever
//! takes the daemon over can have no other.

use super::proxy::{Origin, rehearse};
use crate::host::{self, Answers};
use crate::http::settings::Bind;
use crate::privilege;
use anyhow::{Context, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long the daemon's end waits for the steward's: it may be looking a name up for a reload that
/// nobody waits for any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// The longest message: a configuration with its files.
const LONGEST: u32 = 256 << 20;

/// Descriptors in one message; the kernel takes 253 (`SCM_MAX_FD`).
const AT_ONCE: usize = 128;

/// What the daemon asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wish {
    /// How many sockets each address gets.
    pub(super) workers: usize,
    /// What has its sockets already.
    pub(super) kept: Vec<Bind>,
}

/// The steward, as the daemon knows it. It ends when this is dropped, or the daemon dies.
#[derive(Debug)]
pub struct Steward {
    channel: Mutex<UnixStream>,
    process: Child,
}

impl Steward {
    /// Starts it for the configuration of these files, by absolute paths. Where the daemon goes into
    /// the background it has no terminal either: whoever waits for the end of what is said there
    /// would wait for ever.
    ///
    /// # Errors
    /// Where no process can be started.
    pub(super) fn start(files: &[PathBuf], in_background: bool) -> anyhow::Result<Self> {
        let start = || -> io::Result<Self> {
            let (ours, theirs) = UnixStream::pair()?;
            // This very program, also where its file has been replaced meanwhile.
            let process = Command::new("/proc/self/exe")
                .arg0("teardown")
                .arg("steward")
                .args(files)
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(Stdio::null())
                .stderr(if in_background { Stdio::null() } else { Stdio::inherit() })
                .spawn()?;
            Ok(Self { channel: Mutex::new(ours), process })
        };
        start().context("cannot start the process that reads the configuration for reloads")
    }

    /// Has the configuration read, and what it wants opened. Waits for as long as that takes: names
    /// may have to be looked up.
    ///
    /// # Errors
    /// Where the steward is gone. What it still had to say would be no answer to a later wish, so
    /// that nobody listens any more.
    pub(super) fn ask(&self, wish: &Wish) -> anyhow::Result<Answers> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ask = || -> io::Result<(Answers, usize)> {
            let channel = &mut *channel;
            send(channel, wish)?;
            let (mut answers, count): (Answers, usize) = receive(channel)?;
            for _ in 0..count.div_ceil(AT_ONCE) {
                answers.descriptors.extend(receive_descriptors(channel.as_fd())?);
            }
            Ok((answers, count))
        };
        let answers = ask().inspect_err(|_| drop(channel.shutdown(Shutdown::Both)));
        let (answers, count) = answers.context(
            "the process 'teardown steward', which reads the configuration as root for a reload, \
             is gone: start the daemon anew",
        )?;
        // The kernel leaves out those for which this process has no number left.
        let came = answers.descriptors.len();
        if came != count {
            bail!(
                "this process cannot open enough files: of {count} sockets that the configuration \
                 wants {came} could be handed over; 'ulimit -n' should be higher"
            );
        }
        Ok(answers)
    }
}

impl Drop for Steward {
    fn drop(&mut self) {
        let channel = self.channel.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It leaves when nobody can ask any more, and its end of the socket closes with it.
        let _ = channel.shutdown(Shutdown::Write);
        let _ = channel.set_read_timeout(Some(FAREWELL));
        if matches!(channel.read(&mut [0]), Ok(0)) {
            let _ = self.process.wait();
        }
    }
}

/// Arguments of `teardown steward`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration's files and folders
    files: Vec<PathBuf>,
}

/// Serves the daemon on the other end of stdin, until that is closed.
///
/// # Errors
/// Where the privileges that it does not need cannot be given up, or the daemon cannot be understood.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let channel = io::stdin().as_fd().try_clone_to_owned().context("cannot take the channel")?;
    let mut channel = UnixStream::from(channel);
    if channel.peer_addr().is_err() {
        bail!("'teardown steward' is started by 'teardown run', for its reloads");
    }
    // By its path it would be called 'exe'. Without the name it serves as well.
    let _ = rustix::thread::set_name(c"teardown");
    privilege::keep_for_reloads()?;
    let origin = Origin::Files(args.files.clone());
    loop {
        let wish: Wish = match receive(&mut channel) {
            Ok(wish) => wish,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error).context("cannot understand the daemon"),
        };
        // What comes of it is the daemon's business: it sees the same answers.
        let ((), answers) = host::note(|| rehearse(&origin, wish.workers, wish.kept));
        answer(&mut channel, &answers).context("cannot answer the daemon")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(channel: &mut UnixStream, answers: &Answers) -> io::Result<()> {
    send(channel, &(answers, answers.descriptors.len()))?;
    let descriptors: Vec<BorrowedFd<'_>> = answers.descriptors.iter().map(AsFd::as_fd).collect();
    descriptors.chunks(AT_ONCE).try_for_each(|some| send_descriptors(channel.as_fd(), some))
}

/// A message: its length in four bytes, and JSON.
fn send(channel: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("the configuration is too large"))?;
    channel.write_all(&length.to_be_bytes())?;
    channel.write_all(&text)
}

fn receive<T: DeserializeOwned>(channel: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    channel.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    channel.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Descriptors travel with a byte of their own.
fn send_descriptors(channel: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(channel, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_descriptors(channel: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let mut slices = [IoSliceMut::new(&mut byte)];
    let message = recvmsg(channel, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            descriptors.extend(some);
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::settings::BindAddress;
    use std::net::{SocketAddr, TcpListener};

    #[test]
    fn a_wish_and_many_descriptors_come_across() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("its address");
        let kept = vec![BindAddress::Inet(at), BindAddress::Abstract(b"\xff\0x".to_vec())];
        let kept: Vec<Bind> = kept.into_iter().map(Bind::new).collect();
        send(&mut ours, &Wish { workers: 3, kept: kept.clone() }).expect("room");
        let wish: Wish = receive(&mut theirs).expect("a wish");
        assert_eq!((wish.workers, wish.kept), (3, kept));

        let mut answers = Answers::default();
        for _ in 0..300 {
            answers.descriptors.push_back(listener.try_clone().expect("a descriptor").into());
        }
        let sending = std::thread::spawn(move || {
            let asked: Wish = receive(&mut theirs)?;
            answer(&mut theirs, &answers).map(|()| asked.workers)
        });
        let steward = Steward {
            channel: Mutex::new(ours),
            process: Command::new("true").spawn().expect("any process"),
        };
        let received = steward.ask(&Wish { workers: 1, kept: Vec::new() }).expect("answers");
        assert_eq!(sending.join().expect("no panic").expect("sent"), 1);
        assert_eq!(received.descriptors.len(), 300);
        let last: TcpListener = received.descriptors.into_iter().next_back().expect("one").into();
        let port: SocketAddr = last.local_addr().expect("a listener");
        assert_eq!(port, at);
    }

    #[test]
    fn a_steward_that_is_gone_is_named() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(theirs);
        let process = Command::new("true").spawn().expect("any process");
        let steward = Steward { channel: Mutex::new(ours), process };
        let error = steward.ask(&Wish { workers: 1, kept: Vec::new() }).expect_err("nobody");
        assert!(error.to_string().contains("'teardown steward'"), "{error}");
    }

    #[test]
    fn sockets_for_which_no_number_is_left_are_missed() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let one = ours.try_clone().expect("a descriptor");
        // As the kernel does it: it hands over those that there is room for.
        let sending = std::thread::spawn(move || {
            receive::<Wish>(&mut theirs)?;
            send(&mut theirs, &(Answers::default(), 3))?;
            send_descriptors(theirs.as_fd(), &[one.as_fd(), one.as_fd()])?;
            receive::<Wish>(&mut theirs)
        });
        let process = Command::new("true").spawn().expect("any process");
        let steward = Steward { channel: Mutex::new(ours), process };
        let wish = Wish { workers: 1, kept: Vec::new() };
        let error = steward.ask(&wish).expect_err("one is missing").to_string();
        assert!(error.contains("of 3 sockets") && error.contains("ulimit -n"), "{error}");
        // Its answers go on to be understood.
        send(&mut steward.channel.lock().expect("no panic"), &wish).expect("it is there");
        sending.join().expect("no panic").expect("a second wish");
    }
}
