//! Redirects, over a real socket.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::HttpTransport;

/// A server that gives every request this answer, and the first lines of the requests.
async fn serve(answer: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("an address").port().to_string();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                if connection.read_buf(&mut request).await.expect("reads") == 0 {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&request);
            seen.lock().expect("no panic").push(text.lines().next().unwrap_or_default().to_owned());
            connection.write_all(answer.as_bytes()).await.expect("writes");
        }
    });
    (port, lines)
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let body = json!({ "valid": true, "user_id": "u", "permissions": [] }).to_string();
    let length = body.len();
    let (target, reached) =
        serve(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")).await;
    // The target would be a good answer to whoever gets there.
    let straight = client(Arc::new(HttpTransport::default()), [target.as_str(), "1", "1", "1", "1"]);
    assert_eq!(name_of(auth::validate(&straight, "t", "u").await), None);
    reached.lock().expect("no panic").clear();

    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://127.0.0.1:{target}/api/v1/users/u/validate");
        let answer = format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let (port, lines) = serve(answer).await;
        let downstream = client(Arc::new(HttpTransport::default()), [port.as_str(), "1", "1", "1", "1"]);
        let error = auth::validate(&downstream, "t", "u").await.expect_err("a redirect");
        assert_eq!((error.error, error.cause.http_status), (ErrorName::ServiceRejected.to_string(), Some(status)));
        assert_eq!(*lines.lock().expect("no panic"), ["GET /api/v1/users/u/validate HTTP/1.1"]);
    }
    assert!(reached.lock().expect("no panic").is_empty());
}
