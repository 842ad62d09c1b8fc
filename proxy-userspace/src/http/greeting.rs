//! What a proxy says first of a connection that it passes on (`accept-proxy`).

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use super::{
    client::Client,
    event::Stillborn,
    proxy_line::{self, Ends, Fault},
    session::Stop,
};

/// Waits for it. The client that comes back has the ends that were named; what follows is still to be
/// read. Without it, or with another one, the connection is closed: with RST where something was sent,
/// as that is not read.
pub(crate) async fn hear(mut client: Client, bind: &str) -> Option<Client> {
    client.within(client.frontend().settings.timeouts.client);
    let heard = poll_fn(|cx| match client.session.check(cx) {
        Ok(()) => client.poll_greeting(cx).map(Ok),
        Err(stop) => Poll::Ready(Err(stop)),
    });
    let (why, is_silent) = match heard.await {
        Ok(Ok(ends)) => return Some(client.greeted(ends)),
        Ok(Err(Unheard::Fault(fault))) => (fault.as_str(), false),
        Ok(Err(Unheard::Gone)) => {
            ("Connection closed while waiting for PROXY protocol header", true)
        }
        Ok(Err(Unheard::Broken)) => {
            ("Connection error while waiting for PROXY protocol header", true)
        }
        Err(Stop::Timeout) => ("Timeout while waiting for PROXY protocol header", true),
        Err(_) => {
            client.part();
            return None;
        }
    };
    if !(is_silent && client.frontend().settings.dontlognull) {
        client.worker.outside.log.stillborn(&Stillborn {
            frontend: client.frontend(),
            bind,
            client: client.session.client,
            accepted: client.worker.wall(client.since),
            why,
        });
    }
    client.part();
    None
}

/// Why nothing was heard.
enum Unheard {
    Fault(Fault),
    /// The client closed, or reset the connection, before it said anything.
    Gone,
    Broken,
}

impl Client {
    fn poll_greeting(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Ends>, Unheard>> {
        let mut scratch = self.worker.scratch.borrow_mut();
        let most = self.proxies.global.bufsize.min(scratch.len());
        let space = &mut scratch[..most];
        let greeting = match ready!(self.sock.poll_peek(cx, space)) {
            Ok(0) => return Poll::Ready(Err(Unheard::Gone)),
            Ok(count) => proxy_line::read(&space[..count]),
            Err(_) => return Poll::Ready(Err(Unheard::Broken)),
        };
        let (length, ends) = match greeting {
            Ok(greeting) => greeting,
            Err(fault) => return Poll::Ready(Err(Unheard::Fault(fault))),
        };
        let taken = self.sock.try_recv(&mut space[..length]);
        let whole = taken.is_ok_and(|count| count == length);
        Poll::Ready(if whole { Ok(ends) } else { Err(Unheard::Broken) })
    }

    /// The connection is one between these ends.
    fn greeted(self, ends: Option<Ends>) -> Self {
        let handshake = self.since.elapsed();
        let mut client = match ends {
            None => self,
            Some(ends) => {
                let Self {
                    worker,
                    proxies,
                    session,
                    sock,
                    presence,
                    since,
                    requests,
                    variables,
                    ..
                } = self;
                let (serial, addresses) = (session.serial, ends.map(Some));
                let known = (session.accepted, since, requests);
                let mut client =
                    Self::new(worker, proxies, serial, sock, presence, addresses, known);
                client.variables = variables;
                client
            }
        };
        client.handshake = handshake;
        client.begun += handshake;
        client.heard = client.begun;
        client
    }
}
