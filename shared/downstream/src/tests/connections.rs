//! Connections, over a real socket.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::HttpTransport;

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// A server that keeps its connections open, and how many it has accepted.
async fn serve() -> (http::Uri, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let uri = format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("a URI");
    let accepted = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 1_024];
                // Each request is one packet on loopback.
                while connection.read(&mut request).await.is_ok_and(|length| length > 0) {
                    connection.write_all(ANSWER.as_bytes()).await.expect("writes");
                }
            });
        }
    });
    (uri, accepted)
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_before_the_peer_closes_it() {
    let (uri, accepted) = serve().await;
    let transport = HttpTransport::new(1, Duration::from_millis(200));
    let call = async || {
        let mut request = http::Request::new(Bytes::new());
        *request.uri_mut() = uri.clone();
        assert_eq!(transport.send(request).await.expect("it is answered").status(), StatusCode::OK);
        accepted.load(Ordering::Relaxed)
    };
    assert_eq!((call().await, call().await), (1, 1), "the second call is on the first one's connection");
    clock::sleep(&SystemClock, Duration::from_millis(600)).await;
    assert_eq!(call().await, 2, "it was idle for too long");
}
