//! What goes on in a worker beside its connections.

use std::{
    convert::Infallible,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    reception::Reception,
    watch::Lent,
    worker::{CROWD, Worker, trim},
};

/// How often clocks are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Does all of it, for ever: what fails ends alone.
pub(crate) async fn run(reception: Rc<Reception>) {
    let worker = &reception.worker;
    let sample = async {
        loop {
            if worker.index == 0 {
                worker.proxies.borrow().sample();
            }
            worker.runtime.sleep(TICK).await;
        }
    };
    let attend = async {
        let result = attend(&reception).await;
        tracing::error!(worker = worker.index, ?result, "parked connections are lost");
    };
    tokio::join!(
        worker.sessions.watch(&worker.runtime),
        watch_pool(worker),
        tidy(&reception),
        attend,
        sample
    );
}

/// Brings parked connections back to life when they stir, and closes them when they are late; for
/// ever.
async fn attend(reception: &Rc<Reception>) -> io::Result<Infallible> {
    let runtime = &reception.worker.runtime;
    let watched = Lent::new(&runtime.watch, &reception.lot)?;
    let mut due = Instant::now();
    loop {
        tokio::select! {
            _ = watched.readable() => {
                let stirred = reception.lot.stirred();
                // A full batch may have left some.
                if stirred.is_empty() {
                    watched.read_all();
                }
                for parked in stirred {
                    reception.resume(parked);
                }
            }
            () = runtime.sleep_until(due) => {
                let now = Instant::now();
                due = now + TICK;
                reception.part(reception.lot.expire(now));
                if reception.lot.owes_memory() {
                    reception.give_back();
                }
            }
        }
    }
}

/// Closes pooled connections whose servers closed or stirred, for ever.
async fn watch_pool(worker: &Worker) {
    loop {
        for idle in worker.pool.stirred().await {
            worker.close_idle(idle, None);
        }
    }
}

/// What is due every second, for ever: closes pooled connections that were not used for long, and
/// ends tasks that have nothing to do.
async fn tidy(reception: &Reception) {
    let worker = &reception.worker;
    loop {
        worker.runtime.sleep(TICK).await;
        worker.look_at_clocks();
        reception.dismiss();
        let now = Instant::now();
        let gone = worker
            .pool
            .purge(|idle| now.duration_since(idle.since) < idle.server.settings.pool_purge_delay);
        let crowd = gone.len() >= CROWD;
        for idle in gone {
            worker.close_idle(idle, None);
        }
        worker.spares.tidy();
        if crowd {
            trim();
        }
    }
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

    #[test]
    fn deadlines_hold_where_nothing_can_be_parked_any_more() {
        let settings = Settings { frontends: vec![Frontend::default()], ..Default::default() };
        let proxies = Arc::new(Proxies::new(settings, 1, Arc::default()));
        let frontend = Arc::clone(&proxies.frontends[0]);
        let worker = Worker::alone(&proxies);
        let now = Instant::now();
        let session = Rc::new(Session::new(1, None, frontend, now));
        worker.sessions.insert(Rc::clone(&session));
        worker.sessions.set_deadline(&session, Some(now + Duration::from_millis(50)));
        let stopped = poll_fn(|cx| match session.check(cx) {
            Ok(()) => Poll::Pending,
            Err(stop) => Poll::Ready(stop),
        });
        let runtime = Rc::clone(&worker.runtime);
        let stopped = runtime.within(Duration::from_secs(10), stopped);
        let stop = async {
            tokio::select! {
                stop = stopped => stop,
                () = run(Reception::new(worker, Lot::broken())) => panic!("the rest goes on"),
            }
        };
        assert_eq!(runtime.block_on(stop).unwrap(), Some(Stop::Timeout));
    }
}
