//! Sessions with a daemon that answers every command with its words.

use super::*;

/// Answers each command with its words, and each tail with two lines and a summary.
async fn echo(mut requests: mpsc::Receiver<Request>) {
    let mut tails = Vec::new();
    while let Some(request) = requests.recv().await {
        match request {
            Request::Command { words, answer, .. } if words == ["long"] => {
                let _ = answer.send("x".repeat(1 << 20));
            }
            Request::Command { words, answer, .. } => {
                let _ = answer.send(format!("<{}>\n", words.join("|")));
            }
            Request::Tail { outlet, answer, words, .. } if words.is_empty() => {
                outlet.send(b"one\n");
                outlet.send(b"two\n");
                tails.push(outlet);
                let _ = answer.send(Ok(7));
            }
            Request::Tail { answer, .. } => {
                let _ = answer.send(Err("no such filter\n".to_owned()));
            }
            Request::EndTail(id) => {
                assert_eq!(id, 7);
                tails.pop().expect("a tail").send(b"summary\n");
            }
        }
    }
}

async fn talk(input: &str) -> String {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let (requests, received) = mpsc::channel(1);
    let daemon = tokio::spawn(echo(received));
    let session =
        tokio::spawn(async move { serve(theirs, AccessLevel::Admin, None, &requests).await });
    let (mut read, mut write) = ours.into_split();
    write.write_all(input.as_bytes()).await.expect("it reads");
    let mut output = String::new();
    read.read_to_string(&mut output).await.expect("it ends by itself");
    drop(write);
    let _ = session.await.expect("no panic");
    daemon.await.expect("no panic");
    output
}

#[tokio::test]
async fn a_session_ends_after_one_line() {
    assert_eq!(
        talk("show info; show closes\nshow lost\n").await,
        "<show|info>\n\n<show|closes>\n\n"
    );
}

#[tokio::test]
async fn with_a_prompt_it_goes_on() {
    assert_eq!(talk("prompt\nshow info\n\nquit\n").await, "\n> <show|info>\n\n\n> \n> ");
}

/// The answers are HAProxy 2.6.12's.
#[tokio::test]
async fn a_session_says_itself_how_long_it_may_be_silent() {
    let within = Duration::from_secs(30);
    let ended = tokio::time::timeout(within, talk("prompt\nset timeout cli 1\n")).await;
    assert_eq!(ended.expect("it ends by itself"), "\n> \n\n> ");
    for (words, answer) in [
        ("set timeout", "'set timeout' only supports 'cli'."),
        ("set timeout client 5s", "'set timeout' only supports 'cli'."),
        ("set timeout cli", "Expects an integer value."),
        ("set timeout cli 0", "Invalid timeout value."),
        ("set timeout cli 10x", "Invalid timeout value."),
        ("set timeout cli 99999d", "Invalid timeout value."),
        ("set timeout cli 5m more", ""),
    ] {
        let expected = if answer.is_empty() { "\n".to_owned() } else { format!("{answer}\n\n") };
        assert_eq!(talk(&format!("{words}\n")).await, expected, "{words}");
    }
}

#[tokio::test]
async fn silence_ends_a_session_and_others_wait_for_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a free path");
    let (requests, received) = mpsc::channel(1);
    let daemon = tokio::spawn(echo(received));
    let terms = Terms {
        level: AccessLevel::Admin,
        silence: Some(Duration::from_millis(300)),
        places: Some(Arc::new(Semaphore::new(1))),
    };
    let accepting = tokio::spawn(accept(listener, terms, requests));
    let mut silent = UnixStream::connect(&path).await.expect("it listens");
    // Its silence begins after this, whenever that is.
    let begun = std::time::Instant::now();
    silent.write_all(b"prompt\n").await.expect("it reads");
    let mut prompt = [0; 3];
    silent.read_exact(&mut prompt).await.expect("a prompt");
    let mut second = UnixStream::connect(&path).await.expect("it listens");
    second.write_all(b"show info\n").await.expect("it reads");
    let mut output = String::new();
    second.read_to_string(&mut output).await.expect("it ends by itself");
    assert_eq!(output, "<show|info>\n\n");
    assert!(begun.elapsed() >= Duration::from_millis(300), "it waited for a place");
    assert_eq!(silent.read(&mut prompt).await.expect("a FIN"), 0);
    accepting.abort();
    let _ = accepting.await;
    daemon.await.expect("no panic");
}

/// Sessions in one place, with a listener that keeps `backlog` clients waiting.
fn crowded(path: &std::path::Path, backlog: i32) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(path).expect("a free path");
    rustix::net::listen(&listener, backlog).expect("it listens already");
    let (requests, received) = mpsc::channel(1);
    tokio::spawn(echo(received));
    let terms = Terms {
        level: AccessLevel::Admin,
        silence: Some(Duration::from_millis(300)),
        places: Some(Arc::new(Semaphore::new(1))),
    };
    tokio::spawn(accept(listener, terms, requests))
}

#[tokio::test]
async fn who_does_not_read_an_answer_keeps_no_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let accepting = crowded(&path, 10);
    let mut deaf = UnixStream::connect(&path).await.expect("it listens");
    deaf.write_all(b"long\n").await.expect("it reads");
    deaf.readable().await.expect("it answers");
    let mut second = UnixStream::connect(&path).await.expect("it listens");
    second.write_all(b"show info\n").await.expect("it reads");
    let mut output = String::new();
    let answered = second.read_to_string(&mut output);
    let within = Duration::from_secs(10);
    tokio::time::timeout(within, answered).await.expect("its turn comes").expect("an answer");
    assert_eq!(output, "<show|info>\n\n");
    accepting.abort();
}

#[tokio::test]
async fn who_waits_for_a_place_waits_in_the_kernel() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let accepting = crowded(&path, 1);
    let mut first = UnixStream::connect(&path).await.expect("it listens");
    first.write_all(b"long\n").await.expect("it reads");
    first.readable().await.expect("it has the place");
    let address = socket2::SockAddr::unix(&path).expect("a short path");
    let mut waiting = Vec::new();
    while waiting.len() < 20 {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_nonblocking(true).expect("it is open");
        if socket.connect(&address).is_err() {
            break;
        }
        waiting.push(socket);
        // Others have their turn: whoever is to be accepted is.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(waiting.len() < 20, "the kernel has room for two");
    accepting.abort();
}

#[tokio::test]
async fn a_tail_runs_until_a_line_asks_for_its_summary() {
    assert_eq!(talk("tail\n\n").await, "one\ntwo\nsummary\n");
    assert_eq!(talk("tail --nonsense\n").await, "no such filter\n\n");
}

#[tokio::test]
async fn an_endless_line_is_refused() {
    let output = talk(&"x".repeat(16_384)).await;
    assert_eq!(output, "The line is longer than 16384 bytes.\n\n");
}

#[tokio::test]
async fn a_tail_that_says_nothing_ends_with_its_client() {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let (requests, received) = mpsc::channel(1);
    tokio::spawn(echo(received));
    let session =
        tokio::spawn(async move { serve(theirs, AccessLevel::Admin, None, &requests).await });
    ours.write_all(b"tail\n").await.expect("it reads");
    let mut two = [0; 8];
    ours.read_exact(&mut two).await.expect("two lines");
    // The end of its input is not the end of the client.
    ours.shutdown().await.expect("it is open");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!session.is_finished());
    drop(ours);
    let ended = tokio::time::timeout(Duration::from_secs(5), session).await;
    ended.expect("nobody is left").expect("no panic").expect("it ends in order");
}
