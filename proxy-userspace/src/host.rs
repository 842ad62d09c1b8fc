//! What a configuration asks of this host: files, folders, host names, and sockets to be opened.
//!
//! A daemon that has given up root and lives in a chroot can ask for none of these. So a process
//! that can (`daemon::steward`) reads the same configuration and [notes](note) each answer, and the
//! daemon, [told] them, comes to the same end without asking.

use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Answers, in the order in which they were asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answers {
    given: VecDeque<(Question, Answer)>,
    /// The descriptors of the sockets among them, in the same order.
    #[serde(skip)]
    pub descriptors: VecDeque<OwnedFd>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Question {
    File(Vec<u8>),
    Folder(Vec<u8>),
    Addresses(String),
    Sockets,
}

/// What was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Answer {
    Bytes(Vec<u8>),
    /// Paths of the files in a folder; `None` where it is no folder.
    Files(Option<Vec<Vec<u8>>>),
    Addresses(Vec<IpAddr>),
    /// How many descriptors.
    Sockets(usize),
    /// The error's number, where it has one, and its text.
    Failed(Option<i32>, String),
}

enum Mode {
    /// The host is asked.
    Asking,
    /// The same, and the answers are kept.
    Noting(Answers),
    /// Nobody is asked: these are the answers.
    Told(Answers),
}

thread_local! {
    static MODE: RefCell<Mode> = const { RefCell::new(Mode::Asking) };
}

/// Does `work`, and keeps what it asks of the host.
pub fn note<T>(work: impl FnOnce() -> T) -> (T, Answers) {
    let (done, mode) = within(Mode::Noting(Answers::default()), work);
    match mode {
        Mode::Noting(answers) => (done, answers),
        Mode::Asking | Mode::Told(_) => (done, Answers::default()),
    }
}

/// Does `work` with `answers`, and asks nobody.
pub fn told<T>(answers: Answers, work: impl FnOnce() -> T) -> T {
    within(Mode::Told(answers), work).0
}

fn within<T>(mode: Mode, work: impl FnOnce() -> T) -> (T, Mode) {
    let before = MODE.replace(mode);
    let done = work();
    (done, MODE.replace(before))
}

/// A file's bytes.
///
/// # Errors
/// Where it cannot be read.
pub fn file(path: &Path) -> io::Result<Vec<u8>> {
    let question = Question::File(path.as_os_str().as_bytes().to_vec());
    match ask(question, || Answer::of(fs::read(path), Answer::Bytes))? {
        Answer::Bytes(bytes) => Ok(bytes),
        _ => Err(not_told()),
    }
}

/// The files in a folder, in no order; `None` where `path` is none.
///
/// # Errors
/// Where there is nothing, or it cannot be read.
pub fn folder(path: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let list = || {
        if !fs::metadata(path)?.is_dir() {
            return Ok(None);
        }
        let inside = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
        let inside = inside.collect::<io::Result<Vec<PathBuf>>>()?;
        Ok(Some(inside.iter().filter(|path| path.is_file()).map(|path| bytes(path)).collect()))
    };
    match ask(Question::Folder(bytes(path)), || Answer::of(list(), Answer::Files))? {
        Answer::Files(files) => {
            let path = |bytes: &Vec<u8>| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
            Ok(files.map(|files| files.iter().map(path).collect()))
        }
        _ => Err(not_told()),
    }
}

/// A host name's addresses, as the system's resolver knows them; none where it knows no such name.
#[must_use]
pub fn addresses(name: &str) -> Vec<IpAddr> {
    let look_up = || {
        let found = (name, 0).to_socket_addrs().into_iter().flatten();
        Answer::Addresses(found.map(|address| address.ip()).collect())
    };
    match ask(Question::Addresses(name.to_owned()), look_up) {
        Ok(Answer::Addresses(addresses)) => addresses,
        _ => Vec::new(),
    }
}

/// The sockets that `open` opens, or those that were opened in its place.
///
/// # Errors
/// What opening them said.
pub fn sockets(open: impl FnOnce() -> io::Result<Vec<OwnedFd>>) -> io::Result<Vec<OwnedFd>> {
    let mut opened = Vec::new();
    let open = || {
        Answer::of(open(), |sockets| {
            opened = sockets;
            Answer::Sockets(opened.len())
        })
    };
    let Answer::Sockets(count) = ask(Question::Sockets, open)? else { return Err(not_told()) };
    MODE.with_borrow_mut(|mode| match mode {
        Mode::Asking => Ok(opened),
        Mode::Noting(answers) => {
            for socket in &opened {
                answers.descriptors.push_back(socket.as_fd().try_clone_to_owned()?);
            }
            Ok(opened)
        }
        Mode::Told(answers) if answers.descriptors.len() >= count => {
            Ok(answers.descriptors.drain(..count).collect())
        }
        Mode::Told(_) => Err(not_told()),
    })
}

impl Answer {
    fn of<T>(result: io::Result<T>, answer: impl FnOnce(T) -> Self) -> Self {
        match result {
            Ok(value) => answer(value),
            Err(error) => Self::Failed(error.raw_os_error(), error.to_string()),
        }
    }
}

fn ask(question: Question, answer: impl FnOnce() -> Answer) -> io::Result<Answer> {
    let known = MODE.with_borrow_mut(|mode| match mode {
        Mode::Told(answers) => Some(match answers.given.pop_front() {
            Some((asked, answer)) if asked == question => Ok(answer),
            _ => Err(not_told()),
        }),
        Mode::Asking | Mode::Noting(_) => None,
    });
    let answer = match known {
        Some(known) => known?,
        None => answer(),
    };
    MODE.with_borrow_mut(|mode| {
        if let Mode::Noting(answers) = mode {
            answers.given.push_back((question, answer.clone()));
        }
    });
    match answer {
        Answer::Failed(Some(code), _) => Err(io::Error::from_raw_os_error(code)),
        Answer::Failed(None, text) => Err(io::Error::other(text)),
        answer => Ok(answer),
    }
}

/// The two readings of one configuration differ. They do not, unless the files' own texts do.
fn not_told() -> io::Error {
    io::Error::other("the process that reads the configuration as root was asked something else")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    fn read(path: &Path, missing: &Path) -> (Vec<u8>, io::ErrorKind, Vec<IpAddr>, usize) {
        let bytes = file(path).expect("a file");
        let kind = file(missing).expect_err("no file").kind();
        let opened = sockets(|| Ok(vec![TcpListener::bind("127.0.0.1:0")?.into()]));
        let opened = opened.expect("a port");
        let port = TcpListener::from(opened.into_iter().next().expect("one"));
        (bytes, kind, addresses("127.0.0.1"), port.as_raw_fd() as usize)
    }

    #[test]
    fn whoever_is_told_asks_nobody_and_reads_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, missing) = (folder.path().join("here"), folder.path().join("missing"));
        fs::write(&here, "text").expect("a file");
        let (first, answers) = note(|| read(&here, &missing));
        fs::remove_file(&here).expect("the file");
        let sent = serde_json::to_string(&answers).expect("plain data");
        let mut received: Answers = serde_json::from_str(&sent).expect("plain data");
        received.descriptors = answers.descriptors;
        let second = told(received, || read(&here, &missing));
        assert_eq!((&first.0, first.1, &first.2), (&second.0, second.1, &second.2));
        assert_eq!(first.0, b"text");
        assert_eq!(first.1, io::ErrorKind::NotFound);
        assert!(file(&here).is_err(), "afterwards the host is asked again");
    }

    #[test]
    fn another_question_is_not_answered() {
        let ((), answers) = note(|| drop(file(Path::new("/etc/hostname"))));
        let other = told(answers, || file(Path::new("/etc/shadow")));
        assert!(other.expect_err("it was not asked").to_string().contains("something else"));
    }

    #[test]
    fn a_folder_is_listed_and_a_file_is_none() {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("one");
        fs::write(&file, "").expect("a file");
        fs::create_dir(place.path().join("inner")).expect("a folder");
        assert_eq!(folder(place.path()).expect("listed"), Some(vec![file.clone()]));
        assert_eq!(folder(&file).expect("looked at"), None);
        assert!(folder(&place.path().join("none")).is_err());
    }
}
