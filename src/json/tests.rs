//! Documents of every shape against `serde_json`, span by span.
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use super::scratch::{Document, Scratch};
use super::unique::Unique;
use super::value::{Kind, Value};
use super::{Fault, Number};
use crate::request::{Element, Key};
use proptest::prelude::*;
use serde_json::Value as Model;

fn bytes(body: &[u8], span: Element) -> &[u8] {
    &body[span.at as usize..span.end as usize]
}

/// Checks a value and all that is in it against what `serde_json` reads, and that its span is
/// exactly what `serde_json` reads to the same.
fn check(body: &[u8], text: &[u8], value: Value<'_>, model: &Model) {
    let span = bytes(body, value.span());
    assert_eq!(span.trim_ascii(), span, "white space belongs to no value");
    assert_eq!(&serde_json::from_slice::<Model>(span).unwrap(), model);
    match (value.kind(), model) {
        (Kind::Null, Model::Null) => assert!(value.is_null()),
        (Kind::Bool(flag), Model::Bool(expected)) => assert_eq!(flag, *expected),
        (Kind::Number(number), Model::Number(expected)) => match number {
            Number::Unsigned(number) => assert_eq!(Some(number), expected.as_u64()),
            // serde_json reads -0 as a float
            Number::Signed(0) => assert_eq!(expected.as_i64(), None),
            Number::Signed(number) => assert_eq!(Some(number), expected.as_i64()),
            // serde_json is one unit in the last place off for some; the standard library is not
            Number::Float(number) => {
                assert_eq!(Ok(number), std::str::from_utf8(span).unwrap().parse());
            }
        },
        (Kind::Text(read), Model::String(expected)) => {
            assert_eq!(read, expected);
            let place = value.text();
            assert_eq!(&text[place.at as usize..][..place.len as usize], expected.as_bytes());
        }
        (Kind::Array(elements), Model::Array(expected)) => {
            assert_eq!(elements.len(), expected.len());
            elements.zip(expected).for_each(|(one, model)| check(body, text, one, model));
        }
        (Kind::Object(members), Model::Object(expected)) => {
            assert_eq!(body[members.open() as usize], b'{');
            assert_eq!(body[members.close() as usize], b'}');
            assert_eq!(members.len(), expected.len());
            for entry in members {
                let member = entry.member();
                let key = Element { at: member.key_at, end: member.value_at };
                let (name, rest) = bytes(body, key)
                    .split_at(bytes(body, key).iter().rposition(|byte| *byte == b':').unwrap());
                assert_eq!(rest.trim_ascii(), b":");
                assert_eq!(serde_json::from_slice::<String>(name).unwrap(), entry.name);
                check(body, text, entry.value, &expected[entry.name]);
            }
        }
        (kind, model) => panic!("{kind:?} is not {model:?}"),
    }
}

fn read(body: &[u8]) -> Result<(), Fault> {
    let mut text = Vec::new();
    Scratch::new(64).read(body, &mut text).map(drop)
}

fn with_root<R>(body: &str, look: impl FnOnce(Value<'_>) -> R) -> R {
    let (mut scratch, mut text) = (Scratch::new(64), Vec::new());
    let document: Document<'_> = scratch.read(body.as_bytes(), &mut text).unwrap();
    look(document.root())
}

/// Reads with ours and with `serde_json` and compares everything.
fn differ(scratch: &mut Scratch, body: &[u8]) {
    let model: Model = serde_json::from_slice(body).unwrap();
    let mut text = Vec::new();
    let document = scratch.read(body, &mut text).unwrap();
    // The document holds `text`: what is compared with it is read again into another.
    let mut again = Vec::new();
    Scratch::new(128).read(body, &mut again).map(drop).unwrap();
    check(body, &again, document.root(), &model);
}

#[test]
fn spans_are_exact_whatever_stands_around_them() {
    let mut scratch = Scratch::new(64);
    for body in [
        "{}",
        " [ ] ",
        "1",
        " \"a\" ",
        "-0",
        "\t{ \"a\" : [ 1 , -2.5e3 , \"x y\" , true ,false, null , { } ] , \"b\":\"\" }\n",
        r#"{"a\u0062\n":"\ud83d\ude00\\","c":["\"]}",{"d":{"e":[[],[[]]]}}],"f":"é","g":1 }"#,
        r#"{"big":18446744073709551615,"small":-9223372036854775808,"f":0.1,"e":1E+2}"#,
        r#"[[[{"a":[{"b":1},{"c":[2]}]}]],{"x":{"y":{"z":"}"}}},"\u0000"]"#,
    ] {
        differ(&mut scratch, body.as_bytes());
    }
}

#[test]
fn what_is_no_document_is_refused() {
    for body in [
        &b""[..],
        b" ",
        b"\xef\xbb\xbf{}",
        b"{}x",
        b"{} {}",
        b"{\"a\":1,}",
        b"{\"a\"}",
        b"{'a':1}",
        b"[1,]",
        b"[01]",
        b"[1.]",
        b"[.5]",
        b"[+1]",
        b"[1e400]",
        b"[NaN]",
        b"[truex]",
        b"[\"\\ud800\"]",
        b"[\"\\udc00\\ud800\"]",
        b"[\"\\x\"]",
        b"[\"\\u00g0\"]",
        b"[\"a\nb\"]",
        b"[\"\xc0\xaf\"]",
        b"[\"\xed\xa0\x80\"]",
        b"[\"\xff\"]",
        b"[\"abc",
        b"{\"a\":[}",
        b"\x00",
        b"{}\x00",
    ] {
        assert_eq!(read(body), Err(Fault::NotJson), "{:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn depth_is_counted_in_open_brackets() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, expected) in
        [(63, Ok(())), (64, Ok(())), (65, Err(Fault::TooDeep)), (1_000_000, Err(Fault::TooDeep))]
    {
        assert_eq!(read(nested(depth).as_bytes()), expected, "{depth}");
        let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_eq!(read(objects.as_bytes()), expected, "{depth}");
    }
}

#[test]
fn integers_beyond_64_bits_are_floats() {
    for (body, expected) in [
        ("18446744073709551615", Number::Unsigned(u64::MAX)),
        ("18446744073709551616", Number::Float(18_446_744_073_709_551_616.0)),
        ("-9223372036854775808", Number::Signed(i64::MIN)),
        ("-9223372036854775809", Number::Float(-9_223_372_036_854_775_808.0)),
        (
            "123456789012345678901234567890",
            Number::Float(123_456_789_012_345_678_901_234_567_890.0),
        ),
        ("300.0", Number::Float(300.0)),
    ] {
        with_root(body, |root| match root.kind() {
            Kind::Number(number) => assert_eq!(number, expected, "{body}"),
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn a_key_that_comes_twice_is_found() {
    let is_unique = |body: &str| {
        with_root(body, |root| {
            let Kind::Object(mut members) = root.kind() else { panic!("{body}") };
            let mut unique = Unique::default();
            members.all(|entry| unique.is_new(&entry))
        })
    };
    let many = |names: usize, last: &str| {
        let list: Vec<_> = (0..names).map(|name| format!("\"k{name}\":1")).collect();
        format!("{{{},{last}}}", list.join(","))
    };
    for (body, expected) in [
        (r#"{"id":1,"imp":2,"x":3,"X":4}"#.to_owned(), true),
        (r#"{"id":1,"x":3,"id":4}"#.to_owned(), false),
        (r#"{"id":1,"x":3,"x":4}"#.to_owned(), false),
        (r#"{"gdpr":1,"g\u0064pr":0}"#.to_owned(), false),
        (r#"{"x":1,"\u0078":0}"#.to_owned(), false),
        (r#"{"":1,"":0}"#.to_owned(), false),
        (many(15, "\"k0\":1"), false),
        (many(16, "\"k15\":1"), false),
        (many(17, "\"k16\":1"), false),
        (many(40, "\"k3\":1"), false),
        (many(40, "\"k40\":1"), true),
    ] {
        assert_eq!(is_unique(&body), expected, "{body}");
    }
}

#[test]
fn keys_are_known_by_their_unescaped_names() {
    with_root(r#"{"us\u005fprivacy":1,"idx":2}"#, |root| {
        let Kind::Object(members) = root.kind() else { panic!() };
        let keys: Vec<_> = members.map(|entry| entry.key).collect();
        assert_eq!(keys, [Key::UsPrivacy, Key::Other]);
    });
}

#[test]
fn a_scratch_survives_what_it_could_not_read() {
    let mut scratch = Scratch::new(64);
    let huge = format!("[{}1]", "1,".repeat(200_000));
    for body in [&b"{\"a\":"[..], b"[1,2,\xff]", huge.as_bytes(), b"[[[["] {
        let _ = scratch.read(body, &mut Vec::new()).map(drop);
        differ(&mut scratch, br#"{"a":[1,2,{"b":"c"}]}"#);
    }
}

/// Any JSON text, with white space of any kind between the tokens.
fn json_text() -> impl Strategy<Value = String> {
    let space = "[ \t\n\r]{0,2}";
    let text = prop_oneof![
        any::<String>().prop_map(|text| Model::String(text).to_string()),
        "[a-z/]{0,40}".prop_map(|text| format!("\"{text}\\u0041\\/\"")),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (-1e9..1e9_f64).prop_map(|number| format!("{number:e}")),
        text.clone(),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let spaced = (space, inner, space).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let member = ("[a-z_]{1,9}", space, spaced.clone());
        prop_oneof![
            prop::collection::vec(spaced, 0..6).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|list| {
                let list: Vec<_> = (0..)
                    .zip(list)
                    .map(|(at, (name, space, value))| format!("\"{name}{at}\"{space}:{value}"))
                    .collect();
                format!("{{{}}}", list.join(","))
            }),
        ]
    })
}

const PIECES: &[&str] = &[
    "\"", "\"", "\\", "\\\"", "\\\\", "\\n", "\\u0041", "\\ud83d", "\\ude00", "a", "é", ",", ",",
    ":", "{", "}", "[", "]", " ", "\n", "1", "0", "-", ".", "e", "true", "null", "false", "\"a\"",
    "\"a\":", "\"b\":1", "\u{7f}",
];

proptest! {
    #[test]
    fn every_document_reads_as_serde_json_reads_it(body in json_text()) {
        differ(&mut Scratch::new(64), body.as_bytes());
    }

    /// What no document has: quotes, escapes and scalars that touch.
    #[test]
    fn pieces_of_documents_are_read_as_serde_json_reads_them(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..16),
        in_list in any::<bool>(),
    ) {
        let mut body = pieces.concat();
        if in_list {
            body = format!("[{body}]");
        }
        let ours = read(body.as_bytes());
        let theirs = serde_json::from_str::<Model>(&body);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}", body);
        if theirs.is_ok() {
            differ(&mut Scratch::new(64), body.as_bytes());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&body);
    }

    #[test]
    fn broken_documents_are_read_or_refused(
        body in json_text(),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = body.into_bytes();
        let at = cut.index(body.len());
        body[at] = byte;
        let ours = read(&body);
        let theirs = serde_json::from_slice::<Model>(&body);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", String::from_utf8_lossy(&body));
        let _ = read(&body[..at]);
    }
}
