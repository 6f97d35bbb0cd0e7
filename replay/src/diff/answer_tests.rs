use super::*;
use proptest::prelude::*;
use serde_json::json;

fn side(status: u16, body: &str, rules: &[&str]) -> Side {
    let answered = Answered {
        status,
        headers: vec![
            ("date".to_owned(), body.len().to_string()),
            ("x-openrtb-version".to_owned(), "2.6".to_owned()),
        ],
        body: body.as_bytes().to_vec(),
    };
    Side::new(&Ok(answered), &Ignore::parse(rules).unwrap())
}

fn differences(one: &Value, two: &Value, rules: &[&str]) -> Vec<String> {
    let (one, two) = (side(200, &one.to_string(), rules), side(200, &two.to_string(), rules));
    let found = one.differences(&two);
    assert_eq!(found, two.differences(&one));
    found.into_iter().filter(|path| !path.ends_with(KIND)).collect()
}

#[test]
fn bids_in_another_order_are_equal() {
    let one = json!({"seatbid": [
        {"seat": "a", "bid": [{"impid": "1", "price": 2}, {"impid": "2", "price": 3}]},
        {"seat": "b", "bid": [{"impid": "3", "price": 1.5}]}]});
    let two = json!({"seatbid": [
        {"seat": "b", "bid": [{"impid": "3", "price": 1.5}]},
        {"seat": "a", "bid": [{"impid": "2", "price": 3.0}, {"impid": "1", "price": 2}]}]});
    assert_eq!(differences(&one, &two, &[]), Vec::<String>::new());
}

#[test]
fn only_the_root_of_a_difference_is_named() {
    let one = json!({"id": "r", "seatbid": [{"seat": "a", "bid": [{"impid": "1", "price": 2}]}]});
    let two = json!({"id": "r", "seatbid": [{"seat": "c", "bid": [{"impid": "1", "price": 2}]}]});
    assert_eq!(differences(&one, &two, &[]), ["$.seatbid[*]"]);
    let three = json!({"id": "r", "seatbid": [{"seat": "a", "bid": [{"impid": "1", "price": 3}]}]});
    assert_eq!(differences(&one, &three, &[]), ["$.seatbid[*].bid[*].price"]);
    let four = json!({"id": "r", "nbr": 2});
    assert_eq!(differences(&one, &four, &[]), ["$.nbr", "$.seatbid"]);
    assert_eq!(differences(&json!({"a-b": 1}), &json!({"a-b": 2}), &[]), ["$[\"a-b\"]"]);
}

#[test]
fn fresh_ids_are_one_difference_not_a_missing_bid() {
    let one = json!([{"id": "x1", "price": 2}, {"id": "x2", "price": 3}]);
    let two = json!([{"id": "y1", "price": 2}, {"id": "y2", "price": 3}]);
    assert_eq!(differences(&one, &two, &[]), ["$[*].id"]);
    let three = json!([{"id": "x2", "price": 3}]);
    assert_eq!(differences(&one, &three, &[]), ["$[*]"]);
}

#[test]
fn values_of_another_kind_differ_twice() {
    let found = |one: Value, two: Value| {
        let one = side(200, &json!({ "a": one }).to_string(), &[]);
        one.differences(&side(200, &json!({ "a": two }).to_string(), &[])).len()
    };
    assert_eq!(found(json!("x"), json!("y")), 1);
    assert_eq!(found(json!(1), json!(2.5)), 1);
    for (one, two) in [("1", "-1"), ("1", "0"), ("\"x\"", "\"\""), ("null", "0"), ("[]", "{}")] {
        let read = |text: &str| serde_json::from_str(text).unwrap();
        assert_eq!(found(read(one), read(two)), 2, "{one} {two}");
    }
}

#[test]
fn another_status_hides_what_is_behind_it_and_headers_count() {
    let one = side(200, r#"{"id":"r"}"#, &[]);
    let two = side(204, "", &[]);
    assert_eq!(one.differences(&two), BTreeSet::from(["status".to_owned()]));
    let mut three = one.clone();
    three.headers.insert("x-gavel-reason".to_owned(), "floor".to_owned());
    assert_eq!(one.differences(&three), BTreeSet::from(["header x-gavel-reason".to_owned()]));
    let html = side(200, "<html>", &[]);
    assert_eq!(one.differences(&html), BTreeSet::from(["body".to_owned()]));
    let timeout =
        Side::new(&Err(AskError::Timeout("127.0.0.1:1".parse().unwrap())), &Ignore::default());
    assert_eq!(timeout.show("status"), "none: timeout");
    assert_eq!(one.differences(&timeout), BTreeSet::from(["status".to_owned()]));
}

#[test]
fn what_is_ignored_is_ignored_also_where_one_side_lacks_it() {
    let one = json!({"bidid": "a", "seatbid": [{"bid": [{"impid": "1", "id": "q", "price": 2}]}]});
    let two = json!({"seatbid": [{"bid": [{"impid": "1", "id": "w", "price": 2}]}]});
    assert_eq!(differences(&one, &two, &[]), ["$.bidid", "$.seatbid[*].bid[*].id"]);
    assert_eq!(differences(&one, &two, &["$.bidid", "$..bid[*].id"]), Vec::<String>::new());
    assert_eq!(
        differences(&one, &two, &["$.bidid", "$.seatbid[*].bid[?@.price > 2].id"]),
        ["$.seatbid[*].bid[*].id"]
    );
    let three = json!({"l": [1, 2, 3, 4]});
    assert_eq!(differences(&three, &json!({"l": [1, 4]}), &["$.l[1:3]"]), ["$.l[*]"]);
    assert_eq!(
        differences(&three, &json!({"l": [1, 9, 9, 4]}), &["$.l[1:3]"]),
        Vec::<String>::new()
    );
}

#[test]
fn rules_that_say_nothing_or_hide_all_are_refused() {
    for rule in ["", "$", "$.a[", "a.b", "$.a[?]"] {
        let error = Ignore::parse(&[rule]).unwrap_err();
        assert!(error.to_string().contains("RFC 9535"), "{rule}: {error}");
    }
}

#[test]
fn values_are_shown_short() {
    let answer = side(200, r#"{"seatbid":[{"bid":[{"price":2},{"price":3}]}]}"#, &[]);
    assert_eq!(answer.show("$.seatbid[*].bid[*].price"), "2, 3");
    assert_eq!(answer.show("$.cur"), "absent");
    let long = side(200, &format!("{{\"adm\":\"{}\"}}", "µ".repeat(500)), &[]);
    assert!(long.show("$.adm").chars().count() < 130);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("(id|impid|seat|bid|x.|\\PC)", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_answer_equals_itself_and_every_difference_has_a_path_that_reads(
        one in any_json(), two in any_json()
    ) {
        let (left, right) = (side(200, &one.to_string(), &[]), side(200, &two.to_string(), &[]));
        prop_assert!(left.differences(&left).is_empty());
        prop_assert_eq!(left.differences(&right), right.differences(&left));
        for path in left.differences(&right).iter().chain(&left.paths()) {
            let path = path.trim_end_matches(KIND);
            if path.starts_with('$') {
                prop_assert!(JsonPath::parse(path).is_ok(), "{}", path);
                left.show(path);
            }
        }
    }

    #[test]
    fn any_bytes_are_an_answer(body in prop::collection::vec(any::<u8>(), 0..60)) {
        let answered = Answered { status: 200, headers: Vec::new(), body };
        let side = Side::new(&Ok(answered), &Ignore::parse(&["$..id"]).unwrap());
        side.paths();
        prop_assert!(side.differences(&side).is_empty());
    }
}
