//! FTP's control connections, as far as Zeek's conn.log tells of them: its FTP analyser names the
//! service, and adds an `X` to the history where it gives up on a command that is too long.
//!
//! Nothing is reassembled: lines are read where a segment holds them whole.

/// Zeek's `FTP::ports`.
const PORTS: [u16; 2] = [21, 2811];
/// Zeek's `FTP::max_command_length`.
const LONGEST_COMMAND: usize = 40;

/// What Zeek's analyser knows of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ftp {
    /// A command was read, and nothing came that is no FTP.
    pub is_confirmed: bool,
    /// Letters that the history had when a command was too long.
    pub stopped_at: Option<u8>,
    /// A reply was none: the analyser is off.
    is_off: bool,
    /// The code of a reply that goes on for several lines.
    pending: Option<u16>,
}

impl Ftp {
    /// Whether connections to this port are looked at.
    #[must_use]
    pub fn is_expected(port: u16) -> bool {
        PORTS.contains(&port)
    }

    /// Looks at the data of a segment; the history has `letters` so far.
    pub fn note(&mut self, from_client: bool, data: &[u8], letters: u8) {
        let Some(end) = memchr::memrchr(b'\n', data) else { return };
        for line in data[..end].split(|&byte| byte == b'\n') {
            if self.is_off || line.is_empty() {
                return;
            }
            if from_client {
                self.command(line, letters);
            } else {
                self.reply(line.strip_suffix(b"\r").unwrap_or(line));
            }
        }
    }

    fn command(&mut self, line: &[u8], letters: u8) {
        let line = line.trim_ascii_start();
        let len = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        if len < 3 || !line[..len].iter().all(u8::is_ascii_graphic) {
            return;
        }
        if len <= LONGEST_COMMAND {
            self.is_confirmed = true;
        } else if self.is_confirmed && self.stopped_at.is_none() {
            self.stopped_at = Some(letters);
        }
    }

    fn reply(&mut self, line: &[u8]) {
        let code = match line {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                Some([a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(**digit - b'0')))
            }
            _ => None,
        };
        let separator = line.get(3).copied();
        match (self.pending, code) {
            (Some(pending), _) => {
                if code == Some(pending) && separator == Some(b' ') {
                    self.pending = None;
                }
            }
            (None, Some(100..)) if matches!(separator, None | Some(b' ')) => {}
            (None, Some(100..)) if separator == Some(b'-') => self.pending = code,
            (None, _) => {
                self.is_off = true;
                self.is_confirmed = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(lines: &[(bool, &str)]) -> Ftp {
        let mut ftp = Ftp::default();
        for (letters, (from_client, line)) in lines.iter().enumerate() {
            ftp.note(*from_client, line.as_bytes(), letters as u8);
        }
        ftp
    }

    #[test]
    fn commands_that_are_too_long_stop_it() {
        let long = "TYPE".repeat(20) + "\r\n";
        let talk = [(false, "220 ready\r\n"), (true, "USER a\r\n"), (true, &*long), (true, &*long)];
        assert_eq!(played(&talk).stopped_at, Some(2));
        assert!(played(&talk).is_confirmed);
        // Zeek says nothing of it before it is sure that this is FTP.
        assert_eq!(played(&talk[2..]), Ftp::default());
        // Long arguments are no long commands.
        let argument = format!("RETR {long}");
        assert_eq!(played(&[(true, &*argument)]).stopped_at, None);
    }

    #[test]
    fn what_is_no_reply_ends_it() {
        assert!(played(&[(true, "USER a\r\n"), (false, "331 password?\r\n")]).is_confirmed);
        for wrong in ["SSH-2.0-x\r\n", "099 no\r\n", "220x\r\n"] {
            assert!(!played(&[(false, wrong), (true, "USER a\r\n")]).is_confirmed, "{wrong}");
        }
        let several = [(false, "220-hello\r\n all\r\n220 ready\r\n"), (true, "USER a\r\n")];
        assert!(played(&several).is_confirmed);
    }
}
