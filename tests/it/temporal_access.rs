//! Temporal servers that look who asks: by certificates, or by an API key, as Temporal Cloud does.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::process::Site;
use crate::temporal;
use crate::world::{TENANT, full_request_of};

const API_KEY: &str = "canary-of-the-api-key";

/// Whom the front lets in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Certificate,
    ApiKey,
}

/// Who signs certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Certificate and key.
    fn sign(&self, name: &str) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        [parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem()]
    }
}

/// A front before a server that has neither: its address.
async fn front(server: &str, authority: &Authority, wants: Wants) -> String {
    let [certificate, key] = authority.sign("localhost");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let config = ServerConfig::builder();
    let config = match wants {
        Wants::Certificate => {
            config.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        }
        Wants::ApiKey => config.with_no_client_auth(),
    };
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = server.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let Ok(mut behind) = TcpStream::connect(server).await else { return };
                match wants {
                    // What TLS carries is what the server speaks.
                    Wants::Certificate => drop(tokio::io::copy_bidirectional(&mut stream, &mut behind).await),
                    Wants::ApiKey => check_keys(stream, behind).await,
                }
            });
        }
    });
    format!("https://localhost:{port}")
}

async fn check_keys(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, behind: TcpStream) {
    let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = client.handshake(TokioIo::new(behind)).await.unwrap();
    tokio::spawn(connection);
    let service = service_fn(move |request| answer(request, sender.clone()));
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// As a server of gRPC refuses: with a status of its own, and nothing else.
async fn answer(request: Request<Incoming>, mut server: SendRequest<Incoming>) -> hyper::Result<Response<Body>> {
    let is_let_in = request.headers().get("authorization").is_some_and(|key| *key == format!("Bearer {API_KEY}"));
    if is_let_in {
        return Ok(server.send_request(request).await?.map(Body::new));
    }
    let refused = Response::builder().header("content-type", "application/grpc").header("grpc-status", "16");
    Ok(refused.header("grpc-message", "Request unauthorized.").body(Body::empty()).unwrap())
}

/// What its `/ready` says of a server with these variables, which then answers a start with this status.
async fn ready(settings: &[(&str, String)]) -> (Value, u16) {
    let at = Site::new().await;
    let settings: Vec<_> =
        settings.iter().cloned().chain([("WORKFLOW__ENGINE__KIND", "temporal".to_owned())]).collect();
    let mut server = at.spawn_as("server", &settings);
    at.until_up(&mut server).await;
    let ready: Value = at.http.get(at.url("/ready")).send().await.unwrap().json().await.unwrap();
    let start = at.http.post(at.url("/api/v1/workflows/user-onboarding")).header("x-tenant-id", TENANT);
    let status = start.json(&full_request_of(1)).send().await.unwrap().status().as_u16();
    let said = std::fs::read_to_string(at.data_dir().join("server.log")).unwrap();
    assert!(!said.contains(API_KEY) && !ready.to_string().contains(API_KEY), "the key is told: {said} {ready}");
    (ready, status)
}

fn refused((ready, status): (Value, u16), reason: &str) {
    assert_eq!((&ready["checks"]["engine"], status), (&json!(false), 503), "{ready}");
    assert!(ready["reason"].as_str().is_some_and(|said| said.contains(reason)), "{reason} is not said: {ready}");
}

fn let_in((ready, status): (Value, u16)) {
    assert_eq!((&ready["checks"]["engine"], status), (&json!(true), 202), "{ready}");
}

#[test]
fn a_server_that_wants_certificates() {
    temporal::run(|server| async move {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let address = ("TEMPORAL_ADDRESS", front(server, &authority, Wants::Certificate).await);
        let trust = |authority: &Authority| ("TEMPORAL_TLS_SERVER_CA_CERT_DATA", authority.issuer.pem());
        let show = |authority: &Authority| {
            let [certificate, key] = authority.sign("worker");
            [("TEMPORAL_TLS_CLIENT_CERT_DATA", certificate), ("TEMPORAL_TLS_CLIENT_KEY_DATA", key)]
        };
        let all = |trusted: &Authority, shown: Option<&Authority>| {
            let shown = shown.into_iter().flat_map(show);
            [address.clone(), trust(trusted)].into_iter().chain(shown).collect::<Vec<_>>()
        };
        let_in(ready(&all(&authority, Some(&authority))).await);
        refused(ready(&all(&authority, None)).await, "cannot be reached");
        refused(ready(&all(&authority, Some(&stranger))).await, "cannot be reached");
        refused(ready(&all(&stranger, Some(&authority))).await, "cannot be reached");
    });
}

#[test]
fn a_server_that_wants_an_api_key() {
    temporal::run(|server| async move {
        let authority = Authority::new();
        let key = |key: &str| ("TEMPORAL_API_KEY", key.to_owned());
        let at = [
            ("TEMPORAL_ADDRESS", front(server, &authority, Wants::ApiKey).await),
            ("TEMPORAL_TLS_SERVER_CA_CERT_DATA", authority.issuer.pem()),
        ];
        let with = |key| [at.as_slice(), &[key]].concat();
        let_in(ready(&with(key(API_KEY))).await);
        refused(ready(&with(key("another"))).await, "does not accept the credentials");
        refused(ready(&at).await, "does not accept the credentials");
    });
}
