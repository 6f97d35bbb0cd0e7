//! Every public request: what becomes of it, and whether every recorded span is exact.

use super::{Admitted, Scratch, admit, partner, rates};
use crate::admit::limits::Limits;
use crate::arrival::Body;
use crate::json;
use crate::json::value::Kind;
use crate::request::{Element, Object, ValidRequest};
use serde_json::Value as Model;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the full-object requests have for an `ipv6`.
const NO_ADDRESS: &str = "123.145.167.1.3.2";

const FILES: [&str; 2] = ["requests-rtb4free.jsonl", "requests-iab-converter.jsonl"];

/// The source and the request's own bytes of a line.
fn split(line: &str) -> (String, String) {
    let (mut scratch, mut text) = (json::scratch::Scratch::new(1024), Vec::new());
    let document = scratch.read(line.as_bytes(), &mut text).unwrap();
    let Kind::Object(members) = document.root().kind() else { panic!("{line}") };
    let values: Vec<_> = members.map(|entry| entry.value).collect();
    let request = values[1].span();
    (values[0].written().to_owned(), text_of(line, request).to_owned())
}

fn text_of(whole: &str, span: Element) -> &str {
    whole.get(span.at as usize..span.end as usize).unwrap()
}

/// The corpus lies beside the repository; `None`, told loudly, where it does not.
#[expect(clippy::disallowed_methods, reason = "a test finds its data by the environment")]
fn corpus() -> Option<Vec<(String, String)>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = std::env::var("GAVEL_CORPUS").map_or(beside, PathBuf::from);
    let mut requests = Vec::new();
    for file in FILES {
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
            println!("SKIPPED: no public corpus at {}", folder.display());
            return None;
        };
        requests.extend(text.lines().map(split));
    }
    // Most of the full-object requests have one and the same string that is no address: they are
    // refused for it. Each is here a second time with an address in its place.
    for at in 0..requests.len() {
        let (src, text) = &requests[at];
        if text.contains(NO_ADDRESS) {
            let mended = text.replace(NO_ADDRESS, "2001:db8::1.2.3.4");
            requests.push((format!("{src} (mended)"), mended));
        }
    }
    Some(requests)
}

fn admit_one(
    scratch: &mut Scratch,
    text: &str,
) -> Result<Admitted, crate::negatives::refusal::Refusal> {
    let body = Body(bytes::Bytes::copy_from_slice(text.as_bytes()));
    admit(body, &partner(), &Limits::default(), &rates(), scratch)
}

/// Checks the members of an object against what `serde_json` reads from the object's bytes.
fn check_object(request: &ValidRequest, object: &Object) {
    let bytes = request.bytes();
    let whole = &bytes[object.open as usize..=object.close as usize];
    let Model::Object(model) = serde_json::from_slice(whole).unwrap() else { panic!() };
    let members = request.members(object);
    assert_eq!(members.len(), model.len());
    for member in members {
        let rest = &bytes[member.key_at as usize..];
        let mut keys = serde_json::Deserializer::from_slice(rest).into_iter::<String>();
        let name = keys.next().unwrap().unwrap();
        assert_eq!(json::key::of(name.as_bytes()), member.key, "{name}");
        let behind = &rest[keys.byte_offset()..(member.value_at - member.key_at) as usize];
        assert_eq!(behind.trim_ascii(), b":");
        let value = request.value(member);
        assert_eq!(value.trim_ascii(), value);
        assert_eq!(serde_json::from_slice::<Model>(value).unwrap(), model[&name], "{name}");
    }
}

/// Checks every span of a view.
pub fn check_spans(request: &ValidRequest) {
    let objects = &request.view.objects;
    check_object(request, &objects.root);
    let optional = [
        objects.device,
        objects.device_ext,
        objects.device_geo,
        objects.user,
        objects.user_ext,
        objects.user_geo,
        objects.regs,
        objects.regs_ext,
        objects.source,
        objects.source_ext,
        objects.schain,
    ];
    optional.iter().flatten().for_each(|object| check_object(request, object));
    let bytes = request.bytes();
    let model: Model = serde_json::from_slice(bytes).unwrap();
    let elements = model["imp"].as_array().unwrap();
    assert_eq!(elements.len(), request.view.imp_elements.len());
    for (element, expected) in request.view.imp_elements.iter().zip(elements) {
        let one = &bytes[element.at as usize..element.end as usize];
        assert_eq!(&serde_json::from_slice::<Model>(one).unwrap(), expected);
    }
    for imp in &request.view.imps {
        check_object(request, &imp.object);
        imp.pmp.iter().for_each(|pmp| check_object(request, pmp));
        let read = request.text(imp.id);
        match &elements[imp.position as usize]["id"] {
            Model::String(id) => assert_eq!(id, read),
            // A number is read as it is written.
            id => assert_eq!(id, &serde_json::from_str::<Model>(read).unwrap()),
        }
    }
    if let Some((nodes, count)) = objects.schain_nodes {
        let nodes = &bytes[nodes.at as usize..nodes.end as usize];
        let nodes: Vec<Model> = serde_json::from_slice(nodes).unwrap();
        assert_eq!(nodes.len(), count as usize);
    }
}

#[test]
fn spans_of_every_public_request_are_exact_and_its_bytes_untouched() {
    let mut scratch = Scratch::new(&Limits::default());
    for (src, text) in corpus().into_iter().flatten() {
        let Ok(admitted) = admit_one(&mut scratch, &text) else { continue };
        assert_eq!(admitted.request.bytes(), text.as_bytes(), "{src}");
        check_spans(&admitted.request);
        scratch.recycle(admitted.request);
    }
}

#[test]
fn what_becomes_of_the_public_requests() {
    let mut scratch = Scratch::new(&Limits::default());
    let mut outcomes: BTreeMap<&str, (u32, String)> = BTreeMap::new();
    let mut imps: BTreeMap<&str, (u32, String)> = BTreeMap::new();
    let mut lenient: BTreeMap<&str, u32> = BTreeMap::new();
    for (src, text) in corpus().into_iter().flatten() {
        let label = match admit_one(&mut scratch, &text) {
            Ok(admitted) => {
                for (position, refusal) in &admitted.refused_imps {
                    let entry = imps.entry(refusal.label()).or_default();
                    entry.0 += 1;
                    entry.1 = format!("{src} imp {position}");
                }
                for field in admitted.leniencies.iter() {
                    *lenient.entry(field.label()).or_default() += 1;
                }
                "admitted"
            }
            Err(refusal) => refusal.label(),
        };
        let entry = outcomes.entry(label).or_default();
        entry.0 += 1;
        entry.1 = src;
    }
    println!("requests: {outcomes:#?}\nrefused imps: {imps:#?}\nleniencies: {lenient:#?}");
    // A request that was admitted once is never refused without somebody noticing.
    assert!(outcomes.is_empty() || outcomes["admitted"].0 >= 1, "{outcomes:?}");
}
