//! Signed documents: what is signed is what is read.

use futures::executor::block_on;
use serde_json::{Value, json};
use vault::{DocumentError, FileKeys, Keys as _, SignError, sign_document, verify_document};

use crate::support::file_keys;

const KIND: &str = "certificate";

fn signed(keys: &FileKeys, document: &Value) -> Value {
    block_on(sign_document(KIND, document, keys)).unwrap()
}

fn verify(document: &Value, keys: &FileKeys) -> Result<Value, DocumentError> {
    verify_document(KIND, document.to_string().as_bytes(), &keys.public_keys())
}

#[test]
fn a_document_is_the_same_however_it_is_written() {
    let keys = file_keys();
    let document = json!({ "b": [1, { "z": null, "a": "ä\u{1f600}\n" }], "a": { "x": true, "n": -7 } });
    let signed = signed(&keys, &document);
    assert_eq!(verify(&signed, &keys), Ok(document.clone()));
    let pretty = serde_json::to_vec_pretty(&signed).unwrap();
    assert_eq!(verify_document(KIND, &pretty, &keys.public_keys()), Ok(document.clone()));
    let signature = &signed["signature"];
    let text = format!(
        r#"{{ "signature": {signature}, "document": {{"a":{{"n":-7,"x":true}},
        "b":[ 1, {{"a":"\u00E4\uD83D\uDE00\u000a","z":null}}]}} }}"#
    );
    assert_eq!(verify_document(KIND, text.as_bytes(), &keys.public_keys()), Ok(document));
    assert_eq!(signature["algorithm"], "Ed25519");
    assert_eq!(signature["key_id"], keys.public_keys()[0].key_id());
}

#[test]
fn other_keys_and_kinds_are_refused() {
    let (keys, foreign) = (file_keys(), file_keys());
    let document = json!({ "tenant_id": "t" });
    let mut signed_by_foreign = signed(&foreign, &document);
    let key_id = foreign.public_keys()[0].key_id();
    assert_eq!(verify(&signed_by_foreign, &keys), Err(DocumentError::UnknownKey { key_id }));
    assert_eq!(verify_document(KIND, signed_by_foreign.to_string().as_bytes(), &[]).ok(), None);

    let key_id = keys.public_keys()[0].key_id();
    let bad = |kind: &str| DocumentError::BadSignature { kind: kind.to_owned(), key_id: key_id.clone() };
    signed_by_foreign["signature"]["key_id"] = key_id.clone().into();
    assert_eq!(verify(&signed_by_foreign, &keys), Err(bad(KIND)));

    let signed = signed(&keys, &document);
    let bytes = signed.to_string().into_bytes();
    let all = [foreign.public_keys(), keys.public_keys()].concat();
    assert_eq!(verify_document(KIND, &bytes, &all), Ok(document.clone()));
    assert_eq!(verify_document("backup-manifest", &bytes, &all), Err(bad("backup-manifest")));
    let mut changed = signed.clone();
    changed["document"]["tenant_id"] = "u".into();
    assert_eq!(verify(&changed, &keys), Err(bad(KIND)));
    let mut changed = signed.clone();
    changed["document"]["more"] = Value::Null;
    assert_eq!(verify(&changed, &keys), Err(bad(KIND)));
    let mut changed = signed;
    changed["signature"]["algorithm"] = "Ed448".into();
    assert_eq!(verify(&changed, &keys), Err(DocumentError::UnknownVersion { algorithm: "Ed448".to_owned() }));
    // The signature of a bare text is not the signature of a document.
    let signature = block_on(keys.sign(br#"{"tenant_id":"t"}"#)).unwrap();
    let bare = json!({ "document": document, "signature": signature });
    assert_eq!(verify(&bare, &keys), Err(bad(KIND)));
}

#[test]
fn names_that_occur_twice_do_not_fool() {
    let keys = file_keys();
    let signed = signed(&keys, &json!({ "tenant_id": "t" }));
    let signature = &signed["signature"];
    let verify = |document: &str| {
        let text = format!(r#"{{"document":{document},"signature":{signature}}}"#);
        verify_document(KIND, text.as_bytes(), &keys.public_keys())
    };
    for document in [r#"{"tenant_id":"u","tenant_id":"t"}"#, r#"{"tenant_id":"t","tenant_id":"u"}"#] {
        assert!(matches!(verify(document), Err(DocumentError::NotADocument { .. })), "{document}");
    }
    let twice = r#"{"tenant_id":"t"},"document":{"tenant_id":"t"}"#;
    assert!(matches!(verify(twice), Err(DocumentError::NotADocument { .. })));
}

#[test]
fn what_is_no_document_is_refused() {
    let keys = file_keys();
    let signed = signed(&keys, &json!({ "a": 1 }));
    let mut more = signed.clone();
    more["approved_by"] = "somebody".into();
    let mut without = signed.clone();
    without.as_object_mut().unwrap().remove("signature");
    let mut fraction = signed.clone();
    fraction["document"]["a"] = json!(1.0);
    let mut bare = signed;
    bare["document"] = json!([1]);
    for value in [more, without, fraction, bare, json!([]), json!({})] {
        let error = verify(&value, &keys).unwrap_err();
        assert!(matches!(error, DocumentError::NotADocument { .. }), "{value}: {error}");
    }
    for bytes in [&b""[..], b"\xff", b"{", b"null", &b"[".repeat(100_000)] {
        let error = verify_document(KIND, bytes, &keys.public_keys()).unwrap_err();
        assert!(matches!(error, DocumentError::NotADocument { .. }), "{error}");
    }
    for (kind, document) in
        [(KIND, json!({ "a": 0.5 })), (KIND, json!({ "a": u64::MAX })), (KIND, json!([])), ("a\nb", json!({}))]
    {
        let error = block_on(sign_document(kind, &document, &keys)).unwrap_err();
        assert!(matches!(error, SignError::NotADocument { .. }), "{document}: {error}");
    }
}
