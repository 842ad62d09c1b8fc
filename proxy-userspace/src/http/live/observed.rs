//! What requests say of a server's health (`observe`).

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use tokio::sync::Notify;

use super::Server;

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Connections alone.
    Four,
    /// Answers to requests, too.
    Seven,
}

/// `observe` and `error-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    /// What counts.
    pub layer: Layer,
    /// So many errors in a row are too many.
    pub limit: u32,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The connection was there...
    Connected,
    /// ...or could not be.
    Unconnected,
    /// An answer with a status that is no error of the server's...
    Right,
    /// ...or one that is.
    Wrong,
    /// What was no answer.
    Invalid,
    /// No answer in time.
    Late,
    /// The connection was closed instead.
    Closed,
}

impl Sign {
    /// What a status says.
    pub(crate) fn of(status: u16) -> Self {
        if status < 500 || matches!(status, 501 | 505) { Self::Right } else { Self::Wrong }
    }

    /// In HAProxy's words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "L4 successful connection",
            Self::Unconnected => "L4 unsuccessful connection",
            Self::Right => "Correct http response",
            Self::Wrong => "Wrong http response",
            Self::Invalid => "Invalid http response (headers)",
            Self::Late => "Read timeout (http)",
            Self::Closed => "Close from server (http)",
        }
    }

    /// Whether it is a good one, where it counts.
    fn is_good(self, layer: Layer) -> Option<bool> {
        match (self, layer) {
            (Self::Unconnected, _) => Some(false),
            (Self::Connected, Layer::Four) | (Self::Right, Layer::Seven) => Some(true),
            (Self::Connected, Layer::Seven) | (_, Layer::Four) => None,
            (_, Layer::Seven) => Some(false),
        }
    }
}

/// How many errors there were in a row, and the last one.
pub type Alarm = (u32, Sign);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Errors in a row.
    errors: AtomicU32,
    /// How often there were too many.
    alarms: AtomicU64,
    last: Mutex<Option<Alarm>>,
    heard: Notify,
}

impl Server {
    /// Takes note of what came of a request, where that counts.
    pub fn note(&self, sign: Sign) {
        let Some(Observe { layer, limit }) = self.settings.observe else { return };
        let observed = &self.observed;
        match sign.is_good(layer) {
            None => return,
            // A store would take the line from the other workers, a look does not.
            Some(true) if observed.errors.load(Relaxed) == 0 => return,
            Some(true) => return observed.errors.store(0, Relaxed),
            Some(false) => {}
        }
        let errors = observed.errors.fetch_add(1, Relaxed) + 1;
        if errors >= limit {
            observed.errors.store(0, Relaxed);
            observed.alarms.fetch_add(1, Relaxed);
            *observed.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((errors, sign));
            observed.heard.notify_one();
        }
    }

    /// Waits until there were too many errors in a row.
    pub(crate) async fn alarm(&self) -> Alarm {
        loop {
            self.observed.heard.notified().await;
            let last = self.observed.last.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(alarm) = last {
                return alarm;
            }
        }
    }

    /// A check says that it is well: errors of before count no more.
    pub(crate) fn forget_errors(&self) {
        self.observed.errors.store(0, Relaxed);
    }

    /// How often there were too many (`hanafail`).
    pub fn alarms(&self) -> u64 {
        self.observed.alarms.load(Relaxed)
    }
}
