//! What is told of a socket, and when.

use super::*;
use crate::http::runtime::Runtime;
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A watched socket, its peer and its watch, which is waited for until the test ends.
fn attended<F: Future>(test: impl FnOnce(Rc<Watch>, Watched, [UnixStream; 2]) -> F) {
    let runtime = Runtime::new().expect("descriptors");
    let watch = Rc::clone(&runtime.watch);
    let (ours, peer) = UnixStream::pair().expect("two sockets");
    ours.set_nonblocking(true).expect("ours");
    let watched = Watched::new(&watch, &ours).expect("a place");
    let test = test(watch, watched, [ours, peer]);
    let done = runtime.block_on(runtime.within(Duration::from_secs(30), test));
    done.expect("an epoll").expect("all that is waited for comes");
}

async fn read_ready(watched: &Watched) -> Ready {
    poll_fn(|cx| watched.poll_read(cx)).await
}

#[test]
fn data_is_told_each_time_and_an_end_for_ever() {
    attended(async |_, watched, [mut ours, mut peer]| {
        for text in ["one", "two"] {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(watched.poll_read(&mut cx).is_pending(), "nothing is there yet");
            peer.write_all(text.as_bytes()).expect("room");
            assert!(!read_ready(&watched).await.closed);
            assert_eq!(ours.read(&mut [0; 8]).expect("data"), 3);
            watched.read_all();
        }
        drop(peer);
        assert!(read_ready(&watched).await.closed);
        watched.read_all();
        assert!(read_ready(&watched).await.closed, "nothing more is told of it");
    });
}

#[test]
fn room_is_told_once_it_is_asked_for() {
    attended(async |_, watched, [mut ours, mut peer]| {
        while ours.write(&[0; 4_096]).is_ok() {}
        watched.widen(&ours).expect("watched");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(watched.poll_write(&mut cx).is_pending());
        peer.set_nonblocking(true).expect("the peer");
        while peer.read(&mut [0; 4_096]).is_ok() {}
        assert!(poll_fn(|cx| watched.poll_write(cx)).await.write);
    });
}

#[test]
fn nothing_of_the_last_connection_is_known_of_the_next() {
    attended(async |_, watched, [_ours, peer]| {
        drop(peer);
        assert!(read_ready(&watched).await.closed);
        watched.renew();
        assert_eq!(watched.ready(), Ready::default());
    });
}

#[test]
fn a_place_is_free_when_its_socket_is_not_watched_any_more() {
    attended(async |watch, watched, [ours, mut peer]| {
        watched.end(&ours);
        let (next, mut its_peer) = UnixStream::pair().expect("two sockets");
        let watched = Watched::new(&watch, &next).expect("a place");
        assert_eq!(watch.places.borrow().len(), 1);
        // What the first one is sent is not told of the second.
        peer.write_all(b"late").expect("room");
        watch.wait(Some(Duration::ZERO)).expect("a look");
        assert_eq!(watched.ready(), Ready::default());
        its_peer.write_all(b"now").expect("room");
        read_ready(&watched).await;
    });
}
