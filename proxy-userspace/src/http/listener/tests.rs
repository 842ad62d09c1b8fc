use super::*;
use crate::http::settings::Tcp;
use rustix::net::sockopt;

#[test]
fn only_a_socket_that_listens_is_taken_over() {
    let taken = |socket: &Socket| inherited(socket.as_raw_fd());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let error = taken(&socket).unwrap_err().to_string();
    assert!(error.contains("does not listen"), "{error}");
    let datagrams = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    taken(&datagrams).unwrap_err();
    socket.listen(1).unwrap();
    taken(&socket).unwrap();
}

#[test]
fn nobody_connects_to_a_path_before_its_mode_is_set() {
    use std::os::unix::net::UnixStream;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut bind = Bind::new(BindAddress::Unix(path.clone()));
    bind.unix_mode = Some(0o640);
    let socket = unix(&bind, &path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let error = UnixStream::connect(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    socket.listen(1).unwrap();
    UnixStream::connect(&path).unwrap();
}

fn settings(binds: Vec<Bind>, maxconn: u32) -> Settings {
    let frontend = Frontend { name: "f".into(), binds, maxconn, ..Default::default() };
    Settings { frontends: vec![frontend], ..Default::default() }
}

fn any_port() -> Bind {
    Bind::new(BindAddress::Inet(([127, 0, 0, 1], 0).into()))
}

fn socket(listeners: &Listeners, which: usize) -> Arc<OwnedFd> {
    Arc::clone(&listeners.bound[which].sockets[0])
}

#[test]
fn a_kept_socket_is_told_what_has_changed() {
    let told = |listeners: &Listeners| {
        let socket = socket(listeners, 0);
        let seconds = |time: std::time::Duration| time.as_secs();
        (
            sockopt::socket_keepalive(&socket).unwrap(),
            sockopt::tcp_keepcnt(&socket).unwrap(),
            seconds(sockopt::tcp_keepidle(&socket).unwrap()),
            seconds(sockopt::tcp_keepintvl(&socket).unwrap()),
            sockopt::tcp_user_timeout(&socket).unwrap(),
            get(&socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT) > 0,
            get(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
            get(&socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG),
        )
    };
    let plain = Listeners::bind(&settings(vec![any_port()], 50), 1, &Default::default()).unwrap();
    let first = told(&plain);
    let tcp = Tcp { keepalive: true, probes: 3, idle: 70, interval: 11, user_timeout: 4_000 };
    let bind = Bind { tcp, defer_accept: true, fast_open: true, mss: Some(1_000), ..any_port() };
    let other = Listeners::bind(&settings(vec![bind], 60), 1, &plain).unwrap();
    assert!(Arc::ptr_eq(&socket(&plain, 0), &socket(&other, 0)));
    assert_eq!(told(&other), (true, 3, 70, 11, 4_000, true, 60, 1_000));
    let again = Listeners::bind(&settings(vec![any_port()], 50), 1, &other).unwrap();
    assert_eq!(told(&again), first);
    assert!(Arc::ptr_eq(&socket(&plain, 0), &socket(&again, 0)));
}

fn get(socket: impl AsFd, level: libc::c_int, option: libc::c_int) -> libc::c_int {
    let mut value: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of_val(&value)).unwrap();
    let (fd, at) = (socket.as_fd().as_raw_fd(), (&raw mut value).cast());
    // SAFETY: the descriptor is open, and the pointer and the size are those of `value`.
    let result = unsafe { libc::getsockopt(fd, level, option, at, &raw mut size) };
    assert_eq!(result, 0);
    value
}

#[test]
fn a_transparent_socket_takes_what_is_redirected_to_it_where_it_may() {
    for (address, level, option) in [
        ("192.0.2.1:0", libc::IPPROTO_IP, libc::IP_TRANSPARENT),
        ("[2001:db8::1]:0", libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
    ] {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let bind = Bind { transparent: true, ..Bind::new(BindAddress::Inet(address)) };
        let socket = inet(&bind, address, 1).unwrap();
        let other = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        let may = set(&other, level, option, 1).is_ok();
        assert_eq!(get(&socket, level, option) == 1, may, "{address}");
    }
}

#[test]
fn the_backlog_of_a_kept_socket_is_the_new_one() {
    let address = UnixAddress::from_abstract_name(format!("h{}", std::process::id())).unwrap();
    let name = address.as_abstract_name().unwrap().to_vec();
    let bind = |backlog| Bind { backlog, ..Bind::new(BindAddress::Abstract(name.clone())) };
    let small = Listeners::bind(&settings(vec![bind(1)], 0), 1, &Default::default()).unwrap();
    let _large = Listeners::bind(&settings(vec![bind(50)], 0), 1, &small).unwrap();
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
            rustix::net::connect(
                &socket,
                &rustix::net::SocketAddrUnix::new_abstract_name(&name).unwrap(),
            )
        })
        .collect();
    assert!(clients.iter().all(Result::is_ok), "{clients:?}");
}

#[test]
fn a_socket_stays_with_its_interface() {
    let loopback = || Bind { interface: Some("lo".into()), ..fixed() };
    let both = vec![loopback(), fixed()];
    let before = Listeners::bind(&settings(both, 0), 1, &Default::default()).unwrap();
    for (which, bind) in [(0, loopback()), (1, fixed())] {
        let after = Listeners::bind(&settings(vec![bind], 0), 1, &before).unwrap();
        assert!(Arc::ptr_eq(&socket(&before, which), &socket(&after, 0)), "{which}");
    }
    let transparent = Bind { transparent: true, ..fixed() };
    for (which, bind) in [(1, transparent), (1, Bind { interface: Some("lo".into()), ..fixed() })] {
        let one = Listeners { bound: vec![before.bound[which].clone()] };
        let after = Listeners::bind(&settings(vec![bind], 0), 1, &one).unwrap();
        assert!(!Arc::ptr_eq(&socket(&before, which), &socket(&after, 0)));
    }
}

/// A port of this test's own.
fn fixed() -> Bind {
    static PORT: std::sync::OnceLock<std::net::SocketAddr> = std::sync::OnceLock::new();
    let address = PORT.get_or_init(|| {
        let socket = std::net::TcpListener::bind(("127.0.0.77", 0)).unwrap();
        socket.local_addr().unwrap()
    });
    Bind::new(BindAddress::Inet(*address))
}

#[test]
fn a_path_gets_its_new_mode() {
    use std::os::unix::net::UnixStream;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let bind = |mode| Bind { unix_mode: Some(mode), ..Bind::new(BindAddress::Unix(path.clone())) };
    let before = Listeners::bind(&settings(vec![bind(0o600)], 0), 1, &Default::default()).unwrap();
    let after = Listeners::bind(&settings(vec![bind(0o666)], 0), 1, &before).unwrap();
    drop(before);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    UnixStream::connect(&path).unwrap();
    drop(after);
}
