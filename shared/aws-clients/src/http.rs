//! How requests are sent: over one pool of connections, which all clients have in common.

use std::time::Duration;

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection is kept that is not used: less than AWS keeps it, so that no request is sent on one that is being
/// closed, after a function was frozen for a while.
const MAX_IDLE_TIME: Duration = Duration::from_secs(15);

/// The roots that AWS's endpoints have certificates of, as <https://www.amazontrust.com/repository/> lists them. Reading
/// all of the machine's instead takes half of the time of a first request.
const AMAZON_ROOTS: &[u8] = include_bytes!("../amazon-roots.pem");

/// What all clients send their requests with. TLS is set up here and now, not with the first request: Lambda gives a
/// function more of a processor to begin than to answer. It trusts Amazon's roots, or those of the machine, which
/// `SSL_CERT_FILE` replaces.
pub fn http_client(has_own_roots: bool) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(connector(has_own_roots, MAX_IDLE_TIME));
    // Other limits than the one on connecting are those of the clients' attempts.
    http_client_fn(move |_, _| connector.clone())
}

fn connector(has_own_roots: bool, idle_time: Duration) -> Connector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let https = Connector::builder()
        .connector_settings(settings)
        .sleep_impl(TokioSleep::new())
        .pool_idle_timeout(idle_time)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    match amazons().filter(|_| !has_own_roots) {
        Some(context) => https.tls_context(context).build(),
        None => https.build(),
    }
}

/// Trust in Amazon's roots.
fn amazons() -> Option<TlsContext> {
    let amazons = TrustStore::empty().with_pem_certificate(AMAZON_ROOTS);
    TlsContext::builder().with_trust_store(amazons).build().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_sdk_dynamodb::config::http::HttpRequest;
    use aws_smithy_runtime_api::client::http::HttpConnector as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_nobody_uses_is_closed_before_the_peer_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let accepted = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut request = [0; 1_024];
                    while connection.read(&mut request).await.is_ok_and(|length| length > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        connection.write_all(answer).await.expect("writes");
                    }
                });
            }
        });
        let connector = connector(false, Duration::from_millis(200));
        let call = async || {
            let answer = connector.call(HttpRequest::get(&url).expect("a URL")).await.expect("it is answered");
            assert_eq!(answer.status().as_u16(), 200);
            accepted.load(Ordering::Relaxed)
        };
        assert_eq!((call().await, call().await), (1, 1), "the second call is on the first one's connection");
        clock::sleep(&clock::SystemClock, Duration::from_millis(600)).await;
        assert_eq!(call().await, 2, "it was idle for too long");
    }
}
