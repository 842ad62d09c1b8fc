//! Who receives a worker's clients: the tasks that serve them, and the lot where they park between
//! two requests.

use std::{rc::Rc, sync::Arc};

use super::{
    admission,
    client::Client,
    counters::Count,
    crew::Crew,
    greeting,
    park::{Lot, Parked},
    settings::Mode,
    sock::Sock,
    tcp,
    worker::{Worker, trim},
};

/// A client, and who received it.
type Received = (Rc<Reception>, Client);

/// The same, and the address where a proxy connected.
type Greeted = (Rc<Reception>, Client, Arc<str>);

/// A worker's reception.
#[derive(Debug)]
pub(crate) struct Reception {
    pub(crate) worker: Rc<Worker>,
    pub(crate) lot: Lot,
    http: Rc<Crew<Received>>,
    tcp: Rc<Crew<Received>>,
    greeted: Rc<Crew<Greeted>>,
}

impl Reception {
    pub(crate) fn new(worker: Rc<Worker>, lot: Lot) -> Rc<Self> {
        let (http, tcp, greeted) = (Rc::default(), Rc::default(), Rc::default());
        Rc::new(Self { worker, lot, http, tcp, greeted })
    }

    /// A session begins, where rules let it; `bind` is the address where a proxy has said whose it is.
    pub(crate) fn begin(self: &Rc<Self>, client: Client, bind: Option<&str>) {
        let Some(client) = admission::session(client, bind) else { return };
        self.worker.count(&client.frontend().counters, Count::Sessions, 1);
        self.serve(client);
    }

    /// The same, once its proxy has said whose connection it is.
    pub(crate) fn greet(self: &Rc<Self>, client: Client, bind: Arc<str>) {
        self.greeted.serve(&self.worker.runtime, (Rc::clone(self), client, bind), greet);
    }

    /// Has a connection served.
    fn serve(self: &Rc<Self>, client: Client) {
        let mode = client.frontend().settings.mode;
        let received = (Rc::clone(self), client);
        let runtime = &self.worker.runtime;
        match mode {
            Mode::Http => self.http.serve(runtime, received, http),
            Mode::Tcp => self.tcp.serve(runtime, received, tcp),
        }
    }

    /// Goes on with a connection that was parked.
    pub(crate) fn resume(self: &Rc<Self>, parked: Parked) {
        let (accepted, last_server) = (parked.accepted(), parked.last_server());
        let Parked { serial, fd, proxies, presence, addresses, requests, since, last, .. } = parked;
        let known = (accepted, since, requests);
        let worker = Rc::clone(&self.worker);
        let sock = Sock::new(fd, &worker.runtime.watch);
        let mut client = Client::new(worker, proxies, serial, sock, presence, addresses, known);
        client.last = last;
        client.last_server = last_server;
        self.serve(client);
    }

    /// Closes parked connections.
    pub(crate) fn part(&self, parked: Vec<Parked>) {
        parked.into_iter().for_each(|parked| parked.part(&self.worker));
    }

    /// Gives the memory back that a crowd has left. What is shrunk first would keep the memory that it
    /// has room in.
    pub(crate) fn give_back(&self) {
        self.lot.shrink();
        self.worker.sessions.shrink();
        self.worker.runtime.watch.shrink();
        trim();
    }

    /// Ends tasks that have had nothing to do since the last time.
    pub(crate) fn dismiss(&self) {
        self.http.dismiss();
        self.tcp.dismiss();
        self.greeted.dismiss();
    }
}

async fn greet((reception, client, bind): Greeted) {
    if let Some(client) = greeting::hear(client, &bind).await {
        reception.begin(client, Some(&bind));
    }
}

async fn http((reception, client): Received) {
    if let Some(client) = client.serve().await {
        reception.lot.park(client);
    }
}

async fn tcp((_, client): Received) {
    tcp::serve(client).await;
}
