//! Files as people have them.

use contracts::request::read;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use store::StoreError;

use super::*;

fn request(operation: &str, on_malformed: &str) -> BulkOperationRequest {
    let body = json!({
        "operation_id": "op", "tenant_id": "t", "operation_type": operation,
        "input": { "upload_id": "u", "on_malformed": on_malformed },
    });
    read(&body.into()).expect("it is good")
}

/// What comes of a file that arrives in parts of this size: entities as JSON, or what is wrong with the file.
fn read_in_parts(file: &[u8], size: usize, request: &BulkOperationRequest) -> Result<Vec<Value>, String> {
    let parts: Vec<Result<Bytes, StoreError>> =
        file.chunks(size.max(1)).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    let entities = entities(stream::iter(parts).boxed(), request).try_collect::<Vec<Entity>>();
    let entities = futures::executor::block_on(entities).map_err(|error| error.cause.message.clone())?;
    Ok(entities.into_iter().map(|entity| json!(entity)).collect())
}

/// The same, however the file arrives.
fn read_file(file: &[u8], request: &BulkOperationRequest) -> Result<Vec<Value>, String> {
    let whole = read_in_parts(file, file.len(), request);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(read_in_parts(file, size, request), whole, "in parts of {size} bytes");
    }
    whole
}

fn accounts(file: &str) -> Result<Vec<Value>, String> {
    read_file(file.as_bytes(), &request("UserCreation", "stop"))
}

fn account(index: u64, id: &str, data: Value) -> Value {
    json!({ "index": index, "service": "auth", "entity_type": "account", "entity_id": id, "operation_data": data })
}

/// A small file that unpacks to a large one is taken apart part by part, and others get their turn in between.
#[test]
fn what_unpacks_to_much_is_read_in_small_parts() {
    let rows = 200_000;
    let text = format!("entity_id,name,service,entity_type\n{}", "a,b,auth,account\n".repeat(rows));
    let file = ::zstd::encode_all(text.as_bytes(), 0).expect("it is packed");
    assert!(file.len() < 1_000, "{} bytes", file.len());
    let body = stream::iter([Ok(Bytes::from(file))]).boxed();
    let request = request("UserUpdate", "stop");
    let (mut reader, mut turns) = (entities(body, &request), 0);
    let waker = futures::task::noop_waker();
    let (mut found, mut between) = (0, 0);
    loop {
        match reader.poll_next_unpin(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(Some(entity)) => {
                entity.expect("it is good");
                found += 1;
                between += 1;
            }
            std::task::Poll::Ready(None) => break,
            std::task::Poll::Pending => {
                assert!(between <= PART_BYTES / 10, "{between} entities at once");
                (turns, between) = (turns + 1, 0);
            }
        }
    }
    assert_eq!(found, rows);
    assert!(turns > text.len() / PART_BYTES, "others got {turns} turns");
}

/// Where the parts end is no matter.
#[test]
fn a_file_may_unpack_to_whole_parts() {
    let head = "entity_id,name,service,entity_type\n";
    for length in [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 8 * PART_BYTES] {
        let row = format!("a,{},auth,account\n", "b".repeat(length - head.len() - 16));
        let text = format!("{head}{row}");
        assert_eq!(text.len(), length);
        let file = ::zstd::encode_all(text.as_bytes(), 0).expect("it is packed");
        assert_eq!(
            read_in_parts(&file, file.len(), &request("UserUpdate", "stop")).map(|all| all.len()),
            Ok(1),
            "{length}"
        );
    }
}

#[test]
fn csv_is_read_as_spreadsheets_write_it() {
    let data = json!({ "email": "a@example.com", "name": "A" });
    let expected = Ok(vec![account(0, "007", data.clone()), account(1, "u-2", json!({ "name": "B" }))]);
    for file in [
        "service,entity_type,entity_id,email,name\nauth,account,007,a@example.com,A\nauth,account,u-2,,B\n",
        "service,entity_type,entity_id,email,name\nauth,account,007,a@example.com,A\nauth,account,u-2,,B",
        "\u{feff}service,entity_type,entity_id,email,name\r\nauth,account,007,a@example.com,A\r\nauth,account,u-2,,B\r\n",
        " Service , Entity_Type,ENTITY_ID ,email,name\n auth ,account, 007 ,a@example.com,A\nauth,account,u-2, ,B\n,,,,\n\n",
        "sep=,\r\nservice,entity_type,entity_id,email,name\r\nauth,account,007,a@example.com,A\r\nauth,account,u-2,,B\r\n",
        "\"service\",\"entity_type\",\"entity_id\",\"email\",\"name\"\n\"auth\",\"account\",\"007\",\"a@example.com\",\"A\"\nauth,user,u-2,,B\n",
    ] {
        assert_eq!(accounts(file), expected, "{file}");
    }
    let quoted =
        "service,entity_type,entity_id,name\nauth,account,u,\"two\nlines, and \"\"quotes\"\"\"\nauth,account,v,B\n";
    let both = accounts(quoted).expect("it is good");
    assert_eq!(both[0]["operation_data"]["name"], "two\nlines, and \"quotes\"");
    assert_eq!(both[1]["entity_id"], "v");
}

#[test]
fn what_a_file_of_results_is_called_by_may_be_data_elsewhere() {
    let request = request("NotificationSend", "stop");
    let file = "entity_id,notification_type,recipient,message,index\n1,welcome,a@example.com,hi,4\n";
    let read = read_file(file.as_bytes(), &request).expect("it is good");
    let data = json!({ "notification_type": "welcome", "recipient": "a@example.com", "message": "hi", "index": "4" });
    assert_eq!(read[0]["operation_data"], data);
}

#[test]
fn lines_are_counted_whichever_way_they_end_and_a_torn_quotation_is_told() {
    for end in ["\n", "\r\n", "\r"] {
        let file = ["service,entity_type,entity_id,name", "auth,account,u,A", "auth,account,v,\"B\"", "auth,account"];
        let problem = accounts(&(file.join(end) + end)).expect_err("a row lacks columns");
        assert!(problem.starts_with("line 4: has 2 columns"), "{end:?}: {problem}");
        let torn = ["service,entity_type,entity_id,name", "auth,account,u,A", "auth,account,v,\"abc"];
        let problem = accounts(&torn.join(end)).expect_err("it is cut off");
        assert_eq!(problem, "line 3: ends within quotation marks: the file seems to be cut off", "{end:?}");
    }
}

#[test]
fn cells_may_hold_json_and_names_may_have_dots() {
    let request = request("PermissionUpdate", "stop");
    let file =
        "entity_id,permissions,profile.name,index,code,attempts\nu,\"[\"\"a:read\"\",\"\"b\"\"]\",N,7,NotFound,1\n";
    let read = read_file(file.as_bytes(), &request).expect("it is good");
    let data = json!({ "permissions": ["a:read", "b"], "profile": { "name": "N" } });
    assert_eq!(read[0]["operation_data"], data, "what a file of results has besides is left out");
    assert_eq!((&read[0]["service"], &read[0]["entity_type"]), (&json!("tenant"), &json!("membership")));
    let data = "entity_id,operation_data\nu,\"{\"\"role\"\":\"\"admin\"\"}\"\n";
    assert_eq!(
        read_file(data.as_bytes(), &request).expect("it is good")[0]["operation_data"],
        json!({ "role": "admin" })
    );
}

#[test]
fn json_lines_are_read_with_all_their_variants() {
    let line = |id: &str| {
        json!({ "service": "auth", "entity_type": "account", "entity_id": id, "email": "e@x.example" }).to_string()
    };
    let expected = Ok(vec![
        account(0, "a", json!({ "email": "e@x.example" })),
        account(1, "b", json!({ "email": "e@x.example" })),
    ]);
    for file in [
        format!("{}\n{}\n", line("a"), line("b")),
        format!("\u{feff}{}\r\n\r\n{}", line("a"), line("b")),
        format!("\n  {}\n\n{}\n\n", line("a"), line("b")),
    ] {
        assert_eq!(accounts(&file), expected, "{file}");
        let packed = ::zstd::stream::encode_all(file.as_bytes(), 3).expect("it is packed");
        assert_eq!(read_file(&packed, &request("UserCreation", "stop")), expected, "packed");
    }
}

#[test]
fn what_is_no_such_file_is_refused_in_words_that_help() {
    let good = "service,entity_type,entity_id\nauth,account,u\n";
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&b"\xff\xfe"[..], &utf16].concat();
    let packed = ::zstd::stream::encode_all(good.as_bytes(), 3).expect("it is packed");
    let mut damaged = packed.clone();
    damaged[6] ^= 0x55;
    let long = format!("service,entity_type,entity_id\nauth,account,\"{}", "x\n".repeat(MAX_ROW_BYTES));
    for (file, expected) in [
        (&b""[..], "no row"),
        (b"  \n ", "no row"),
        (b"service,entity_type,entity_id\n", "no row"),
        (b"service,entity_type\nauth,account\n", "no column has the name 'entity_id'"),
        (b"service;entity_type;entity_id\nauth;account;u\n", "separated by ';': save the file with commas"),
        (b"service\tentity_type\tentity_id\nauth\taccount\tu\n", "separated by '\\t'"),
        (b"entity_id,name, name \nu,a,b\n", "two columns have the name 'name'"),
        (b"entity_id,,name\nu,a,b\n", "the column 2 has no name"),
        (b"[{\"entity_id\":\"u\"}]", "is a JSON array"),
        (b"PK\x03\x04....", "a spreadsheet or a ZIP archive: save it as CSV in UTF-8"),
        (b"\x1f\x8b....", "gzip"),
        (&marked, "UTF-16"),
        (&utf16, "no text in UTF-8"),
        (b"entity_id,n\xe4me\nu,a\n", "line 1: is not in UTF-8"),
        (&packed[..packed.len() - 4], "cut off"),
        (&damaged, "damaged"),
        (long.as_bytes(), "a quotation mark that is not closed"),
    ] {
        let refused = read_in_parts(file, 5, &request("UserCreation", "continue")).expect_err(expected);
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
}

#[test]
fn a_row_that_is_no_entity_is_told_by_its_line() {
    let file = "service,entity_type,entity_id,name\nauth,account,a,\"two\nlines\"\nauth,account,b\nbilling,account,c,x\n\
                auth,account,d@example.com,x\nauth,account,e,x\n";
    let read = read_file(file.as_bytes(), &request("UserCreation", "continue")).expect("the others go on");
    let problems: Vec<Option<&str>> = read.iter().map(|entity| entity["problem"].as_str()).collect();
    assert_eq!(problems[0], None);
    assert_eq!(problems[1], Some("line 4: has 3 columns, and the first row has 4"));
    assert!(problems[2].is_some_and(|problem| problem.starts_with("line 5: service must be one of")), "{problems:?}");
    assert!(problems[3].is_some_and(|problem| problem.contains("entity_id must be")), "{problems:?}");
    assert_eq!((problems[4], &read[4]["index"]), (None, &json!(4)));
    let rows: Vec<Option<&str>> = read.iter().map(|entity| entity["row"].as_str()).collect();
    let wrong = ["auth,account,b", "billing,account,c,x", "auth,account,d@example.com,x"].map(Some);
    assert_eq!(rows, [None, wrong[0], wrong[1], wrong[2], None], "rows that are no entity stay as they were");
    let stopped = read_file(file.as_bytes(), &request("UserCreation", "stop")).expect_err("it stops");
    assert!(stopped.starts_with("line 4: "), "{stopped}");
    let lines = "{\"entity_id\":\"a\",\"service\":\"auth\",\"entity_type\":\"user\"}\n{\"entity_id\":\n[1]\n{\"secret\": nope}\n{\"a\":1,\"a\":2}\n";
    let read = read_file(lines.as_bytes(), &request("UserCreation", "continue")).expect("the others go on");
    let problems: Vec<&str> = read.iter().skip(1).filter_map(|entity| entity["problem"].as_str()).collect();
    assert_eq!(
        problems,
        [
            "line 2: is JSON that is cut off: each object must be on one line",
            "line 3: is no JSON object",
            "line 4: is no JSON, at character 13",
            "line 5: has fields more than once: /a",
        ]
    );
    assert_eq!((&read[2]["row"], &read[3]["row"]), (&json!("[1]"), &json!("{\"secret\": nope}")));
}

#[test]
fn data_that_is_said_twice_is_told() {
    let request = request("PermissionUpdate", "continue");
    for (file, expected) in [
        ("entity_id,role,operation_data.role\nu,a,b\n", "line 2: has the member 'role' twice"),
        (
            "entity_id,operation_data,role\nu,\"{\"\"role\"\":\"\"a\"\"}\",b\n",
            "line 2: has the member 'role' twice: in operation_data",
        ),
        ("entity_id,p,p.q\nu,a,b\n", "line 2: has the member 'p' twice: by itself and in 'p.q'"),
    ] {
        let read = read_file(file.as_bytes(), &request).expect("the others go on");
        let problem = read[0]["problem"].as_str().unwrap_or_default();
        assert!(problem.starts_with(expected), "{file}: {problem}");
    }
    let read = read_file(b"entity_id,operation_data.role\nu,admin\n", &request).expect("it is good");
    assert_eq!(read[0]["operation_data"], json!({ "role": "admin" }));
}
