//! Those that are struck, and those that do not hold still for it.

use super::super::load;
use super::super::options::Options;
use super::*;
use crate::ends::endpoint;
use bytemuck::Zeroable as _;
use proxy_common::key::Side;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn a_connection_that_could_not_be_struck_for_long_is_looked_after_once_it_was() {
    let entry = Entry::new(FlowKey::zeroed(), Side::LOW, 0, 1);
    let mut deadlines = Deadlines::default();
    deadlines.again(0, entry);
    for _ in 0..100 {
        let entry = deadlines.take(u64::MAX).expect("it waits");
        deadlines.again(0, entry);
    }
    let entry = deadlines.take(u64::MAX).expect("it waits");
    follow_up(&mut deadlines, entry, Strike { answer: DONE, ..Strike::zeroed() });
    let mut entry = deadlines.take(u64::MAX).expect("its RST is to be sent again");
    assert!(entry.struck.is_some());
    entry.strikes = STRIKES;
    follow_up(&mut deadlines, entry, Strike { answer: DONE, ..Strike::zeroed() });
    assert_eq!(deadlines.next(), None, "it does not end");
}

/// As where a peer sends all the time: whatever was seen of its socket is old at once.
#[test]
fn a_socket_whose_numbers_do_not_hold_still_is_aborted() {
    let options = Options { enforce: true, ..Options::default() };
    let btf = Btf::of_kernel().expect("BTF");
    let mut ebpf = load::load(&options, &btf).expect("the object");
    let mut tools = able(&mut ebpf, &btf).expect("this kernel can end connections");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut ours = TcpStream::connect(listener.local_addr().expect("it")).expect("it listens");
    let (mut peer, _) = listener.accept().expect("a connection");
    ours.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(peer.read(&mut [0]).expect("the end"), 0);
    let ends = [ours.local_addr(), ours.peer_addr()].map(|end| endpoint(end.expect("connected")));
    let (key, local) = FlowKey::new(ends[0], ends[1]);
    let mut seen = [Strike::zeroed()];
    let patient = Instant::now() + Duration::from_secs(20);
    while seen[0].state != u32::from(FIN_WAIT2) {
        assert!(Instant::now() < patient, "{seen:?}");
        seen = [strike::look(key, local, 0)];
        tools.look(&ebpf, &mut seen).expect("it runs");
    }
    peer.write_all(b"more").expect("it is open");
    ours.read_exact(&mut [0; 4]).expect("they came");
    seen[0].cause = cause(&seen[0]);
    let mut asked = [strike::reset(&seen[0])];
    tools.reset(&ebpf, &mut asked).expect("it runs");
    assert_eq!(asked[0].answer, DONE);
    assert_eq!(asked[0].rcv_nxt, seen[0].rcv_nxt.wrapping_add(4), "as it was aborted");
    let error = ours.read(&mut [0]).expect_err("the end of ours");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    let error = peer.take_error().expect("an option").expect("the RST came");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}
