//! What goes on in a worker beside its connections.

use std::{rc::Rc, time::Duration};

use super::{park, worker::Worker};

/// Does all of it, for ever: what fails ends alone.
pub(crate) async fn run(worker: Rc<Worker>) {
    let sample = async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            if worker.index == 0 {
                worker.proxies.borrow().sample();
            }
        }
    };
    let attend = async {
        let result = park::attend(Rc::clone(&worker)).await;
        tracing::error!(worker = worker.index, ?result, "parked connections are lost");
    };
    let (watch, watch_pool) = (worker.sessions.watch(), worker.watch_pool());
    tokio::join!(watch, watch_pool, worker.tidy(), attend, sample);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        live::Proxies,
        park::Lot,
        session::{Session, Stop},
        settings::{Frontend, Settings},
    };
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Poll;
    use std::time::Instant;

    #[tokio::test]
    async fn deadlines_hold_where_nothing_can_be_parked_any_more() {
        let settings = Settings { frontends: vec![Frontend::default()], ..Default::default() };
        let proxies = Arc::new(Proxies::new(settings, 1, Arc::default()));
        let frontend = Arc::clone(&proxies.frontends[0]);
        let worker = Worker::alone(&proxies, Lot::broken());
        let now = Instant::now();
        let session = Rc::new(Session::new(1, None, frontend, now));
        worker.sessions.insert(Rc::clone(&session));
        worker.sessions.set_deadline(&session, Some(now + Duration::from_millis(50)));
        let stopped = poll_fn(|cx| match session.check(cx) {
            Ok(()) => Poll::Pending,
            Err(stop) => Poll::Ready(stop),
        });
        let stopped = tokio::time::timeout(Duration::from_secs(10), stopped);
        let stop = tokio::select! {
            stop = stopped => stop,
            () = run(Rc::clone(&worker)) => panic!("the rest goes on"),
        };
        assert_eq!(stop, Ok(Stop::Timeout));
    }
}
