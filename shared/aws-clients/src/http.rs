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

/// The roots that AWS's endpoints have certificates of, as <https://www.amazontrust.com/repository/> lists them. Reading
/// all of the machine's instead takes half of the time of a first request.
const AMAZON_ROOTS: &[u8] = include_bytes!("../amazon-roots.pem");

/// What all clients send their requests with. TLS is set up here and now, not with the first request: Lambda gives a
/// function more of a processor to begin than to answer. It trusts Amazon's roots, or those of the machine, which
/// `SSL_CERT_FILE` replaces.
pub fn http_client(has_own_roots: bool) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(connector(has_own_roots));
    // Other limits than the one on connecting are those of the clients' attempts.
    http_client_fn(move |_, _| connector.clone())
}

fn connector(has_own_roots: bool) -> Connector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let https = Connector::builder()
        .connector_settings(settings)
        .sleep_impl(TokioSleep::new())
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
