//! One connection, from its first byte to its end.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use super::doing::{Doing, Overdue};
use super::service::Answering;
use super::watched::Watched;

/// The longest headers of a request, its address included, and what one connection buffers of a body or an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long a client may take to read the last answer and to close. A connection that is closed while there is something to
/// read is reset, and the client may lose the answer.
const LINGERING: Duration = Duration::from_secs(1);

/// How a connection ended.
enum Ended {
    /// The client or HTTP closed it.
    ByItself,
    /// It makes room, or the server stops.
    Told,
    Overdue(Overdue),
}

/// Serves a connection until it ends, is to make room for another one, takes too long, or the server stops.
pub(super) async fn serve<S>(stream: S, answering: Answering, doing: Arc<Doing>, stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&doing)));
    let mut http = http1::Builder::new();
    http.max_buf_size(MAX_HEAD_BYTES).header_read_timeout(None);
    let mut connection = http.serve_connection(io, answering);
    let mut stopped = stopping.clone();
    let mut stopped = pin!(stopped.wait_for(|stop| *stop));
    let mut overdue = pin!(doing.overdue());
    let mut is_last = false;
    let ended = loop {
        tokio::select! {
            _ = &mut connection => break Ended::ByItself,
            overdue = &mut overdue => break Ended::Overdue(overdue),
            () = doing.slot.until_closed() => {}
            _ = &mut stopped, if !is_last => {}
        }
        // It was told to end.
        if !doing.is_answering() {
            break Ended::Told;
        }
        is_last = true;
        Pin::new(&mut connection).graceful_shutdown();
    };
    let mut io = connection.into_parts().io.into_inner();
    match ended {
        Ended::ByItself => {}
        Ended::Overdue(Overdue::Head) => io.refuse(StatusCode::REQUEST_TIMEOUT),
        Ended::Told | Ended::Overdue(Overdue::Idle | Overdue::Write) => return,
    }
    tokio::select! {
        _ = clock::timeout(&**doing.clock(), LINGERING, linger(&mut io)) => {}
        () = doing.slot.until_closed() => {}
        () = stops(stopping) => {}
    }
}

/// Ends what is written, and reads what still comes.
async fn linger(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    io.flush().await?;
    io.shutdown().await?;
    let mut discarded = [0; 4096];
    while io.read(&mut discarded).await? > 0 {}
    Ok(())
}

async fn stops(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use clock::SystemClock;
    use tokio::io::{DuplexStream, duplex};

    use super::super::connections::Connections;
    use super::super::doing::Times;
    use super::super::hosts::Hosts;
    use super::*;

    const HELLO: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// A connection to a server with short times, and what tells the server to stop.
    async fn connected() -> (DuplexStream, watch::Sender<bool>) {
        let (client, stream) = duplex(1_024);
        let times = Times {
            idle: Duration::from_millis(300),
            head: Duration::from_millis(100),
            write: Duration::from_millis(100),
        };
        let slot = Connections::new(1).admit().await;
        let doing = Arc::new(Doing::new(slot, times, Arc::new(SystemClock)));
        let large = || async { Body::from(vec![b'x'; 1024 * 1024]) };
        let router = Router::new().route("/", get(async || "hello")).route("/large", get(large));
        let (stop, stopping) = watch::channel(false);
        let answering = Answering::new(router, Arc::new(Hosts::Any), Arc::clone(&doing));
        tokio::spawn(serve(stream, answering, doing, stopping));
        (client, stop)
    }

    /// All that comes until the server closes.
    async fn rest(mut client: DuplexStream) -> String {
        let mut answer = String::new();
        let read = client.read_to_string(&mut answer);
        clock::timeout(&SystemClock, Duration::from_secs(10), read).await.expect("it closes").expect("it is text");
        answer
    }

    /// Asks for something and takes the answer.
    async fn ask(client: &mut DuplexStream) {
        client.write_all(HELLO).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "it is closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }

    #[tokio::test]
    async fn who_says_nothing_is_cut_off_and_who_stops_in_the_middle_is_told() {
        let (client, _stop) = connected().await;
        assert_eq!(rest(client).await, "");
        let (mut client, _stop) = connected().await;
        ask(&mut client).await;
        client.write_all(&HELLO[..10]).await.unwrap();
        let second = rest(client).await;
        assert!(second.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{second}");
        assert!(second.contains("\r\nconnection: close\r\n") && second.ends_with('}'), "{second}");
    }

    #[tokio::test]
    async fn what_is_no_request_is_answered_behind_what_is_one() {
        let (mut client, _stop) = connected().await;
        client.write_all(&[HELLO, b"NONE\r\n\r\n"].concat()).await.unwrap();
        let answers = rest(client).await;
        let (first, second) = answers.split_once("hello").expect("the first one is answered");
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
        assert!(second.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{second}");
        assert!(second.contains("content-type: application/problem+json\r\n") && second.ends_with('}'), "{second}");
    }

    #[tokio::test]
    async fn who_takes_no_answer_is_cut_off() {
        let (mut client, _stop) = connected().await;
        client.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        clock::sleep(&SystemClock, Duration::from_millis(500)).await;
        assert!(rest(client).await.len() < 10_000, "the most of it was not waited for");
    }

    #[tokio::test]
    async fn a_stop_ends_idle_connections_at_once() {
        let (mut client, stop) = connected().await;
        ask(&mut client).await;
        stop.send_replace(true);
        clock::timeout(&SystemClock, Duration::from_millis(100), stop.closed()).await.expect("it is gone");
        assert_eq!(rest(client).await, "");
    }
}
