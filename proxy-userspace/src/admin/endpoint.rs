//! `--metrics ADDR`: the metrics over HTTP, for Prometheus to fetch.

use super::metrics::MEDIA_TYPE;
use super::session::Request;
use crate::config::model::AccessLevel;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How long a client may take to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may take in all: a client that stops reading keeps no place.
const WHOLE_WITHIN: Duration = Duration::from_secs(30);
/// Connections at once; more wait.
const MOST: usize = 16;

/// Serves `GET /metrics` until the daemon takes no more requests, or it is dropped.
pub async fn serve(listener: TcpListener, daemon: mpsc::Sender<Request>) {
    serve_within(WHOLE_WITHIN, listener, daemon).await;
}

async fn serve_within(whole: Duration, listener: TcpListener, daemon: mpsc::Sender<Request>) {
    let mut open = JoinSet::new();
    loop {
        while open.len() >= MOST {
            open.join_next().await;
        }
        let accepted = tokio::select! {
            () = daemon.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: those that are open must end first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let daemon = daemon.clone();
        open.spawn(async move {
            let service = service_fn(|request| answer(request, &daemon));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off, or that is too slow, is its own affair.
            let _ = tokio::time::timeout(whole, connection).await;
        });
        while open.try_join_next().is_some() {}
    }
}

async fn answer(
    request: http::Request<Incoming>,
    daemon: &mpsc::Sender<Request>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/metrics" {
        return Ok(plain(StatusCode::NOT_FOUND, "teardown serves /metrics alone\n"));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    let (answer, answered) = oneshot::channel();
    let words = vec!["show".to_owned(), "metrics".to_owned()];
    let stopping = || plain(StatusCode::SERVICE_UNAVAILABLE, "teardown is stopping\n");
    if daemon.send(Request::Command { words, level: AccessLevel::User, answer }).await.is_err() {
        return Ok(stopping());
    }
    let Ok(text) = answered.await else { return Ok(stopping()) };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Ok(response)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn those_who_do_not_read_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, mut asked) = mpsc::channel(1);
        // More than the sockets' buffers hold, until all places are taken.
        tokio::spawn(async move {
            for length in std::iter::repeat_n(6 << 20, MOST).chain(std::iter::repeat(3)) {
                let Some(Request::Command { answer, .. }) = asked.recv().await else { return };
                let _ = answer.send("x".repeat(length));
            }
        });
        let serving = tokio::spawn(serve_within(Duration::from_millis(500), listener, requests));
        let ask = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            stream
        };
        let mut deaf = Vec::new();
        for _ in 0..MOST {
            let stream = ask().await;
            stream.readable().await.unwrap();
            deaf.push(stream);
        }
        let mut text = String::new();
        let mut stream = ask().await;
        let answered = stream.read_to_string(&mut text);
        let within = Duration::from_secs(10);
        tokio::time::timeout(within, answered).await.expect("its turn comes").unwrap();
        assert!(text.ends_with("\r\n\r\nxxx"), "{text}");
        serving.abort();
    }
}
