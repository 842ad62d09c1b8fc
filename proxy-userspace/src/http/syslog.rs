//! Where log lines go: syslog over UDP or a Unix socket, or a descriptor; HAProxy's headers.

mod target;
mod writers;

pub use target::{Place, Target};

use super::event::{Log, Session, Stillborn};
use super::format::{Format, Surroundings, date};
use super::health;
use super::live::Backend;
use super::logline;
use super::sample::View;
use jiff::tz::TimeZone;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use writers::Writers;

/// The header before each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// `local`: rfc3164 without a host name, unless `log-send-hostname` is set.
    #[default]
    Local,
    /// `rfc3164`.
    Rfc3164,
    /// `rfc5424`.
    Rfc5424,
    /// `priority`: only level and facility.
    Priority,
    /// `short`: only the level, as systemd's journal reads it.
    Short,
    /// `timed`: level, then ISO date.
    Timed,
    /// `iso`: date only.
    Iso,
    /// `raw`: nothing at all.
    Raw,
}

/// How one proxy logs.
#[derive(Clone, Debug)]
pub struct Style {
    /// Where lines go.
    pub targets: Vec<Target>,
    /// What a session's line looks like.
    pub format: Format,
    /// `log-tag`.
    pub tag: String,
    /// `log-send-hostname`: the name to send.
    pub hostname: Option<String>,
    /// `option dontlog-normal`.
    pub dont_log_normal: bool,
    /// `option log-separate-errors`.
    pub separate_errors: bool,
    /// How a connection in `mode tcp` is called (`unique-id-format`).
    pub unique_id: Option<Format>,
}

/// All proxies' logs. A reload puts other styles in place.
#[derive(Debug)]
pub struct Logger {
    styles: RwLock<Arc<HashMap<String, Style>>>,
    /// Whether any style has a target.
    any: AtomicBool,
    surroundings: &'static Surroundings,
    dropped: AtomicU64,
    /// They outlive a reload.
    writers: Writers,
}

thread_local! {
    /// The line being written: one buffer a thread.
    static LINE: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

fn any(styles: &HashMap<String, Style>) -> bool {
    styles.values().any(|style| !style.targets.is_empty())
}

impl Logger {
    /// With each proxy's style by name.
    #[must_use]
    pub fn new(styles: HashMap<String, Style>) -> Self {
        Self {
            any: AtomicBool::new(any(&styles)),
            styles: RwLock::new(Arc::new(styles)),
            surroundings: Surroundings::here(),
            dropped: AtomicU64::new(0),
            writers: Writers::default(),
        }
    }

    /// Puts other styles in place.
    pub fn reload(&self, styles: HashMap<String, Style>) {
        self.any.store(any(&styles), Relaxed);
        *self.styles.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(styles);
    }

    /// Lines that could not be sent (`DroppedLogs`).
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed) + self.writers.failed()
    }

    /// Waits for what descriptors have still to take, a second at most for each.
    pub fn flush(&self) {
        self.writers.flush();
    }

    fn with_style(&self, proxy: &str, act: impl FnOnce(&Style)) {
        let styles = Arc::clone(&self.styles.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(style) = styles.get(proxy).filter(|style| !style.targets.is_empty()) {
            act(style);
        }
    }

    fn send(&self, style: &Style, level: u8, line: &[u8], message: &mut Vec<u8>) {
        for target in style.targets.iter().filter(|target| level <= target.level) {
            message.clear();
            let level = level.max(target.min_level);
            self.header(style, target, level, message);
            message.extend_from_slice(line);
            message.truncate(target.length.saturating_sub(1));
            message.push(b'\n');
            if !target.send(message, &self.writers) {
                self.dropped.fetch_add(1, Relaxed);
            }
        }
    }

    fn header(&self, style: &Style, target: &Target, level: u8, out: &mut Vec<u8>) {
        let now = SystemTime::now();
        let zone = &self.surroundings.zone;
        let priority = u32::from(target.facility) * 8 + u32::from(level);
        let (tag, pid) = (&style.tag, std::process::id());
        let name = style.hostname.as_deref();
        // A vector takes everything.
        match target.header {
            Header::Local | Header::Rfc3164 => {
                let _ = write!(out, "<{priority}>");
                date(out, now, zone, "%b %e %H:%M:%S", false);
                let own = (target.header == Header::Rfc3164).then_some(&*self.surroundings.host);
                let name = name.or(own);
                let _ = match name {
                    Some(name) => write!(out, " {name} {tag}[{pid}]: "),
                    None => write!(out, " {tag}[{pid}]: "),
                };
            }
            Header::Rfc5424 => {
                let _ = write!(out, "<{priority}>1 ");
                iso(out, now, zone);
                let _ = write!(out, " {} {tag} {pid} - - ", name.unwrap_or("-"));
            }
            Header::Priority => {
                let _ = write!(out, "<{priority}>");
            }
            Header::Short => {
                let _ = write!(out, "<{level}>");
            }
            Header::Timed => {
                let _ = write!(out, "<{level}>");
                iso(out, now, zone);
                out.push(b' ');
            }
            Header::Iso => {
                iso(out, now, zone);
                out.push(b' ');
            }
            Header::Raw => {}
        }
    }
}

/// `2026-11-22T15:44:21.784767+00:00`.
fn iso(out: &mut Vec<u8>, at: SystemTime, zone: &TimeZone) {
    date(out, at, zone, "%Y-%m-%dT%H:%M:%S", false);
    let micros = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_micros());
    let _ = write!(out, ".{micros:06}");
    date(out, at, zone, "%:z", false);
}

impl Log for Logger {
    fn wanted(&self) -> bool {
        self.any.load(Relaxed)
    }

    fn session(&self, session: &Session<'_>) {
        self.with_style(&session.frontend.settings.name, |style| {
            if style.dont_log_normal && logline::is_normal(session) {
                return;
            }
            let is_error = || style.separate_errors && logline::is_error(session);
            let level = session.level.unwrap_or_else(|| if is_error() { 3 } else { 6 });
            LINE.with_borrow_mut(|(line, message)| {
                line.clear();
                let mut session = *session;
                let unique_id = match &style.unique_id {
                    Some(format) if session.unique_id.is_empty() => unique_id(format, &session),
                    _ => Vec::new(),
                };
                if !unique_id.is_empty() {
                    session.unique_id = &unique_id;
                }
                let session = &session;
                let view = View {
                    moment: Some(session),
                    client: session.client,
                    local: session.local,
                    edits: session.variables,
                    ..View::default()
                };
                style.format.write(&view, self.surroundings, line);
                self.send(style, level, line, message);
                session.frontend.logged.fetch_add(1, Relaxed);
            });
        });
    }

    fn stillborn(&self, connection: &Stillborn<'_>) {
        let Stillborn { frontend, bind, client, accepted, why } = *connection;
        let name = &frontend.settings.name;
        self.with_style(name, |style| {
            let level = if style.separate_errors { 3 } else { 6 };
            LINE.with_borrow_mut(|(line, message)| {
                line.clear();
                // A vector takes everything.
                let _ = match client {
                    Some(client) => write!(line, "{}:{} [", client.ip(), client.port()),
                    None => write!(line, "unix:1 ["),
                };
                let zone = &self.surroundings.zone;
                date(line, accepted, zone, "%d/%b/%Y:%H:%M:%S", true);
                let _ = write!(line, "] {name}/{bind}: {why}");
                self.send(style, level, line, message);
            });
        });
    }
}

/// The name of a connection in `mode tcp`, which nobody has asked for until now.
fn unique_id(format: &Format, session: &Session<'_>) -> Vec<u8> {
    let (client, local) = (session.client, session.local);
    format.fill(&View { moment: Some(session), client, local, ..View::default() })
}

impl Logger {
    /// Says something of the proxy of that name, at a syslog level (0 to 7).
    pub fn tell(&self, proxy: &str, level: u8, line: &str) {
        self.with_style(proxy, |style| {
            LINE.with_borrow_mut(|(_, message)| self.send(style, level, line.as_bytes(), message));
        });
    }
}

impl health::Events for Logger {
    fn event(&self, backend: &Backend, level: u8, line: &str) {
        self.tell(&backend.settings.name, level, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::balance::{Algorithm, Balance, Hashing};
    use crate::http::health::Events as _;
    use crate::http::live::Proxies;
    use crate::http::settings;
    use std::net::UdpSocket;
    use std::time::Duration;

    fn heard(header: Header, level: u8, sent: u8) -> Option<String> {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut target = Target::open(Place::Udp(server.local_addr().unwrap())).unwrap();
        (target.header, target.facility, target.level) = (header, 18, level);
        let style = Style {
            targets: vec![target],
            format: Format::default(),
            tag: "teardown".to_owned(),
            hostname: None,
            dont_log_normal: false,
            unique_id: None,
            separate_errors: false,
        };
        let logger = Logger::new([("b".to_owned(), style)].into());
        let balance = Arc::new(Balance::new(Algorithm::RoundRobin, Hashing::default(), 1));
        let backend = settings::Backend::new("b", balance);
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        let proxies = Proxies::new(settings, 1, Arc::default());
        logger.event(&proxies.backends[0], sent, "Server b/s is DOWN.");
        let mut buffer = [0; 2_000];
        let length = server.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn headers_are_haproxys() {
        let pid = std::process::id();
        let line = heard(Header::Local, 7, 1).unwrap();
        assert!(line.starts_with("<145>"), "{line}");
        assert!(line.ends_with(&format!(" teardown[{pid}]: Server b/s is DOWN.\n")), "{line}");
        let line = heard(Header::Rfc5424, 7, 1).unwrap();
        let tail = format!(" - teardown {pid} - - Server b/s is DOWN.\n");
        assert!(line.starts_with("<145>1 20") && line.ends_with(&tail), "{line}");
        assert_eq!(heard(Header::Short, 7, 1).unwrap(), "<1>Server b/s is DOWN.\n");
        assert_eq!(heard(Header::Priority, 7, 1).unwrap(), "<145>Server b/s is DOWN.\n");
        assert_eq!(heard(Header::Raw, 7, 1).unwrap(), "Server b/s is DOWN.\n");
    }

    #[test]
    fn what_is_less_urgent_than_the_level_stays_out() {
        assert_eq!(heard(Header::Raw, 3, 5), None);
    }
}
