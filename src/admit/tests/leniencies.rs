//! What is overlooked, and what it is read as.

use super::{BANNER, admit_text, request};
use crate::admit::lenient::LenientField as Field;

fn met(body: &str) -> Vec<&'static str> {
    let admitted = admit_text(body).unwrap_or_else(|refusal| panic!("{body}: {refusal:?}"));
    admitted.leniencies.iter().map(Field::label).collect()
}

#[test]
fn a_request_by_the_book_meets_none() {
    let body = request(
        r#""at":1,"tmax":100,"test":0,"cur":["USD"],"bcat":[],"device":{"ua":"","lmt":0,"dnt":1,"devicetype":4},"user":{"id":"u"},"regs":{"coppa":0,"gdpr":1}"#,
        r#""banner":{"w":300,"h":250,"battr":[1]},"instl":0,"secure":1,"bidfloor":0.5,"exp":300"#,
    );
    assert!(met(&body).is_empty());
}

#[test]
fn each_leniency_is_counted_by_its_field() {
    for (root, imp, expected) in [
        (r#""at":"1""#, "", "at"),
        (r#""at":1.0"#, "", "at"),
        (r#""at":1e0"#, "", "at"),
        (r#""at":null"#, "", "at"),
        (r#""at":"""#, "", "at"),
        (r#""tmax":"100.0""#, "", "tmax"),
        (r#""tmax":-1"#, "", "tmax"),
        (r#""test":true"#, "", "test"),
        (r#""test":"1""#, "", "test"),
        (r#""test":"true""#, "", "test"),
        (r#""test":1.0"#, "", "test"),
        (r#""cur":"USD""#, "", "cur"),
        (r#""cur":null"#, "", "cur"),
        (r#""bcat":"IAB1""#, "", "bcat"),
        (r#""bcat":[null]"#, "", "bcat"),
        (r#""bcat":[1]"#, "", "bcat"),
        (r#""wseat":null"#, "", "wseat"),
        (r#""app":null"#, "", "app"),
        (r#""device":null"#, "", "device"),
        (r#""device":{"lmt":"1"}"#, "", "device.lmt"),
        (r#""device":{"lmt":2}"#, "", "device.lmt"),
        (r#""device":{"make":5}"#, "", "device.make"),
        (r#""device":{"devicetype":"4"}"#, "", "device.devicetype"),
        (r#""device":{"devicetype":300}"#, "", "device.devicetype"),
        (r#""device":{"devicetype":-1}"#, "", "device.devicetype"),
        (r#""device":{"connectiontype":1000}"#, "", "device.connectiontype"),
        (r#""device":{"geo":{"type":99999999999}}"#, "", "geo.type"),
        (r#""cattax":0"#, "", "cattax"),
        (r#""cattax":-1"#, "", "cattax"),
        (r#""cattax":65536"#, "", "cattax"),
        (r#""device":{"geo":null}"#, "", "geo"),
        (r#""user":{"id":12345}"#, "", "user.id"),
        (r#""user":{"ext":null}"#, "", "user.ext"),
        (r#""regs":{"gdpr":"1"}"#, "", "regs.gdpr"),
        (r#""regs":{"ext":{"gdpr":true}}"#, "", "regs.gdpr"),
        (r#""source":{"schain":null}"#, "", "source.schain"),
        ("", r#""banner":{"w":300.0,"h":250}"#, "banner.size"),
        ("", r#""banner":{"w":"300","h":"250"}"#, "banner.size"),
        ("", r#""banner":{"w":300,"h":250,"battr":1}"#, "banner.battr"),
        ("", r#""banner":{"w":300,"h":250},"instl":false"#, "imp.instl"),
        ("", r#""banner":{"w":300,"h":250},"bidfloor":null"#, "imp.bidfloor"),
        ("", r#""banner":{"w":300,"h":250},"qty":null"#, "imp.qty"),
        ("", r#""banner":{"w":300,"h":250},"pmp":null"#, "pmp"),
        ("", r#""banner":{"w":300,"h":250},"pmp":{"deals":[{"id":77}]}"#, "deal.id"),
        ("", r#""native":{"request":{"assets":[{}]}}"#, "native.request"),
        ("", r#""video":{"mimes":"video/mp4"}"#, "stream.mimes"),
        ("", r#""video":{"mimes":["video/mp4"],"maxextended":1e12}"#, "stream.maxextended"),
    ] {
        assert_eq!(met(&request(root, imp)), [expected], "{root} {imp}");
    }
}

#[test]
fn lenient_values_are_read_as_what_they_mean() {
    let body = request(
        r#""test":"1","at":"1","device":{"lmt":true,"dnt":"0","devicetype":4.0},"user":{"id":12345},"regs":{"gdpr":"1","coppa":true}"#,
        r#""banner":{"w":"300","h":250.0},"secure":true,"exp":"30""#,
    );
    let request = admit_text(&body).unwrap().request;
    let view = &request.view;
    assert!(view.is_test && view.device.is_limited && !view.device.is_do_not_track);
    assert_eq!(view.device.devicetype, Some(4));
    assert_eq!(request.text(view.user.id), "12345");
    assert_eq!((view.regs.gdpr, view.regs.is_coppa), (Some(true), true));
    let imp = &view.imps[0];
    assert_eq!((imp.is_secure, imp.exp), (Some(true), Some(30)));
    let size = request.sizes(imp.banner.sizes)[0];
    assert_eq!((size.w, size.h), (300, 250));
}

#[test]
fn ids_that_are_numbers_are_read_as_they_are_written() {
    let body = format!(r#"{{"id": 1.50 ,"site":{{"id":-7}},"imp":[{{"id":10,{BANNER}}}]}}"#);
    let request = admit_text(&body).unwrap().request;
    assert_eq!(request.text(request.view.id), "1.50");
    assert_eq!(request.text(request.view.inventory.id), "-7");
    assert_eq!(request.text(request.view.imps[0].id), "10");
}

#[test]
fn what_is_no_leniency_is_a_wrong_type() {
    for (root, imp) in [
        (r#""at":1.5"#, ""),
        (r#""at":" 1""#, ""),
        (r#""at":"0x1""#, ""),
        (r#""at":"inf""#, ""),
        (r#""at":true"#, ""),
        (r#""test":"yes""#, ""),
        (r#""device":{"make":true}"#, ""),
        (r#""device":{"make":["a"]}"#, ""),
        (r#""bcat":{}"#, ""),
        ("", r#""banner":{"w":300,"h":250},"instl":{}"#),
    ] {
        let refusal = admit_text(&request(root, imp)).unwrap_err();
        assert_eq!(refusal.label(), "wrong_type", "{root} {imp}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_and_counted_and_offsets_hold() {
    let body = request("", BANNER);
    let marked = format!("\u{feff}{body}");
    assert_eq!(met(&marked), ["byte_order_mark"]);
    let (plain, marked) = (admit_text(&body).unwrap(), admit_text(&marked).unwrap());
    assert_eq!(plain.request.bytes(), marked.request.bytes());
    let id = |request: &crate::request::ValidRequest| {
        let imp = request.view.imps.first().unwrap().id;
        request.text(imp).to_owned()
    };
    assert_eq!(id(&plain.request), id(&marked.request));
}
