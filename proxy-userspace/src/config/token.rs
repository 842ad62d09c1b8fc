//! A line of haproxy.cfg as words: quotes, escapes, comments and environment variables.
//!
//! The rules are those of HAProxy's `parse_line` and of chapter 2.2 and 2.3 of its manual.

use crate::units::hex_byte;
use std::fmt;
use std::sync::Arc;

/// HAProxy's `MAX_LINE_ARGS`: more words than this on a line are a mistake.
pub const MAX_WORDS: usize = 64;

/// Where a word stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file as it was given.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column of the first byte, from 1; 0 stands for the whole line.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.line)?;
        if self.column > 0 { write!(out, ":{}", self.column) } else { Ok(()) }
    }
}

/// A word, unquoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word's text, quotes and escapes resolved.
    pub text: String,
    /// The column of its first byte in the file, from 1.
    pub column: u32,
}

/// A line with at least one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file.
    pub file: Arc<str>,
    /// The line's number, from 1.
    pub number: u32,
    /// The words.
    pub words: Vec<Word>,
    /// The column just behind the last word.
    pub end: u32,
}

impl Line {
    /// The position of word `index`, or just behind the last one.
    #[must_use]
    pub fn at(&self, index: usize) -> Position {
        let column = self.words.get(index).map_or(self.end, |word| word.column);
        Position { file: Arc::clone(&self.file), line: self.number, column }
    }

    /// The text of word `index`; empty behind the end, as HAProxy has it.
    #[must_use]
    pub fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| &word.text)
    }
}

/// Why a line could not be cut into words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    /// Where, from 1.
    pub column: u32,
    /// What, and what would be right.
    pub message: String,
}

/// Looks up an environment variable or one of HAProxy's pseudo-variables (`.FILE`, `.LINE`, ...).
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Cuts `text`, one line without its line feed, into words.
///
/// # Errors
/// The first place that cannot be read.
pub fn words(text: &[u8], environment: Environment<'_>) -> Result<(Vec<Word>, u32), TokenError> {
    let mut cutter = Cutter { text, at: 0, words: Vec::new(), open: None };
    cutter.run(environment)?;
    let end = cutter.at.min(text.len());
    Ok((cutter.words, column(end)))
}

/// `$NAME` and `${NAME}` in a word that stands without quotes: addresses may have them there, too.
#[must_use]
pub fn expanded(text: &str, environment: Environment<'_>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        let named = behind.strip_prefix('{').unwrap_or(behind);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = named.find(|c| !is_name(c)).unwrap_or(named.len());
        out.push_str(&environment(&named[..end]).unwrap_or_default());
        let braced = named.len() < behind.len();
        rest = named[end..].strip_prefix('}').filter(|_| braced).unwrap_or(&named[end..]);
    }
    out + rest
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Weak,
    Strong,
}

struct Cutter<'a> {
    text: &'a [u8],
    at: usize,
    words: Vec<Word>,
    /// The word being read: its bytes and where it began.
    open: Option<(Vec<u8>, usize)>,
}

impl Cutter<'_> {
    fn run(&mut self, environment: Environment<'_>) -> Result<(), TokenError> {
        let mut quote = Quote::None;
        let mut quoted_at = 0;
        while let Some(&byte) = self.text.get(self.at) {
            match (byte, quote) {
                (0, _) => return Err(error(self.at, "a NUL byte is not text")),
                (b'#', Quote::None) => break,
                (b'"', Quote::None) | (b'\'', Quote::None) => {
                    quote = if byte == b'"' { Quote::Weak } else { Quote::Strong };
                    quoted_at = self.at;
                    self.begin();
                    self.at += 1;
                }
                (b'"', Quote::Weak) | (b'\'', Quote::Strong) => {
                    quote = Quote::None;
                    self.at += 1;
                }
                (b'\\', Quote::None | Quote::Weak) => self.escape()?,
                (b'$', Quote::Weak) => self.variable(environment)?,
                (b' ' | b'\t' | b'\r' | 0x0b | 0x0c, Quote::None) => {
                    self.close()?;
                    self.at += 1;
                }
                _ => {
                    self.push(byte);
                    self.at += 1;
                }
            }
        }
        match quote {
            Quote::None => self.close(),
            Quote::Weak => Err(error(quoted_at, "this double quote is never closed")),
            Quote::Strong => Err(error(quoted_at, "this single quote is never closed")),
        }
    }

    fn begin(&mut self) {
        if self.open.is_none() {
            self.open = Some((Vec::new(), self.at));
        }
    }

    fn push(&mut self, byte: u8) {
        self.begin();
        if let Some((bytes, _)) = &mut self.open {
            bytes.push(byte);
        }
    }

    fn close(&mut self) -> Result<(), TokenError> {
        let Some((bytes, start)) = self.open.take() else { return Ok(()) };
        if self.words.len() == MAX_WORDS {
            return Err(error(start, "more than 64 words on one line"));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| error(start, "this word is not UTF-8; write the file in UTF-8"))?;
        self.words.push(Word { text, column: column(start) });
        Ok(())
    }

    fn escape(&mut self) -> Result<(), TokenError> {
        let next = self.text.get(self.at + 1).copied();
        let (byte, length) = match next {
            Some(b @ (b' ' | b'\t' | b'#' | b'\\' | b'"' | b'\'' | b'$')) => (b, 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'x') => {
                let byte = self
                    .text
                    .get(self.at + 2..self.at + 4)
                    .and_then(hex_byte)
                    .ok_or_else(|| error(self.at, "'\\x' expects two hexadecimal digits"))?;
                if byte == 0 {
                    return Err(error(self.at, "no word has a NUL in it"));
                }
                (byte, 4)
            }
            // Any other backslash stands for itself, as in regular expressions.
            _ => (b'\\', 1),
        };
        self.push(byte);
        self.at += length;
        Ok(())
    }

    fn variable(&mut self, environment: Environment<'_>) -> Result<(), TokenError> {
        let start = self.at;
        let braced = self.text.get(start + 1) == Some(&b'{');
        let name_at = start + 1 + usize::from(braced);
        let rest = self.text.get(name_at..).unwrap_or_default();
        let dot = usize::from(rest.first() == Some(&b'.'));
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = dot + rest[dot..].iter().take_while(|byte| is_name(byte)).count();
        let name = String::from_utf8_lossy(&rest[..length]).into_owned();
        let right = "expected $NAME, ${NAME}, ${NAME-default} or ${NAME[*]}; \
                     a dollar sign itself is \\$ within double quotes";
        if length == dot || rest[dot].is_ascii_digit() {
            return Err(error(
                start,
                &format!("no variable's name follows the dollar sign: {right}"),
            ));
        }
        let mut value = environment(&name);
        self.at = name_at + length;
        if !braced {
            self.text_of(&value.unwrap_or_default(), false)?;
            return Ok(());
        }
        let spread = self.text[self.at..].starts_with(b"[*]");
        self.at += 3 * usize::from(spread);
        if self.text.get(self.at) == Some(&b'-') {
            let default = self.text[self.at + 1..].iter().position(|&byte| byte == b'}');
            let default =
                default.ok_or_else(|| error(start, "this '${' is never closed by '}'"))?;
            let text = &self.text[self.at + 1..self.at + 1 + default];
            value = value.or_else(|| Some(String::from_utf8_lossy(text).into_owned()));
            self.at += 1 + default;
        }
        if self.text.get(self.at) != Some(&b'}') {
            return Err(error(start, &format!("this '${{' is never closed by '}}': {right}")));
        }
        self.at += 1;
        self.text_of(&value.unwrap_or_default(), spread)
    }

    /// A variable's value becomes part of the word, or, spread, as many words as it has.
    fn text_of(&mut self, value: &str, spread: bool) -> Result<(), TokenError> {
        self.begin();
        for byte in value.bytes() {
            if spread && byte.is_ascii_whitespace() {
                self.close()?;
            } else {
                self.push(byte);
            }
        }
        Ok(())
    }
}

fn column(offset: usize) -> u32 {
    u32::try_from(offset + 1).unwrap_or(u32::MAX)
}

fn error(offset: usize, message: &str) -> TokenError {
    TokenError { column: column(offset), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let environment = |name: &str| match name {
            "PORT" => Some("8080".to_owned()),
            "LIST" => Some("a b  c".to_owned()),
            "EMPTY" => Some(String::new()),
            ".LINE" => Some("7".to_owned()),
            _ => None,
        };
        let (words, _) = words(text.as_bytes(), &environment).unwrap();
        words.into_iter().map(|word| word.text).collect()
    }

    fn refused(text: &str) -> TokenError {
        words(text.as_bytes(), &|_| None).unwrap_err()
    }

    #[test]
    fn the_manuals_equivalent_lines_are_equivalent() {
        let want = ["log-format", "%{+Q}o %t %s %{-Q}r"];
        for line in [
            r"log-format %{+Q}o\ %t\ %s\ %{-Q}r",
            r#"log-format "%{+Q}o %t %s %{-Q}r""#,
            r"log-format '%{+Q}o %t %s %{-Q}r'",
            r#"log-format "%{+Q}o %t"' %s %{-Q}r'"#,
            r#"log-format "%{+Q}o %t"' %s'\ %{-Q}r"#,
        ] {
            assert_eq!(cut(line), want, "{line}");
        }
    }

    #[test]
    fn escapes_follow_the_manuals_matrix() {
        assert_eq!(cut(r"a\x20b \#c \\ \' \$x"), ["a b", "#c", "\\", "'", "$x"]);
        assert_eq!(cut(r#""a\x20b" "\"" "\$PORT" "'#""#), ["a b", "\"", "$PORT", "'#"]);
        assert_eq!(cut(r"'\n' \n \d"), ["\\n", "\n", "\\d"]);
    }

    #[test]
    fn comments_end_a_line_wherever_they_start() {
        assert_eq!(cut("global#this is it"), ["global"]);
        assert_eq!(cut("  # nothing"), [""; 0]);
        assert_eq!(cut("mode \t http   # or tcp"), ["mode", "http"]);
    }

    #[test]
    fn variables_expand_within_double_quotes_only() {
        assert_eq!(
            cut(r#"":${PORT}" ":$PORT" $PORT '$PORT'"#),
            [":8080", ":8080", "$PORT", "$PORT"]
        );
        assert_eq!(cut(r#""${NONE-localhost}:514" "${EMPTY-x}""#), ["localhost:514", ""]);
        assert_eq!(cut(r#"x "${LIST[*]}" "$NONE" "$.LINE""#), ["x", "a", "b", "c", "", "7"]);
    }

    #[test]
    fn an_empty_quote_is_a_word() {
        assert_eq!(cut(r#"a "" b"#), ["a", "", "b"]);
    }

    #[test]
    fn columns_count_from_one() {
        let (words, end) = words(b"  bind  \"a b\" # c", &|_| None).unwrap();
        let columns: Vec<u32> = words.iter().map(|word| word.column).collect();
        assert_eq!((columns, end), (vec![3, 9], 15));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let cases = [
            (r#"log "abc"#, 5, "double quote is never closed"),
            ("log 'abc", 5, "single quote is never closed"),
            (r"a \xg1", 3, "two hexadecimal digits"),
            (r"a \x+1", 3, "two hexadecimal digits"),
            (r"a \x00", 3, "NUL"),
            (r#""${A"#, 2, "never closed by '}'"),
            (r#""$ ""#, 2, "no variable's name"),
            ("a\0", 2, "NUL"),
        ];
        for (text, column, part) in cases {
            let error = refused(text);
            assert_eq!(error.column, column, "{text}");
            assert!(error.message.contains(part), "{text}: {error}");
        }
        assert!(refused(&"a ".repeat(65)).message.contains("64 words"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let _ = words(&text, &|name| Some(name.to_owned()));
        }
    }
}
