//! The chunked transfer coding, checked byte by byte: RFC 9112, 7.1.
//!
//! The decoder only says where data and framing are; it holds no bytes. It takes exactly the
//! grammar: no space around a size, no bare LF, no trailer that would change how the message is
//! read.

use super::{framing::is_token, refusal::Refusal};

/// The most bytes of extensions and trailers in one message.
const OVERHEAD_LIMIT: u32 = 16384;

/// Longest forbidden trailer name.
const NAME_LIMIT: usize = 20;

/// Fields that no trailer may be: framing, routing, request modifiers, authentication and
/// content (RFC 9110, 6.5.1).
const FORBIDDEN: [&[u8]; 12] = [
    b"authorization",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"set-cookie",
    b"te",
    b"transfer-encoding",
];

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of data.
    Data(usize),
    /// So many bytes of sizes, extensions, line ends or trailers.
    Framing(usize),
    /// So many bytes of framing, and the message is over. May be 0.
    End(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit, or after it.
    Size,
    /// BWS before `;`: a semicolon must follow.
    BeforeExtension,
    Extension,
    Quoted,
    QuotedPair,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer's line.
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
    Over,
}

/// Follows a chunked body.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    /// Digits of the size so far.
    digits: u8,
    /// Of the size so far, then of the chunk's data.
    left: u64,
    /// Bytes of extensions and trailers so far.
    overhead: u32,
    name: [u8; NAME_LIMIT],
    name_len: u8,
}

impl Default for Chunked {
    fn default() -> Self {
        Self {
            state: State::Size,
            digits: 0,
            left: 0,
            overhead: 0,
            name: [0; NAME_LIMIT],
            name_len: 0,
        }
    }
}

impl Chunked {
    /// Whether the message is over.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Data bytes of the current chunk that are still to come.
    pub fn left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// Counts data of the current chunk that passed by another way; at most [`Chunked::left`].
    pub fn passed(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.left());
        self.left -= bytes;
        if self.left == 0 {
            self.state = State::DataCr;
        }
    }

    /// What the next bytes are; `bytes` must not be empty.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Refusal> {
        if self.state == State::Data {
            let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.passed(here as u64);
            return Ok(Piece::Data(here));
        }
        for (at, &byte) in bytes.iter().enumerate() {
            match self.state {
                State::Data => return Ok(Piece::Framing(at)),
                State::Over => return Ok(Piece::End(at)),
                _ => self.step(byte)?,
            }
        }
        let all = bytes.len();
        Ok(if self.is_over() { Piece::End(all) } else { Piece::Framing(all) })
    }

    /// Follows as many bytes as belong to the message; returns how many, and whether it is over.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while at < bytes.len() && !self.is_over() {
            match self.next(&bytes[at..])? {
                Piece::Data(n) | Piece::Framing(n) | Piece::End(n) => at += n,
            }
        }
        Ok((at, self.is_over()))
    }

    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        self.state = match (self.state, byte) {
            (State::Size, _) => return self.size(byte),
            (State::BeforeExtension, b' ' | b'\t') => self.more(State::BeforeExtension)?,
            (State::BeforeExtension, b';') => self.more(State::Extension)?,
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'"') => self.more(State::Quoted)?,
            (State::Extension, b';' | b'=' | b' ' | b'\t') => self.more(State::Extension)?,
            (State::Extension, b) if is_token(b) => self.more(State::Extension)?,
            (State::Quoted, b'"') => self.more(State::Extension)?,
            (State::Quoted, b'\\') => self.more(State::QuotedPair)?,
            (State::Quoted | State::QuotedPair, b) if is_text(b) => self.more(State::Quoted)?,
            (State::BeforeExtension | State::Extension | State::Quoted | State::QuotedPair, _) => {
                return Err(Refusal::ChunkExtension);
            }
            (State::SizeLf, b'\n') if self.left == 0 => State::Line,
            (State::SizeLf, b'\n') => State::Data,
            (State::SizeLf, _) => return Err(Refusal::ChunkSize),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.digits = 0;
                State::Size
            }
            (State::DataCr | State::DataLf, _) => return Err(Refusal::ChunkEnd),
            (State::Line, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::Over,
            (State::Line, b) if is_token(b) => {
                self.name_len = 0;
                self.name(b)?
            }
            (State::Name, b) if is_token(b) => self.name(b)?,
            (State::Name, b':') => {
                let name = &self.name[..usize::from(self.name_len).min(NAME_LIMIT)];
                if usize::from(self.name_len) <= NAME_LIMIT && FORBIDDEN.contains(&name) {
                    return Err(Refusal::Trailer);
                }
                self.more(State::Value)?
            }
            (State::Value, b'\r') => State::ValueLf,
            (State::Value, b) if is_text(b) => self.more(State::Value)?,
            (State::ValueLf, b'\n') => State::Line,
            (State::Data | State::Over, _) => unreachable!("no framing is expected"),
            _ => return Err(Refusal::Trailer),
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<(), Refusal> {
        match byte {
            b'\r' if self.digits > 0 => self.state = State::SizeLf,
            b';' if self.digits > 0 => self.state = State::Extension,
            b' ' | b'\t' if self.digits > 0 => self.state = State::BeforeExtension,
            _ => {
                let digit = char::from(byte).to_digit(16).ok_or(Refusal::ChunkSize)?;
                if self.digits == 0 {
                    self.left = 0;
                }
                // 15 digits are an exbibyte: longer sizes are meant to overflow someone.
                if self.digits == 15 {
                    return Err(Refusal::ChunkSize);
                }
                self.digits += 1;
                self.left = self.left << 4 | u64::from(digit);
            }
        }
        Ok(())
    }

    fn name(&mut self, byte: u8) -> Result<State, Refusal> {
        if let Some(place) = self.name.get_mut(usize::from(self.name_len)) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_len = self.name_len.saturating_add(1);
        self.more(State::Name)
    }

    fn more(&mut self, state: State) -> Result<State, Refusal> {
        self.overhead += 1;
        let trailing = matches!(state, State::Name | State::Value);
        match self.overhead > OVERHEAD_LIMIT {
            false => Ok(state),
            true if trailing => Err(Refusal::Trailer),
            true => Err(Refusal::ChunkExtension),
        }
    }
}

/// Field content: tab, space, visible ASCII, and bytes above.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests;
