//! What becomes of connections, over real sockets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::HttpTransport;

/// A server that does this with each connection; its port.
async fn listen<F>(mut serve: impl FnMut(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("an address").port().to_string();
    tokio::spawn(async move {
        loop {
            // A process without a file descriptor accepts nothing until it has one again.
            match listener.accept().await {
                Ok((connection, _)) => serve(connection).await,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    port
}

/// The head of a request.
async fn head(connection: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if connection.read_buf(&mut request).await.expect("reads") == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// A server that reads every request, gives this answer and closes the connection, and the first lines of the requests.
pub(super) async fn serve(answer: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let port = listen(move |mut connection| {
        let (answer, seen) = (answer.clone(), Arc::clone(&seen));
        async move {
            let request = head(&mut connection).await;
            seen.lock().expect("no panic").push(request.lines().next().unwrap_or_default().to_owned());
            connection.write_all(answer.as_bytes()).await.expect("writes");
        }
    });
    (port.await, lines)
}

/// A whole answer after which the connection is closed.
pub(super) fn closing(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// What a call comes to whose service has this base URL.
async fn call(url: &str) -> ActivityError {
    let endpoints = Endpoints::new([url; 5]).expect("good");
    let transport = Arc::new(HttpTransport::default());
    let downstream = Downstream::new(transport, endpoints, Arc::new(SystemClock), Duration::from_secs(10));
    auth::create_user(&downstream, &account(), key()).await.expect_err("no account")
}

async fn fails(url: &str, name: ErrorName, message: &str) {
    let error = call(url).await;
    let cause = (error.cause.service.as_deref(), error.cause.http_status);
    assert_eq!((error.to_string(), cause), (format!("{name}: {message}"), (Some("auth"), None)), "{url}");
}

#[tokio::test]
async fn what_has_no_connection_is_unreachable() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        listener.local_addr().expect("an address").port()
    };
    let message = "could not be reached";
    fails(&format!("http://127.0.0.1:{port}"), ErrorName::ServiceUnreachable, message).await;
    fails(&format!("http://localhost:{port}"), ErrorName::ServiceUnreachable, message).await;
    fails("https://no-such-host.invalid", ErrorName::ServiceUnreachable, message).await;
    // It goes away while TLS is agreed on.
    let port = listen(async |connection| drop(connection)).await;
    fails(&format!("https://127.0.0.1:{port}"), ErrorName::ServiceUnreachable, message).await;
}

#[tokio::test]
async fn what_breaks_before_an_answer_is_unreachable() {
    let message = "broke the connection before it answered";
    // Once by an end, once by a reset, as the request has not been read.
    let ended = listen(|mut connection| async move { drop(head(&mut connection).await) }).await;
    let reset = listen(|connection| async move { drop(connection.readable().await) }).await;
    for port in [ended, reset] {
        fails(&format!("http://127.0.0.1:{port}"), ErrorName::ServiceUnreachable, message).await;
    }
}

#[tokio::test]
async fn what_breaks_in_an_answer_is_unavailable() {
    for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"user", "SSH-2.0-OpenSSH_9.6\r\n"] {
        let (port, _) = serve(answer.to_owned()).await;
        let message = "did not give a complete answer";
        fails(&format!("http://127.0.0.1:{port}"), ErrorName::ServiceUnavailable, message).await;
    }
}

#[tokio::test]
async fn waiting_does_not_help_against_tls_that_does_not_fit() {
    let port = listen(|mut connection| async move {
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("writes");
        // The client has time to read it.
        drop(connection.read_to_end(&mut Vec::new()).await);
    });
    let message = "has no TLS connection that can be trusted";
    fails(&format!("https://127.0.0.1:{}", port.await), ErrorName::ServiceUnavailable, message).await;
}

#[tokio::test]
async fn names_of_fields_have_no_letter_case_and_media_types_have_parameters() {
    let answer = json!({ "user_id": "u", "email": "e@example.com", "created_at": NOW }).to_string();
    let (port, _) = serve(closing("201 Created", "CONTENT-TYPE: Application/JSON; Charset=UTF-8\r\n", &answer)).await;
    let downstream = client(Arc::new(HttpTransport::default()), [port.as_str(), "1", "1", "1", "1"]);
    assert_eq!(name_of(auth::create_user(&downstream, &account(), key()).await), None);
    let fields = "RETRY-AFTER: 3\r\nretry-after: 7\r\nX-REQUEST-ID: r-1\r\n";
    let (port, _) = serve(closing("503 Service Unavailable", fields, "")).await;
    let error = call(&format!("http://127.0.0.1:{port}")).await;
    let cause = (error.cause.retry_after_seconds, error.cause.upstream_request_id.as_deref());
    assert_eq!((error.error, cause), ("ServiceUnavailable".to_owned(), (Some(7), Some("r-1"))));
}
