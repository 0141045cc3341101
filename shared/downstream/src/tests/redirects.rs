//! Redirects, over a real socket.

use super::sockets::{closing, serve};
use super::*;
use crate::HttpTransport;

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let body = json!({ "valid": true, "user_id": "u", "permissions": [] }).to_string();
    let (target, reached) = serve(closing("200 OK", "", &body)).await;
    // The target would be a good answer to whoever gets there.
    let straight = client(Arc::new(HttpTransport::default()), [target.as_str(), "1", "1", "1", "1"]);
    assert_eq!(name_of(auth::validate(&straight, "t", "u").await), None);
    reached.lock().expect("no panic").clear();

    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://127.0.0.1:{target}/api/v1/users/u/validate");
        let answer = closing(&format!("{status} Moved"), &format!("location: {location}\r\n"), "");
        let (port, lines) = serve(answer).await;
        let downstream = client(Arc::new(HttpTransport::default()), [port.as_str(), "1", "1", "1", "1"]);
        let error = auth::validate(&downstream, "t", "u").await.expect_err("a redirect");
        assert_eq!((error.error, error.cause.http_status), (ErrorName::ServiceRejected.to_string(), Some(status)));
        assert_eq!(*lines.lock().expect("no panic"), ["GET /api/v1/users/u/validate HTTP/1.1"]);
    }
    assert!(reached.lock().expect("no panic").is_empty());
}
