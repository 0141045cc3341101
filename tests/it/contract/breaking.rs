//! A service that breaks one promise fails the rules that name it, and no others.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Json, Response};
use downstream::Service;
use downstream::contract::{Finding, Verdict};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{TENANT, check, clock, kind, layer, services};

fn broken(findings: &[Finding]) -> BTreeSet<&'static str> {
    let broken = findings.iter().filter(|finding| matches!(finding.verdict, Verdict::Broken(_)));
    broken.map(|finding| finding.rule.name).collect()
}

/// A service whose answers with JSON are changed.
fn answering(router: Router, change: impl Fn(&Parts, &mut Value) + Clone + Send + Sync + 'static) -> Router {
    layer(router, move |request, next| {
        let change = change.clone();
        async move {
            let parts = Parts { method: request.method().clone(), uri: request.uri().clone() };
            let (head, body) = next.run(request).await.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            let Ok(mut body) = serde_json::from_slice(&bytes) else {
                return Response::from_parts(head, bytes.into());
            };
            change(&parts, &mut body);
            let mut answer = Response::from_parts(head, Body::from(body.to_string()));
            answer.headers_mut().remove("content-length");
            answer
        }
    })
}

/// What a request is about.
struct Parts {
    method: Method,
    uri: Uri,
}

impl Parts {
    fn has(&self, parameter: &str) -> bool {
        self.uri.query().is_some_and(|query| query.contains(parameter))
    }

    /// Whether it reads pages of a type.
    fn is_page(&self) -> bool {
        let path = self.uri.path();
        self.method == Method::GET && path.starts_with("/api/v1/data/") && path.matches('/').count() == 4
    }
}

/// A promise, how it is broken, and the rules that name it.
struct Breaking {
    what: &'static str,
    service: Service,
    breaks: fn(Router) -> Router,
    rules: &'static [&'static str],
}

const BREAKING: &[Breaking] = &[
    Breaking {
        what: "answers without idempotence",
        service: Service::Auth,
        breaks: without_idempotence,
        rules: &["idempotence.refuses-another-request", "idempotence.repeats-the-first-answer"],
    },
    Breaking {
        what: "an undo that finds nothing",
        service: Service::User,
        breaks: |router| {
            layer(router, async |mut request, next| {
                if request.uri().path().starts_with("/api/v1/effects/") {
                    *request.uri_mut() = Uri::from_static("/api/v1/effects/another-key");
                }
                next.run(request).await
            })
        },
        rules: &[
            "undo.leaves-a-tombstone",
            "undo.refuses-what-has-changed-since",
            "undo.restores-what-was-before",
            "undo.takes-back-a-creation",
        ],
    },
    Breaking {
        what: "no tombstone",
        service: Service::File,
        breaks: without_tombstones,
        rules: &["undo.leaves-a-tombstone"],
    },
    Breaking {
        what: "pages that lose an item",
        service: Service::Auth,
        breaks: |router| {
            answering(router, |parts, body| {
                if parts.is_page() && parts.has("cursor=") {
                    body["items"].as_array_mut().unwrap().remove(0);
                }
            })
        },
        rules: &["pages.each-thing-once"],
    },
    Breaking {
        what: "pages that repeat an item",
        service: Service::Tenant,
        breaks: |router| {
            answering(router, |parts, body| {
                if parts.is_page() && parts.has("cursor=") {
                    let items = body["items"].as_array_mut().unwrap();
                    items.extend(items.first().cloned());
                }
            })
        },
        rules: &["pages.each-thing-once"],
    },
    Breaking {
        what: "a cursor that loops",
        service: Service::Notifications,
        breaks: |router| {
            let first = Arc::new(Mutex::new(Value::Null));
            answering(router, move |parts, body| {
                let mut first = first.lock().unwrap();
                if parts.is_page() && !parts.has("cursor=") {
                    *first = body["next_cursor"].clone();
                } else if parts.is_page() {
                    body["next_cursor"] = first.clone();
                }
            })
        },
        rules: &["pages.cursor-ends"],
    },
    Breaking {
        what: "a digest that ignores a field",
        service: Service::Auth,
        breaks: digest_without_names,
        rules: &["digests.every-field-counts"],
    },
    Breaking {
        what: "a digest that knows no limit",
        service: Service::Auth,
        breaks: |router| digest_without_parameters(router, "limit"),
        rules: &["digests.limits"],
    },
    Breaking {
        what: "a digest of things as they are, whatever is asked for",
        service: Service::Auth,
        breaks: |router| digest_without_parameters(router, "as."),
        rules: &["digests.names"],
    },
    Breaking {
        what: "another tenant's row",
        service: Service::Tenant,
        breaks: |router| {
            layer(router, async |mut request, next| {
                let is_page = request.method() == Method::GET && request.uri().path().starts_with("/api/v1/data/");
                if is_page {
                    request.headers_mut().insert("x-tenant-id", HeaderValue::from_static(TENANT));
                }
                next.run(request).await
            })
        },
        rules: &["isolation.pages"],
    },
    Breaking {
        what: "results in another order",
        service: Service::User,
        breaks: |router| {
            answering(router, |parts, body| {
                if let Some(results) = body["results"].as_array_mut().filter(|_| parts.method == Method::POST) {
                    results.reverse();
                }
            })
        },
        rules: &["operations.results-in-order"],
    },
    Breaking {
        what: "success of an unknown operation",
        service: Service::File,
        breaks: |router| {
            layer(router, async |request, next| {
                let is_operation = request.uri().path().starts_with("/api/v1/operations/");
                let answer = next.run(request).await;
                let is_unknown = is_operation && answer.status() == StatusCode::NOT_FOUND;
                if is_unknown { Json(json!({ "results": [] })).into_response() } else { answer }
            })
        },
        rules: &["operations.unknown-operation"],
    },
    Breaking {
        what: "a missing log",
        service: Service::Notifications,
        breaks: |router| {
            answering(router, |parts, body| {
                if parts.has("kind=deletion") {
                    body["entries"] = json!([]);
                }
            })
        },
        rules: &["logs.deletions"],
    },
    Breaking {
        what: "another id than the chosen one",
        service: Service::Auth,
        breaks: |router| {
            answering(router, |parts, body| {
                if parts.uri.path() == "/api/v1/users" && body["user_id"].is_string() {
                    body["user_id"] = "user-1".into();
                }
            })
        },
        rules: &["creation.keeps-the-chosen-id"],
    },
    Breaking {
        what: "a dry run that is real",
        service: Service::User,
        breaks: |router| {
            layer(router, async |mut request, next| {
                if request.uri().query() == Some("dry_run=true") {
                    *request.uri_mut() = request.uri().path().parse().unwrap();
                }
                next.run(request).await
            })
        },
        rules: &["operations.dry-run-changes-nothing"],
    },
    Breaking {
        what: "bad fields without their names",
        service: Service::Auth,
        breaks: |router| {
            answering(router, |_, body| {
                body.as_object_mut().map(|fields| fields.remove("errors"));
            })
        },
        rules: &["errors.bad-field"],
    },
];

#[tokio::test]
async fn a_broken_promise_fails_the_rules_that_name_it_and_no_others() {
    let clock = clock();
    for Breaking { what, service, breaks, rules } in BREAKING {
        let services = services(&clock).await;
        let before = services.snapshot(None).await.unwrap();
        let findings = check(&clock, *service, breaks(services.router(kind(*service)))).await;
        assert_eq!(broken(&findings), rules.iter().copied().collect(), "{what}");
        let names: Vec<_> = findings.iter().flat_map(|finding| &finding.left).collect();
        assert!(names.is_empty(), "{what}: {names:?}");
        // Where nothing can be undone, the tenant that a user works in stays: it came with the profile, and the data port
        // has no such type.
        if *what != "an undo that finds nothing" {
            assert_eq!(services.snapshot(None).await.unwrap(), before, "{what}");
        }
    }
}

/// A repeated key is a new one.
fn without_idempotence(router: Router) -> Router {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    layer(router, move |mut request, next| {
        let seen = Arc::clone(&seen);
        async move {
            if let Some(key) = request.headers().get("idempotency-key").cloned() {
                let mut again = key.to_str().unwrap().to_owned();
                while !seen.lock().unwrap().insert(again.clone()) {
                    again.push('+');
                }
                request.headers_mut().insert("idempotency-key", again.parse().unwrap());
            }
            next.run(request).await
        }
    })
}

/// What is refused because of a tombstone is done by another key.
fn without_tombstones(router: Router) -> Router {
    let inner = router.clone();
    layer(router, move |request, next| {
        let inner = inner.clone();
        async move {
            let (head, body) = request.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            let answer = next.run(Request::from_parts(head.clone(), bytes.clone().into())).await;
            if answer.status() != StatusCode::GONE {
                return answer;
            }
            let mut again = Request::from_parts(head, Body::from(bytes));
            again.headers_mut().insert("idempotency-key", HeaderValue::from_static("after-the-tombstone"));
            inner.oneshot(again).await.unwrap_or_else(|never| match never {})
        }
    })
}

/// Digests do not know the parameters whose names begin so.
fn digest_without_parameters(router: Router, prefix: &'static str) -> Router {
    layer(router, move |mut request, next| async move {
        let uri = request.uri().to_string();
        if let Some((path, query)) = uri.split_once("/digest?") {
            let known: Vec<&str> = query.split('&').filter(|parameter| !parameter.starts_with(prefix)).collect();
            *request.uri_mut() = format!("{path}/digest?{}", known.join("&")).parse().unwrap();
        }
        next.run(request).await
    })
}

/// The digest is one of what pages show, but for names.
fn digest_without_names(router: Router) -> Router {
    let inner = router.clone();
    layer(router, move |request, next| {
        let inner = inner.clone();
        async move {
            let uri = request.uri().to_string();
            let is_usual = !uri.contains("limit=") && !uri.contains("as.");
            if !uri.contains("/digest?") || !is_usual {
                return next.run(request).await;
            }
            let (mut head, _) = request.into_parts();
            head.uri = uri.replace("/digest?", "?limit=1000&").parse().unwrap();
            let pages = inner.oneshot(Request::from_parts(head, Body::empty())).await;
            let body = pages.unwrap_or_else(|never| match never {}).into_body();
            let body: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
            let mut hasher = DefaultHasher::new();
            for item in body["items"].as_array().unwrap() {
                let mut data = item["data"].clone();
                data.as_object_mut().unwrap().remove("name");
                data.to_string().hash(&mut hasher);
            }
            let sha256 = format!("{:064x}", hasher.finish());
            Json(json!({ "count": body["items"].as_array().unwrap().len(), "sha256": sha256 })).into_response()
        }
    })
}
