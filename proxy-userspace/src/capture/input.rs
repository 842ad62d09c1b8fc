//! The bytes of a capture: a file or standard input, decompressed, its kind told.

use super::Error;
use super::detect::{self, Compression, Kind, LOOK};
use super::pipe::{Pipe, Waiting};
use super::utf16::{self, Utf16};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

/// How far the reading has come, shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read of the file as it lies on the disk.
    pub read: Cell<u64>,
    /// Its length; 0 where that is not known.
    pub total: u64,
}

/// A capture that is ready to be read.
pub struct Input {
    /// What messages call it.
    pub name: String,
    /// The kind that its first bytes tell.
    pub kind: Kind,
    /// How far it was read.
    pub progress: Rc<Progress>,
    /// Whether it may come as it happens.
    pub is_pipe: bool,
    head: Vec<u8>,
    served: usize,
    rest: Box<dyn Read>,
    failure: Rc<RefCell<Option<io::Error>>>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Input").field("name", &self.name).field("kind", &self.kind).finish()
    }
}

impl Input {
    /// Opens `path`; `-` is standard input. `forced` spares the detection.
    ///
    /// # Errors
    /// Where it cannot be opened or its first bytes cannot be read, and where they are those of
    /// something else.
    pub fn open(path: &Path, forced: Option<Kind>) -> Result<Self, Error> {
        let is_standard = path == Path::new("-");
        let name = if is_standard { "standard input".into() } else { shown(path) };
        let open = |source| Error::Open { name: name.clone(), source };
        let file = match is_standard {
            true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            false => File::open(path),
        };
        let file = file.map_err(open)?;
        let meta = file.metadata().map_err(open)?;
        if meta.is_dir() {
            let what = "it is a folder; give a file (`teardown diff` takes folders)".into();
            return Err(Error::Foreign { name, what });
        }
        match Pipe::of(file) {
            Ok(pipe) => Ok(Self { is_pipe: true, ..Self::new(name, pipe, 0, forced)? }),
            Err(file) => Self::new(name, file, meta.len(), forced),
        }
    }

    /// Takes any stream of `total` bytes (0 where that is not known).
    ///
    /// # Errors
    /// As [`Input::open`].
    pub fn new(
        name: String,
        stream: impl Read + 'static,
        total: u64,
        forced: Option<Kind>,
    ) -> Result<Self, Error> {
        let progress = Rc::new(Progress { read: Cell::new(0), total });
        let mut raw: Box<dyn Read> =
            Box::new(Counted { inner: stream, progress: Rc::clone(&progress) });
        let read = |source| Error::Read { name: name.clone(), source };
        let mut head = look(&mut raw, Vec::new(), 4).map_err(read)?;
        if let Some(compression) = detect::compression(&head) {
            // Who compresses holds back as much as a pipe does.
            raw = decompressed(compression, io::Cursor::new(head).chain(Waiting(raw)));
            head = look(&mut raw, Vec::new(), 4).map_err(read)?;
        }
        if let Some(order) = utf16::order(&head) {
            raw = Box::new(Utf16::new(io::Cursor::new(head).chain(raw), order));
            head = Vec::new();
        }
        head = look(&mut raw, head, LOOK).map_err(read)?;
        let kind = match forced {
            Some(kind) => kind,
            None => {
                detect::kind(&head).map_err(|what| Error::Foreign { name: name.clone(), what })?
            }
        };
        let failure = Rc::default();
        Ok(Self { name, kind, progress, is_pipe: false, head, served: 0, rest: raw, failure })
    }

    /// The first bytes, before they are read.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Where the error is kept that ended the reading; the parsers of pcap do not pass it on.
    #[must_use]
    pub fn failure(&self) -> Rc<RefCell<Option<io::Error>>> {
        Rc::clone(&self.failure)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let waiting = &self.head[self.served..];
        if !waiting.is_empty() {
            let n = waiting.len().min(buffer.len());
            buffer[..n].copy_from_slice(&waiting[..n]);
            self.served += n;
            return Ok(n);
        }
        loop {
            match self.rest.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    // What was read so far is worth showing: the error becomes the file's end.
                    *self.failure.borrow_mut() = Some(error);
                    return Ok(0);
                }
                done => return done,
            }
        }
    }
}

/// A path as it can be shown: what a terminal would act on is escaped.
#[must_use]
pub fn shown(path: &Path) -> String {
    let escaped = |letter: char| {
        let acts = letter.is_control();
        if acts { letter.escape_default().to_string() } else { letter.to_string() }
    };
    path.display().to_string().chars().map(escaped).collect()
}

/// The first bytes of a stream, at most `wanted`, of which `head` was read before. A slow pipe is
/// not waited for longer than it takes to tell what it is, and how a text is to be read: that where it
/// pauses, as what is pasted comes at once.
fn look(stream: &mut dyn Read, mut head: Vec<u8>, wanted: usize) -> io::Result<Vec<u8>> {
    let mut filled = head.len();
    let mut is_drained = false;
    head.resize(wanted, 0);
    while filled < wanted && !tells(&head[..filled]) {
        match stream.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(n) => {
                filled += n;
                is_drained = false;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if is_drained && detect::tells_text(&head[..filled]) {
                    break;
                }
                is_drained = true;
            }
            // A compressed stream may end early; its first bytes still tell what it is.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// Whether `head` is enough for the kind and for that kind's reader to begin with.
fn tells(head: &[u8]) -> bool {
    match head {
        // The whole section header block, whose length is in the section's byte order.
        [0x0a, 0x0d, 0x0d, 0x0a, a, b, c, d, m, _, _, _, ..] => {
            let length = [*a, *b, *c, *d];
            let length =
                if *m == 0x4d { u32::from_le_bytes(length) } else { u32::from_be_bytes(length) };
            head.len() >= length as usize
        }
        [0xa1 | 0xd4 | 0x4d | 0x34, ..] => head.len() >= 24,
        // How a text is read is told by all of its first lines, however they come.
        _ => false,
    }
}

/// Counts the bytes that are taken from the file.
struct Counted<R> {
    inner: R,
    progress: Rc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.progress.read.set(self.progress.read.get() + n as u64);
        Ok(n)
    }
}

fn decompressed(compression: Compression, stream: impl Read + 'static) -> Box<dyn Read> {
    match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(stream)),
        Compression::Zstd => Box::new(Zstd {
            source: BufReader::with_capacity(1 << 16, stream),
            decoder: FrameDecoder::new(),
            within: false,
        }),
    }
}

/// All the frames of a zstd stream; the library's own reader stops after the first.
struct Zstd<R> {
    source: BufReader<R>,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: Read> Zstd<R> {
    /// Begins the next frame; false at the stream's end.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.source).take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within {
                if !self.begin()? {
                    return Ok(0);
                }
                self.within = true;
            }
            while self.decoder.can_collect() < buffer.len() && !self.decoder.is_finished() {
                let enough = BlockDecodingStrategy::UptoBytes(buffer.len());
                self.decoder.decode_blocks(&mut self.source, enough).map_err(io::Error::other)?;
            }
            let n = self.decoder.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            self.within = !self.decoder.is_finished();
        }
    }
}
