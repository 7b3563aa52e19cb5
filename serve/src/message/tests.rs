use super::*;

fn json(text: &str) -> Result<Request<'_>, Reject> {
    decode(Some(text.as_bytes()), InputFormat::Json, None, &Limits::default())
}

fn csv(text: &str) -> Result<Request<'_>, Reject> {
    decode(Some(text.as_bytes()), InputFormat::Csv, None, &Limits::default())
}

fn int(id: i64) -> WireId<'static> {
    WireId::Int(id)
}

fn text(id: &str) -> WireId<'_> {
    WireId::Str(Cow::Borrowed(id))
}

#[test]
fn requests_are_read_as_documented() {
    let score = json(r#"{"type":"score","id":"a","user":7,"items":[1,"x\n"]}"#).unwrap();
    let items = vec![int(1), text("x\n")];
    assert_eq!(score, Request { id: Some(text("a")), ask: Ask::Score { user: int(7), items } });
    let recommend = json(r#"{"v":1,"type":"recommend","user":"u","k":10,"without":[3],"include_seen":true}"#);
    let ask =
        Ask::Recommend { user: text("u"), k: 10, only: None, without: vec![int(3)], include_seen: true };
    assert_eq!(recommend.unwrap(), Request { id: None, ask });
    let similar = json(r#"{"type":"similar","item":5,"k":3,"id":-1}"#).unwrap();
    assert_eq!(similar, Request { id: Some(int(-1)), ask: Ask::Similar { item: int(5), k: 3 } });
    let event = json(r#"{"item":2,"type":"event","user":1,"value":4.5}"#).unwrap();
    assert_eq!(event.ask, Ask::Event { user: int(1), item: int(2), value: 4.5 });
    let event = json(r#"{"type":"event","user":1,"item":2}"#).unwrap();
    assert_eq!(event.ask, Ask::Event { user: int(1), item: int(2), value: 1.0 });
    for line in ["7,x", " 7 , \"x\"\r\n", "\"7\",x\n"] {
        let ask = Ask::Score { user: text("7"), items: vec![text("x")] };
        assert_eq!(csv(line).unwrap(), Request { id: None, ask }, "{line:?}");
    }
}

#[test]
fn http_may_leave_the_type_to_the_path() {
    let body = br#"{"item":5,"k":3}"#;
    let read = |kind| decode(Some(body), InputFormat::Json, kind, &Limits::default());
    assert_eq!(read(Some(Kind::Similar)).unwrap().kind(), Kind::Similar);
    assert!(read(None).unwrap_err().text.starts_with("no type"));
    let other = br#"{"type":"score","user":5,"items":[3]}"#;
    let error = decode(Some(other), InputFormat::Json, Some(Kind::Similar), &Limits::default()).unwrap_err();
    assert_eq!(error.text, r#"type "score"; expected "similar" here"#);
}

#[test]
fn what_is_no_request_is_refused_with_its_reason() {
    let deep = "[".repeat(10_000);
    let cases = [
        ("7", "not-a-request"),
        ("{", "not-json"),
        ("nonsense", "not-json"),
        ("", "empty"),
        (deep.as_str(), "not-json"),
        (r#"{"type":"score","user":7}"#, "not-a-request"),
        (r#"{"type":"score","user":7,"items":[1.5]}"#, "not-a-request"),
        (r#"{"type":"score","user":null,"items":[1]}"#, "not-a-request"),
        (r#"{"type":"score","user":{"a":1},"items":[1]}"#, "not-a-request"),
        (r#"{"type":"score","user":99999999999999999999,"items":[1]}"#, "not-a-request"),
        (r#"{"type":"score","user":7,"items":[]}"#, "no-items"),
        (r#"{"type":"score","user":7,"items":[1],"k":3}"#, "not-a-request"),
        (r#"{"type":"score","user":7,"user":8,"items":[1]}"#, "not-a-request"),
        (r#"{"type":"recommend","user":7,"k":-1}"#, "not-a-request"),
        (r#"{"type":"recommend","user":7,"k":0}"#, "bad-k"),
        (r#"{"type":"recommend","user":7,"k":18446744073709551615}"#, "bad-k"),
        (r#"{"type":"similar","item":5,"k":3,"colour":"red"}"#, "not-a-request"),
        (r#"{"type":"event","user":7,"item":1,"value":1e39}"#, "not-finite"),
        (r#"{"type":"sing","user":7}"#, "not-a-request"),
        (r#"{"v":2,"type":"similar","item":5,"k":3}"#, "not-a-request"),
    ];
    for (message, reason) in cases {
        let reject = json(message).unwrap_err();
        assert_eq!(reject.reason, reason, "{message:.60}: {reject}");
    }
    let ask = Ask::Score { user: text("a,\"b\""), items: vec![text("x\ny")] };
    assert_eq!(csv("\"a,\"\"b\"\"\",\"x\ny\"").unwrap(), Request { id: None, ask });
    for message in ["7", "7,8,9", ",8", "7,", "\"\",8", "7,8\n9,10", "\"7,8", "\"7\"x,8"] {
        assert_eq!(csv(message).unwrap_err().reason, "not-csv", "{message}");
    }
    let decode = |bytes| decode(bytes, InputFormat::Json, None, &Limits::default()).unwrap_err().reason;
    assert_eq!(decode(None), "empty");
    assert_eq!(decode(Some(&[b'"', 0xff, b'"'])), "not-utf8");
    assert_eq!(decode(Some(&vec![b' '; 10 << 20])), "too-large");
}

#[test]
fn a_million_items_are_too_many() {
    let items = vec!["1"; 1_000_000].join(",");
    let message = format!(r#"{{"type":"score","user":7,"items":[{items}]}}"#);
    let limits = Limits { message_bytes: usize::MAX, ..Limits::default() };
    let reject = decode(Some(message.as_bytes()), InputFormat::Json, None, &limits).unwrap_err();
    assert_eq!(
        (reject.reason, reject.text.as_str()),
        ("too-many-items", "1000000 items; expected at most 10000")
    );
}
