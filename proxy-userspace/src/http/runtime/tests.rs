//! What runs, what wakes it, and what becomes of it at the end.

use super::*;
use std::cell::Cell;
use std::thread;
use tokio::sync::{Notify, oneshot};

const LONG: Duration = Duration::from_secs(30);

/// Says that it has ended.
struct Last(Rc<Cell<u32>>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn new() -> Rc<Runtime> {
    Runtime::new().expect("descriptors")
}

#[test]
fn another_thread_wakes_a_task_and_the_one_that_is_waited_for() {
    let runtime = new();
    let (asked, question) = oneshot::channel();
    let (answered, answer) = oneshot::channel();
    let task = runtime.spawn(async move {
        let asked: u32 = question.await.expect("a question");
        // Each waits by itself for the other thread.
        answered.send(asked + 1).expect("it is waited for");
    });
    let (told, heard) = oneshot::channel();
    let thread = thread::spawn(move || {
        asked.send(1).expect("it is waited for");
        told.send(answer.blocking_recv()).expect("it is waited for");
    });
    let heard = runtime.block_on(runtime.within(LONG, heard)).expect("an epoll");
    assert_eq!(heard.expect("in time").expect("told"), Ok(2));
    thread.join().expect("it ends");
    drop(task);
}

#[test]
fn what_another_thread_wakes_over_and_over_is_lost_never() {
    let runtime = new();
    let notify = Arc::new(Notify::new());
    let done = Arc::new(Notify::new());
    let (theirs, back) = (Arc::clone(&notify), Arc::clone(&done));
    let thread = thread::spawn(move || {
        let waiting = new();
        for _ in 0..20_000 {
            theirs.notify_one();
            waiting.block_on(back.notified()).expect("an epoll");
        }
    });
    let task = async {
        for _ in 0..20_000 {
            notify.notified().await;
            done.notify_one();
        }
    };
    let done = runtime.block_on(runtime.within(LONG, task)).expect("an epoll");
    done.expect("each is heard");
    thread.join().expect("it ends");
}

#[test]
fn timers_fire_in_their_order_and_not_before_their_time() {
    let runtime = new();
    // All of them wait by then.
    let start = Instant::now() + Duration::from_millis(500);
    let order = Rc::new(RefCell::new(Vec::new()));
    let after = |ms: u64| {
        let (order, own) = (Rc::clone(&order), Rc::clone(&runtime));
        let task = async move {
            let then = start + Duration::from_millis(ms);
            own.sleep_until(then).await;
            assert!(Instant::now() >= then);
            order.borrow_mut().push(ms);
        };
        runtime.spawn(task)
    };
    let tasks = [20, 0, 5, 20, 1].map(after);
    let all = async {
        for task in tasks {
            task.await;
        }
    };
    runtime.block_on(all).expect("an epoll");
    assert_eq!(*order.borrow(), [0, 1, 5, 20, 20]);
    assert_eq!(runtime.timers.time_left(), None);
}

#[test]
fn a_wait_that_is_given_up_leaves_no_timer() {
    let runtime = new();
    let quick = runtime.block_on(runtime.within(LONG, yield_now())).expect("an epoll");
    assert!(quick.is_some());
    assert_eq!(runtime.timers.time_left(), None);
}

#[test]
fn a_task_that_panics_ends_alone() {
    let runtime = new();
    let ended = Rc::new(Cell::new(0));
    let last = Last(Rc::clone(&ended));
    runtime
        .spawn(async move {
            let _last = last;
            panic!("on purpose");
        })
        .detach();
    runtime.block_on(runtime.sleep(Duration::from_millis(1))).expect("an epoll");
    assert_eq!((ended.get(), runtime.tasks.borrow().len()), (1, 0));
}

#[test]
fn all_tasks_end_with_what_was_run() {
    let runtime = new();
    let ended = Rc::new(Cell::new(0));
    // One that was never run, one that waits for ever, one that waits for a timer, one that spins; and
    // one that only begins when another ends.
    let begin = |at_end: bool| {
        let (last, runtime) = (Last(Rc::clone(&ended)), Rc::clone(&runtime));
        async move {
            let _last = last;
            match at_end {
                true => std::future::pending().await,
                false => runtime.sleep(LONG).await,
            }
        }
    };
    let spin = async {
        loop {
            yield_now().await;
        }
    };
    runtime.spawn(begin(true)).detach();
    runtime.spawn(begin(false)).detach();
    runtime.spawn(spin).detach();
    let (late, again) = (begin(true), Rc::clone(&runtime));
    struct Begins<F: Future<Output = ()> + 'static>(Option<F>, Rc<Runtime>);
    impl<F: Future<Output = ()> + 'static> Drop for Begins<F> {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(|late| self.1.spawn(late).detach());
        }
    }
    let begins = Begins(Some(late), again);
    runtime
        .spawn(async move {
            let _begins = begins;
            std::future::pending::<()>().await;
        })
        .detach();
    runtime.block_on(runtime.sleep(Duration::from_millis(1))).expect("an epoll");
    runtime.spawn(begin(true)).detach();
    runtime.block_on(async {}).expect("an epoll");
    assert_eq!((ended.get(), runtime.tasks.borrow().len()), (4, 0));
    assert_eq!(Rc::strong_count(&runtime), 1, "nothing holds it any more");
}

#[test]
fn a_task_may_be_ended_by_who_began_it() {
    let runtime = new();
    let ended = Rc::new(Cell::new(0));
    let last = Last(Rc::clone(&ended));
    let task = runtime.spawn(async move {
        let _last = last;
        std::future::pending::<()>().await;
    });
    let ends = async {
        yield_now().await;
        task.cancel().await;
        ended.get()
    };
    assert_eq!(runtime.block_on(ends).expect("an epoll"), 1);
    assert_eq!(runtime.tasks.borrow().len(), 0);
}

#[test]
fn who_never_waits_keeps_nobody_from_the_sockets() {
    let runtime = new();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("two sockets");
    let spin = async {
        loop {
            yield_now().await;
        }
    };
    runtime.spawn(spin).detach();
    let hear = async {
        let watched = crate::http::watch::Lent::new(&runtime.watch, &ours).expect("a place");
        drop(theirs);
        watched.readable().await.closed
    };
    let heard = runtime.block_on(runtime.within(LONG, hear)).expect("an epoll");
    assert_eq!(heard, Some(true));
}
