//! Closes are changed on the wire: on loopback, where both ends are seen.

use proxy_common::acts::{Acts, FIN_TO_RST};
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::policy::{Policy, Wish};
use proxy_common::verdict::{self, ConnState, Role, Signal};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use teardown::kernel::{Covered, Event, Observer, Options};

fn observer(policy: Policy, listener: &TcpListener) -> Observer {
    let options =
        Options { interfaces: vec!["lo".to_owned()], enforce: true, ..Options::default() };
    let mut observer = Observer::start(&options).unwrap_or_else(|error| panic!("{error}"));
    let local = listener.local_addr().unwrap();
    let prefix = if local.is_ipv4() { 32 } else { 128 };
    let covered = Covered { addr: local.ip(), prefix, port: Some(local.port()) };
    observer.rules().unwrap().set(1, &[covered], policy).unwrap();
    observer
}

async fn one_close(observer: &mut Observer, port: u16) -> (FlowKey, Flow, Acts) {
    let mut found = Vec::new();
    let wait = async {
        while found.is_empty() {
            let mut events = Vec::new();
            observer.next(&mut events).await.unwrap();
            for event in events {
                if let Event::Close { key, flow, acts, .. } = event
                    && key.ends.iter().any(|end| end.port == port)
                {
                    found.push((key, *flow, acts));
                }
            }
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), wait).await.is_err() {
        let flows = observer.flows().unwrap();
        let ours: Vec<_> =
            flows.iter().filter(|(key, _)| key.ends.iter().any(|e| e.port == port)).collect();
        panic!("{ours:?} {:?} {:?}", observer.counters(), observer.rules().unwrap().counts(1));
    }
    found[0]
}

async fn an_active_fin_becomes_a_reset(address: &str, bytes: &[u8]) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = Policy { active: Wish::RST, ..Policy::KEEP };
    let mut observer = observer(policy, &listener);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(bytes).unwrap();
    let mut read = vec![0; bytes.len()];
    server.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes);
    drop(client);
    let error = server.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let (key, flow, acts) = one_close(&mut observer, port).await;
    let close = verdict::close(&key, &flow);
    assert_eq!(close.conn_state, ConnState::Rsto, "{close:?}");
    assert_eq!((close.first_closer, close.first_signal), (Some(Role::Orig), Some(Signal::RstAck)));
    assert!(acts.has(FIN_TO_RST), "{acts:?}");
    let counts = observer.rules().unwrap().counts(1).unwrap();
    assert_eq!((counts.matched, counts.fin_to_rst, counts.failed), (1, 1, 0), "{counts:?}");
}

#[tokio::test]
async fn an_active_fin_becomes_a_reset_over_ipv4() {
    an_active_fin_becomes_a_reset("127.0.0.1:0", b"request").await;
}

#[tokio::test]
async fn an_active_fin_becomes_a_reset_over_ipv6() {
    an_active_fin_becomes_a_reset("[::1]:0", b"request").await;
}
