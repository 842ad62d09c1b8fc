//! One worker: a thread with a runtime of its own, and everything its tasks share.

use std::{
    cell::{Cell, RefCell},
    fmt,
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use super::{
    closes::{Class, Closes, Cookie, Doing, Upstream},
    counters::{Count, Counters},
    event::Log,
    held::HeldProxies,
    live::{Frontend, Proxies},
    pool::{Idle, Pool},
    runtime::Runtime,
    session::Sessions,
    settings::Mode,
    sock::{reset_on_close, silence},
    spares::Spares,
    splice::Pipes,
};

/// The receive buffer's size.
const SCRATCH: usize = 128 * 1024;

/// Buffers that are kept for the next who needs one.
const SPARE: usize = 64;

/// So many connections that went at once leave memory behind that is worth giving back.
pub(crate) const CROWD: usize = 256;

/// Gives free memory back to the system: the allocator would keep it, as what is still in use
/// lies between.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What all workers share with the outside.
pub(crate) struct Outside {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) closes: Arc<dyn Closes>,
    serial: AtomicU64,
    requests: AtomicU64,
}

impl Outside {
    pub(crate) fn new(log: Arc<dyn Log>, closes: Arc<dyn Closes>) -> Self {
        Self { log, closes, serial: AtomicU64::new(1), requests: AtomicU64::new(0) }
    }

    /// The next session's number.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Relaxed)
    }

    /// The next request's number.
    pub(crate) fn request(&self) -> u64 {
        self.requests.fetch_add(1, Relaxed)
    }
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) proxies: RefCell<Rc<HeldProxies>>,
    pub(crate) outside: Arc<Outside>,
    /// Every read goes here first. Never borrowed across an await.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    spare: RefCell<Vec<Vec<u8>>>,
    pub(crate) sessions: Sessions,
    pub(crate) pool: Pool,
    pub(crate) spares: Spares,
    pub(crate) runtime: Rc<Runtime>,
    pub(crate) pipes: Pipes,
    /// The same moment by both clocks; not older than a second.
    clocks: Cell<(Instant, SystemTime)>,
    /// A soft stop has begun: keep-alive ends.
    pub(crate) stopping: Cell<bool>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Worker {
    /// The only one, which logs nothing and tells nobody of closes.
    pub(crate) fn alone(proxies: &Arc<Proxies>) -> Rc<Self> {
        struct Nobody;
        impl Closes for Nobody {}
        let log = Arc::new(super::syslog::Logger::new(Default::default()));
        let outside = Arc::new(Outside::new(log, Arc::new(Nobody)));
        let runtime = Runtime::new().expect("descriptors");
        Self::new(0, Arc::clone(proxies), outside, runtime)
    }
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        proxies: Arc<Proxies>,
        outside: Arc<Outside>,
        runtime: Rc<Runtime>,
    ) -> Rc<Self> {
        let pool = Pool::default();
        pool.reset(&proxies);
        Rc::new(Self {
            index,
            proxies: RefCell::new(HeldProxies::new(proxies)),
            outside,
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            spare: RefCell::default(),
            sessions: Sessions::default(),
            pool,
            spares: Spares::default(),
            runtime,
            pipes: Pipes::default(),
            clocks: Cell::new((Instant::now(), SystemTime::now())),
            stopping: Cell::new(false),
        })
    }

    /// Looks at both clocks.
    pub(crate) fn look_at_clocks(&self) {
        self.clocks.set((Instant::now(), SystemTime::now()));
    }

    /// What the wall's clock showed at `moment`, without looking at it.
    pub(crate) fn wall(&self, moment: Instant) -> SystemTime {
        let (instant, time) = self.clocks.get();
        match moment.checked_duration_since(instant) {
            Some(later) => time + later,
            None => time - instant.duration_since(moment),
        }
    }

    pub(crate) fn count(&self, counters: &Counters, what: Count, amount: u64) {
        counters.add(self.index, what, amount);
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a buffer back; large ones are freed, so that one large message is not remembered.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if (1..=16 * 1024).contains(&buffer.capacity()) && spare.len() < SPARE {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// Closes a connection to a server: with RST unless the server closed first, as HAProxy does
    /// since 1.5.
    pub(crate) fn close_idle(&self, idle: Idle, class: Option<Class>) {
        let passive = idle.sock.peer_closed();
        let by_state = if passive { Class::Passive } else { Class::Active };
        let what = if passive { Count::PassiveCloses } else { Count::ActiveCloses };
        self.count(&idle.server.counters, what, 1);
        let upstream = Upstream { backend: &idle.backend, server: &idle.server };
        let class = class.unwrap_or(by_state);
        let socket = (idle.sock.as_fd(), idle.cookie);
        self.outside.closes.stated(socket, Some(upstream), class, !passive, &idle.doing);
        if passive {
            self.spares.close(idle.sock);
        } else {
            self.spares.reset(idle.sock);
        }
    }

    /// Closes all idle connections to servers: their descriptors and ports are needed. False if there
    /// are none.
    pub(crate) fn close_all_idle(&self) -> bool {
        let all = self.pool.purge(|_| false);
        let any = !all.is_empty();
        all.into_iter().for_each(|idle| self.close_idle(idle, None));
        self.spares.clear() || any
    }

    /// A client's connection is closed next.
    pub(crate) fn part(&self, socket: BorrowedFd<'_>, of: &Frontend, passive: bool, doing: &Doing) {
        let reset = of.settings.nolinger;
        if reset {
            reset_on_close(socket);
        }
        self.state(socket, of, passive, reset, doing);
    }

    /// The same, with RST, whatever it may lose.
    pub(crate) fn reset(&self, socket: BorrowedFd<'_>, of: &Frontend, doing: &Doing) {
        reset_on_close(socket);
        self.state(socket, of, false, true, doing);
    }

    /// The same, so that its client hears as little of it as can be.
    pub(crate) fn drop_silently(&self, socket: BorrowedFd<'_>, of: &Frontend, doing: &Doing) {
        silence(socket);
        self.state(socket, of, false, true, doing);
    }

    fn state(
        &self,
        socket: BorrowedFd<'_>,
        of: &Frontend,
        passive: bool,
        reset: bool,
        doing: &Doing,
    ) {
        let class = match of.settings.mode {
            Mode::Tcp => Class::Tunnel,
            Mode::Http if passive => Class::Passive,
            Mode::Http => Class::Active,
        };
        self.outside.closes.stated((socket, Cookie::default()), None, class, reset, doing);
    }
}
