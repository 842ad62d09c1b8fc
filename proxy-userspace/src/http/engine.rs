//! The engine: workers on their threads, and what may be asked of them from outside.

mod doors;
mod idle;
mod sessions;

pub use idle::{IdleByServer, IdleInfo};
pub use sessions::SessionInfo;

use std::{
    fmt, io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    background,
    closes::Closes,
    counters::Gauge,
    event::{Cause, Log},
    held::HeldProxies,
    listener::{BindError, Ear, Listeners},
    live::{self, Proxies},
    park,
    reception::Reception,
    runtime::Runtime,
    session::Stop,
    settings::{Bind, Settings},
    worker::{Outside, Worker},
};

/// The engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread or a runtime could not be made.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

/// Other settings could not be put in place.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It would listen again.
    #[error("teardown is stopping: nothing is read anew")]
    Stopping,
}

enum Command {
    Doors(Arc<Proxies>, Vec<Ear>),
    /// A frontend's name.
    Shut(String),
    Stop,
    HardStop,
    Sessions(oneshot::Sender<Vec<SessionInfo>>),
    Idle(oneshot::Sender<IdleByServer>),
    Kill(u64),
    Look,
}

struct Hand {
    commands: mpsc::UnboundedSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The running engine.
pub struct Engine {
    workers: Vec<Hand>,
    /// Without listeners it is stopping.
    running: Mutex<(Arc<Proxies>, Option<Listeners>)>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// How many workers `settings` ask for: one per core unless said otherwise.
pub fn workers(settings: &Settings) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    if settings.global.threads > 0 { settings.global.threads } else { cores() }
}

impl Engine {
    /// Starts the workers. The sockets were bound before, with whatever privileges that took.
    pub fn start(
        settings: Settings,
        listeners: Listeners,
        log: Arc<dyn Log>,
        closes: Arc<dyn Closes>,
    ) -> Result<Self, StartError> {
        let count = workers(&settings);
        let proxies = Arc::new(Proxies::new(settings, count, Arc::new(Gauge::default())));
        let outside = Arc::new(Outside::new(log, closes));
        let mut hands = Vec::new();
        for index in 0..count {
            let (commands, inbox) = mpsc::unbounded_channel();
            let (ready, started) = std::sync::mpsc::channel();
            let (proxies, outside) = (Arc::clone(&proxies), Arc::clone(&outside));
            let doors = listeners.of(index);
            let body = move || run(index, proxies, outside, doors, inbox, &ready);
            let thread = thread::Builder::new().name(format!("http-{index}")).spawn(body)?;
            started.recv().map_err(|_| io::Error::other("the worker ended at once"))??;
            hands.push(Hand { commands, thread: Mutex::new(Some(thread)) });
        }
        Ok(Self { workers: hands, running: Mutex::new((proxies, Some(listeners))) })
    }

    /// Binds and starts in one go, for those who need no privileges.
    pub fn launch(
        settings: Settings,
        log: Arc<dyn Log>,
        closes: Arc<dyn Closes>,
    ) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&settings, workers(&settings), &Listeners::default())?;
        Self::start(settings, listeners, log, closes)
    }

    /// The running proxies.
    pub fn proxies(&self) -> Arc<Proxies> {
        Arc::clone(&self.lock().0)
    }

    /// Where each frontend listens.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.lock().1.as_ref().map(Listeners::addresses).unwrap_or_default()
    }

    /// Where it listens, as the configuration says it.
    pub fn binds(&self) -> Vec<Bind> {
        self.lock().1.as_ref().map(Listeners::binds).unwrap_or_default()
    }

    /// Has a frontend's addresses refuse connections (`disable frontend`).
    pub fn pause(&self, frontend: &live::Frontend) {
        let running = self.lock();
        // First of all, so that its workers know why the sockets listen no more.
        frontend.enabled.store(false, Relaxed);
        running.1.iter().for_each(|listeners| listeners.pause(&frontend.settings.name));
    }

    /// Has them accepted again (`enable frontend`). Where that fails, it stays paused.
    pub fn resume(&self, frontend: &live::Frontend) -> Result<(), BindError> {
        let running = self.lock();
        // While it is stopping, nothing listens any more.
        let Some(listeners) = &running.1 else { return Ok(()) };
        let name = &frontend.settings.name;
        listeners.resume(name).inspect_err(|_| listeners.pause(name))?;
        frontend.enabled.store(true, Relaxed);
        Ok(())
    }

    /// Closes a frontend's addresses for good (`shutdown frontend`); its connections stay.
    pub fn shut(&self, frontend: &live::Frontend) {
        let mut running = self.lock();
        let (proxies, listeners) = &mut *running;
        let name = &frontend.settings.name;
        frontend.enabled.store(false, Relaxed);
        frontend.shut.store(true, Relaxed);
        if let Some(other_half) = proxies.other_half(frontend) {
            other_half.shut.store(true, Relaxed);
        }
        if let Some(listeners) = listeners {
            // Nobody gets in while the workers let go of them.
            listeners.pause(name);
            listeners.close(name);
        }
        self.workers.iter().for_each(|worker| worker.tell(Command::Shut(name.clone())));
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Whether [`Self::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.lock().1.is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Arc<Proxies>, Option<Listeners>)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other settings in place. Sockets that stay are kept, requests under way end by the
    /// old settings, and kept connections go on by the new ones. On an error nothing changes.
    /// The number of workers stays.
    pub fn reload(&self, settings: Settings) -> Result<(), ReloadError> {
        let mut running = self.lock();
        let before = running.1.as_ref().ok_or(ReloadError::Stopping)?;
        let listeners = Listeners::bind(&settings, self.workers.len(), before)?;
        let connections = Arc::clone(&running.0.connections);
        let proxies = Arc::new(Proxies::new(settings, self.workers.len(), connections));
        for (index, worker) in self.workers.iter().enumerate() {
            worker.tell(Command::Doors(Arc::clone(&proxies), listeners.of(index)));
        }
        *running = (proxies, Some(listeners));
        Ok(())
    }

    /// Stops accepting and lets requests under way end; `hard-stop-after` sets an end to that.
    pub fn stop(&self) {
        self.lock().1 = None;
        self.workers.iter().for_each(|worker| worker.tell(Command::Stop));
    }

    /// Closes everything at once.
    pub fn hard_stop(&self) {
        self.stop();
        self.workers.iter().for_each(|worker| worker.tell(Command::HardStop));
    }

    /// Waits until all workers have ended after a [stop](Self::stop). Blocks.
    pub fn join(&self) {
        for worker in &self.workers {
            let thread = worker.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                // A worker that panicked has said so on its way.
                let _ = thread.join();
            }
        }
    }

    /// All connections.
    pub async fn sessions(&self) -> Vec<SessionInfo> {
        self.ask_each(Command::Sessions).await.into_iter().flatten().collect()
    }

    /// The idle connections to servers, of each worker.
    pub async fn idle(&self) -> Vec<IdleByServer> {
        self.ask_each(Command::Idle).await
    }

    /// What each worker answers; nothing of one that has ended.
    async fn ask_each<T: Default>(
        &self,
        question: impl Fn(oneshot::Sender<T>) -> Command,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for worker in &self.workers {
            let (reply, answer) = oneshot::channel();
            worker.tell(question(reply));
            all.push(answer.await.unwrap_or_default());
        }
        all
    }

    /// Ends a session (`shutdown session`).
    pub fn kill(&self, serial: u64) {
        self.workers.iter().for_each(|worker| worker.tell(Command::Kill(serial)));
    }

    /// Has the workers see at once whose sessions are to be shut down; they would within a second.
    pub fn look(&self) {
        self.workers.iter().for_each(|worker| worker.tell(Command::Look));
    }
}

impl Hand {
    fn tell(&self, command: Command) {
        // A worker that has ended needs no telling.
        let _ = self.commands.send(command);
    }
}

/// A worker's thread.
fn run(
    index: usize,
    proxies: Arc<Proxies>,
    outside: Arc<Outside>,
    doors: Vec<Ear>,
    inbox: mpsc::UnboundedReceiver<Command>,
    ready: &std::sync::mpsc::Sender<io::Result<()>>,
) {
    let (runtime, lot) = match Runtime::new().and_then(|made| Ok((made, park::Lot::new()?))) {
        Ok(made) => made,
        Err(error) => return drop(ready.send(Err(error))),
    };
    // Whoever waits for it has seen the thread start.
    let _ = ready.send(Ok(()));
    let worker = Worker::new(index, proxies, outside, Rc::clone(&runtime));
    let reception = Reception::new(worker, lot);
    runtime.spawn(background::run(Rc::clone(&reception))).detach();
    if let Err(error) = runtime.block_on(work(reception, doors, inbox)) {
        tracing::error!(worker = index, %error, "connections are not watched any more");
    }
}

async fn work(
    reception: Rc<Reception>,
    doors: Vec<Ear>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) {
    let worker = &reception.worker;
    let mut open = doors::open(&reception, doors);
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Doors(proxies, doors) => {
                doors::shut(open).await;
                *worker.proxies.borrow_mut() = HeldProxies::new(Arc::clone(&proxies));
                for idle in worker.pool.reset(&proxies) {
                    worker.close_idle(idle, None);
                }
                open = doors::open(&reception, doors);
            }
            Command::Shut(name) => {
                let (of_it, others) = open.into_iter().partition(|door| door.frontend == name);
                open = others;
                doors::shut(of_it).await;
            }
            Command::Stop => {
                break;
            }
            Command::HardStop => {}
            other => serve(&reception, other),
        }
    }
    doors::shut(open).await;
    drain(&reception, inbox).await;
}

/// Lets what is under way end.
async fn drain(reception: &Reception, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let worker = &reception.worker;
    worker.stopping.set(true);
    reception.part(reception.lot.clear());
    worker.close_all_idle();
    let limit = worker.proxies.borrow().global.hard_stop_after;
    let end = limit.map(|limit| Instant::now() + limit);
    while worker.sessions.len() > 0 {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::HardStop) | None => {
                    worker.sessions.for_each(|session| session.stop(Stop::Forced));
                }
                Some(other) => serve(reception, other),
            },
            () = worker.runtime.sleep(Duration::from_millis(10)) => {
                reception.part(reception.lot.clear());
                if end.is_some_and(|end| Instant::now() >= end) {
                    worker.sessions.for_each(|session| session.stop(Stop::Forced));
                }
            }
        }
    }
}

fn serve(reception: &Reception, command: Command) {
    let worker = &reception.worker;
    match command {
        Command::Sessions(reply) => drop(reply.send(sessions::of(reception))),
        Command::Idle(reply) => drop(reply.send(idle::of(worker))),
        Command::Kill(serial) => {
            reception.part(reception.lot.take(serial).into_iter().collect());
            worker.sessions.for_each(|session| {
                if session.serial == serial {
                    session.stop(Stop::Shut(Cause::Killed));
                }
            });
        }
        Command::Look => drop(worker.sessions.look(Instant::now())),
        Command::Doors(..) | Command::Shut(_) | Command::Stop | Command::HardStop => {}
    }
}
