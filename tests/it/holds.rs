//! Legal holds by the API: from their placing to their end.

use std::time::Duration;

use axum::body::Body;
use futures::future::join_all;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::world::{TENANT, World, run};

const HOLDS: &str = "/api/v1/compliance/holds";
const OTHER: &str = "tenant-456";

async fn ask(world: &World, method: Method, path: &str, body: &Value, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    // Rows of one and the same moment have no order.
    clock::sleep(&*world.clock, Duration::from_millis(1)).await;
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let tenant = [("x-tenant-id", TENANT)];
    let has_tenant = headers.iter().any(|(name, _)| *name == "x-tenant-id");
    for (name, value) in headers.iter().chain(tenant.iter().filter(|_| !has_tenant)) {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let (status, _, answer) = world.call(request.body(body).unwrap()).await;
    (status, answer)
}

async fn place(world: &World, body: Value) -> Value {
    let (status, answer) = ask(world, Method::POST, HOLDS, &body, &[]).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer
}

async fn release(world: &World, id: &str) -> (StatusCode, Value) {
    let reason = json!({ "reason": "it is over" });
    ask(world, Method::DELETE, &format!("{HOLDS}/{id}"), &reason, &[("x-user-id", "user-2")]).await
}

async fn names(world: &World, query: &str) -> Vec<String> {
    let (status, answer) = ask(world, Method::GET, &format!("{HOLDS}{query}"), &Value::Null, &[]).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["holds"].as_array().unwrap().iter().map(|hold| hold["hold_id"].as_str().unwrap().to_owned()).collect()
}

/// Action and name of the rows of the log that tell of holds, newest first.
async fn told(world: &World) -> Vec<[String; 2]> {
    let (_, log) = world.get("/api/v1/audit?page_size=200&outcome=accepted").await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = log["entries"].as_array().unwrap().iter();
    rows.map(|row| [text(&row["action"]), text(&row["details"]["hold_id"])]).collect()
}

#[test]
fn a_hold_is_placed_read_and_released() {
    run(async {
        let world = World::new().await;
        let body = json!({ "hold_id": "case-7", "subject_user_id": "user-9", "data_categories": ["usage", "contact"],
            "reason": "a lawsuit,\nno. 7", "until": "2027-01-01T00:00:00Z" });
        let request = Request::post(HOLDS).header("x-tenant-id", TENANT).header("content-type", "application/json");
        let request = request.header("x-user-id", "user-1").body(Body::from(body.to_string())).unwrap();
        let (status, headers, placed) = world.call(request).await;
        assert_eq!(status, StatusCode::CREATED, "{placed}");
        assert_eq!(headers["location"], format!("{HOLDS}/case-7"));
        for (name, expected) in [
            ("hold_id", json!("case-7")),
            ("tenant_id", json!(TENANT)),
            ("subject_user_id", json!("user-9")),
            ("data_categories", json!(["contact", "usage"])),
            ("record", Value::Null),
            ("reason", json!("a lawsuit,\nno. 7")),
            ("until", json!("2027-01-01T00:00:00Z")),
            ("placed_by", json!("user-1")),
            ("released", Value::Null),
            ("state", json!("active")),
            ("overlaps", json!([])),
            ("overlap_count", json!(0)),
        ] {
            assert_eq!(placed[name], expected, "{name}");
        }
        let (status, again) = ask(&world, Method::POST, HOLDS, &body, &[]).await;
        assert_eq!((status, &again), (StatusCode::OK, &placed), "placed again");
        let mut other = body.clone();
        other["subject_user_id"] = json!("user-8");
        let (status, problem) = ask(&world, Method::POST, HOLDS, &other, &[]).await;
        assert_eq!(
            (status, &problem["detail"]),
            (StatusCode::CONFLICT, &json!("There is another hold called case-7."))
        );

        let path = format!("{HOLDS}/case-7");
        let (status, read) = ask(&world, Method::GET, &path, &Value::Null, &[]).await;
        assert_eq!(
            (status, &read["placed_at"], &read["state"]),
            (StatusCode::OK, &placed["placed_at"], &json!("active"))
        );
        let (status, released) = release(&world, "case-7").await;
        assert_eq!(status, StatusCode::OK, "{released}");
        assert_eq!((&released["state"], &released["still_held_by"]), (&json!("released"), &json!([])));
        assert_eq!(
            (&released["released"]["by"], &released["released"]["reason"]),
            (&json!("user-2"), &json!("it is over"))
        );
        let (status, again) =
            ask(&world, Method::DELETE, &path, &json!({ "reason": "another" }), &[("x-user-id", "user-3")]).await;
        assert_eq!((status, &again), (StatusCode::OK, &released), "the first release is what counts");
        let expected = [["release_hold", "case-7"], ["place_hold", "case-7"]].map(|row| row.map(str::to_owned));
        assert_eq!(told(&world).await, expected, "each change has one row, and a repetition none");
        let (_, log) = world.get("/api/v1/audit?action=place_hold&outcome=accepted").await;
        assert_eq!((&log["entries"][0]["actor"], &log["entries"][0]["reason"]), (&json!("user-1"), &body["reason"]));
        let (status, placed) = ask(&world, Method::POST, HOLDS, &body, &[]).await;
        assert_eq!((status, &placed["state"]), (StatusCode::OK, &json!("released")), "it does not hold again");
    });
}

#[test]
fn what_holds_the_same_data_is_named() {
    run(async {
        let world = World::new().await;
        let record = |id: &str| json!({ "service": "auth", "entity_type": "account", "entity_id": id });
        let subject = |id: &str| json!({ "hold_id": format!("of-{id}"), "subject_user_id": id, "reason": "r" });
        assert_eq!(place(&world, subject("user-1")).await["overlaps"], json!([]));
        assert_eq!(place(&world, subject("user-2")).await["overlaps"], json!([]), "another person's data");
        let usage = json!({ "hold_id": "usage", "data_categories": ["usage"], "reason": "r" });
        assert_eq!(place(&world, usage).await["overlaps"], json!(["of-user-1", "of-user-2"]));
        let content = json!({ "hold_id": "content", "data_categories": ["content"], "reason": "r" });
        assert_eq!(place(&world, content).await["overlaps"], json!(["of-user-1", "of-user-2"]));
        let one = json!({ "hold_id": "one", "record": record("1"), "reason": "r" });
        let placed = place(&world, one).await;
        assert_eq!(placed["overlaps"], json!(["of-user-1", "of-user-2", "usage"]), "an account has no content");
        assert_eq!(placed["overlap_count"], 3);
        assert_eq!(
            place(&world, json!({ "hold_id": "two", "record": record("2"), "reason": "r" })).await["overlap_count"],
            3
        );
        assert_eq!(release(&world, "of-user-1").await.1["still_held_by"], json!(["content", "one", "two", "usage"]));
        let (_, released) = release(&world, "usage").await;
        assert_eq!(released["still_held_by"], json!(["of-user-2", "one", "two"]), "what is released holds nothing");
        assert_eq!(released["still_held_count"], 3);
    });
}

#[test]
fn a_hold_expires() {
    run(async {
        let world = World::new().await;
        let until = world.clock.now() + Duration::from_secs(3_600);
        place(&world, json!({ "hold_id": "short", "subject_user_id": "u", "reason": "r", "until": until })).await;
        clock::sleep(&*world.clock, Duration::from_secs(3_600)).await;
        let (_, hold) = ask(&world, Method::GET, &format!("{HOLDS}/short"), &Value::Null, &[]).await;
        assert_eq!(hold["state"], "expired");
        let (status, problem) = release(&world, "short").await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("Conflict")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with("The hold short has expired"), "{problem}");
        assert_eq!(
            place(&world, json!({ "hold_id": "h", "subject_user_id": "u", "reason": "r" })).await["overlaps"],
            json!([])
        );
        assert_eq!(told(&world).await.len(), 2, "what is refused is not told");
    });
}

#[test]
fn holds_are_listed_filtered_and_paged() {
    run(async {
        let world = World::new().await;
        let until = world.clock.now() + Duration::from_secs(3_600);
        place(&world, json!({ "hold_id": "a", "subject_user_id": "u", "reason": "r" })).await;
        place(&world, json!({ "hold_id": "b", "subject_user_id": "v", "reason": "r", "until": until })).await;
        place(&world, json!({ "hold_id": "c", "data_categories": ["usage"], "reason": "r" })).await;
        place(&world, json!({ "hold_id": "d", "subject_user_id": "u", "data_categories": ["usage"], "reason": "r" }))
            .await;
        assert_eq!(release(&world, "a").await.0, StatusCode::OK);
        clock::sleep(&*world.clock, Duration::from_secs(3_600)).await;
        for (query, expected) in [
            ("", "d c b a"),
            ("?state=active", "d c"),
            ("?state=released", "a"),
            ("?state=expired", "b"),
            ("?subject_user_id=u", "d a"),
            ("?subject_user_id=u&state=active", "d"),
            ("?subject_user_id=w", ""),
        ] {
            assert_eq!(names(&world, query).await.join(" "), expected, "{query}");
        }
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("{HOLDS}?page_size=1{token}");
            let (_, page) = ask(&world, Method::GET, &path, &Value::Null, &[]).await;
            found.extend(page["holds"].as_array().unwrap().iter().map(|hold| hold["hold_id"].clone()));
            let Some(next) = page["next_page_token"].as_str() else { break };
            token = format!("&page_token={next}");
        }
        assert_eq!(found, ["d", "c", "b", "a"]);
        let other = format!("{HOLDS}?page_size=1&state=active{token}");
        assert_eq!(ask(&world, Method::GET, &other, &Value::Null, &[]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn another_tenant_has_holds_of_its_own() {
    run(async {
        let world = World::new().await;
        let theirs = [("x-tenant-id", OTHER)];
        let hold = json!({ "hold_id": "h-1", "subject_user_id": "u", "reason": "r" });
        place(&world, hold.clone()).await;
        let (_, list) = ask(&world, Method::GET, HOLDS, &Value::Null, &theirs).await;
        assert_eq!(list["holds"], json!([]));
        for (method, body) in [(Method::GET, Value::Null), (Method::DELETE, json!({ "reason": "r" }))] {
            let mut answers = Vec::new();
            for id in ["h-1", "h-2", "a%20b"] {
                let path = format!("{HOLDS}/{id}");
                let (status, mut problem) = ask(&world, method.clone(), &path, &body, &theirs).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{method} {id}: {problem}");
                (problem["request_id"], problem["instance"]) = (Value::Null, Value::Null);
                answers.push(problem);
            }
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        }
        let (status, own) = ask(&world, Method::POST, HOLDS, &hold, &theirs).await;
        assert_eq!((status, &own["overlaps"]), (StatusCode::CREATED, &json!([])));
        let path = format!("{HOLDS}/h-1");
        assert_eq!(ask(&world, Method::DELETE, &path, &json!({ "reason": "r" }), &theirs).await.0, StatusCode::OK);
        assert_eq!(names(&world, "?state=active").await, ["h-1"], "it still holds here");
    });
}

#[test]
fn fifty_at_once_are_one_hold_and_one_release() {
    run(async {
        let world = World::new().await;
        let hold = json!({ "hold_id": "h-1", "subject_user_id": "u", "reason": "r" });
        let placed = join_all((0..50).map(|_| ask(&world, Method::POST, HOLDS, &hold, &[]))).await;
        let created = placed.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
        let repeated = placed.iter().filter(|(status, _)| *status == StatusCode::OK).count();
        assert_eq!((created, repeated), (1, 49));
        assert!(placed.iter().all(|(_, answer)| *answer == placed[0].1));
        let released = join_all((0..50).map(|_| release(&world, "h-1"))).await;
        assert!(released.iter().all(|answer| *answer == released[0] && answer.0 == StatusCode::OK));
        let expected = [["release_hold", "h-1"], ["place_hold", "h-1"]].map(|row| row.map(str::to_owned));
        assert_eq!(told(&world).await, expected);
    });
}
