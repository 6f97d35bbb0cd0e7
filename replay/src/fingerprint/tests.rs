//! What passes the gate and what does not, with generated traffic as the recording.

use super::gate::{Axis, AxisFault, GateLimits, floor, gate};
use super::summary::Summary;
use super::{Fingerprint, FingerprintSettings};
use crate::generate::{GenerateSettings, Generator};
use crate::inspect::{End, Exchange, Inspect};
use crate::random::Random;
use gavel::capture::Record;
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

const COUNT: u64 = 3_000;

/// Requests are made as they are asked for, so that a test holds none.
fn body(seed: u64, number: u64) -> Vec<u8> {
    let mut body = Vec::new();
    let settings = GenerateSettings { seed, ..GenerateSettings::default() };
    Generator::new(settings).write(number, &mut body);
    body
}

fn taken(bodies: impl Iterator<Item = Vec<u8>>, settings: FingerprintSettings) -> Summary {
    let mut fingerprint = Fingerprint::new(settings);
    for (number, body) in bodies.enumerate() {
        let at = Duration::from_micros(100) * u32::try_from(number).unwrap();
        fingerprint.observe(at, "p", "/openrtb2/p?key=x", &body);
    }
    fingerprint.summary()
}

static RECORDING: LazyLock<Summary> = LazyLock::new(measured);

fn measured() -> Summary {
    taken((0..COUNT).map(|number| body(1, number)), FingerprintSettings::default())
}

fn recording() -> &'static Summary {
    &RECORDING
}

/// What is sent, knowing the length of the recording.
fn sent(bodies: impl Iterator<Item = Vec<u8>>) -> Summary {
    let also_at = vec![COUNT];
    taken(bodies, FingerprintSettings { also_at, ..FingerprintSettings::default() })
}

fn judge(sent: &Summary) -> Vec<AxisFault> {
    gate(recording(), sent, &GateLimits::default())
}

fn axes(faults: &[AxisFault]) -> Vec<Axis> {
    faults.iter().map(|fault| fault.axis).collect()
}

fn told(faults: &[AxisFault]) -> String {
    faults.iter().map(AxisFault::to_string).collect::<Vec<_>>().join("\n")
}

/// The request with another id: what a template tool sends.
fn with_fresh_id(body: &[u8], number: u64) -> Vec<u8> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let (head, rest) = text.split_once(r#""id":""#).unwrap();
    let (_, rest) = rest.split_once('"').unwrap();
    format!(r#"{head}"id":"fresh-{number}"{rest}"#).into_bytes()
}

#[test]
fn a_recording_played_once_passes_with_fresh_ids_too() {
    let same = sent((0..COUNT).map(|number| body(1, number)));
    assert_eq!(told(&judge(&same)), "");
    let fresh = sent((0..COUNT).map(|number| with_fresh_id(&body(1, number), number)));
    assert_eq!(told(&judge(&fresh)), "");
    let end = recording().end().unwrap().clone();
    println!("{end:#?}");
    assert!(end.squeezed.unwrap() < 12.0 && end.effective_combinations > 1_000.0, "{end:?}");
    assert!((Summary::times_each(&end) - 1.0).abs() < 0.03, "{end:?}");
}

#[test]
fn one_request_repeated_is_refused() {
    let one = sent((0..COUNT).map(|_| body(1, 7)));
    let faults = judge(&one);
    println!("{}", told(&faults));
    let found = axes(&faults);
    for axis in [
        Axis::EffectiveCombinations,
        Axis::TopCombination,
        Axis::TopBody,
        Axis::Squeezed,
        Axis::BodyHitRate,
        Axis::Agents,
        Axis::Loops,
    ] {
        assert!(found.contains(&axis), "{axis:?} of {found:?}");
    }
    assert!(told(&faults).contains("the same body again and again"));
}

#[test]
fn ten_in_a_round_are_refused() {
    let ten = sent((0..COUNT).map(|number| body(1, number % 10)));
    let faults = judge(&ten);
    println!("{}", told(&faults));
    let found = axes(&faults);
    for axis in [Axis::EffectiveCombinations, Axis::TopBody, Axis::Squeezed, Axis::Loops] {
        assert!(found.contains(&axis), "{axis:?} of {found:?}");
    }
    assert!(told(&faults).contains("come again after 10 requests"));
}

#[test]
fn a_part_of_the_recording_in_a_loop_is_refused() {
    let looped = sent((0..COUNT).map(|number| body(1, number % 300)));
    let faults = judge(&looped);
    println!("{}", told(&faults));
    let found = axes(&faults);
    for axis in [Axis::Squeezed, Axis::BodyHitRate, Axis::Loops, Axis::EffectiveCombinations] {
        assert!(found.contains(&axis), "{axis:?} of {found:?}");
    }
    let looped = faults.iter().find(|fault| fault.axis == Axis::Loops).unwrap();
    assert_eq!(looped.loop_length, Some(300));
}

#[test]
fn a_whole_recording_in_a_loop_is_refused_for_the_loops_alone_and_may_be_allowed() {
    let thrice = sent((0..3 * COUNT).map(|number| with_fresh_id(&body(1, number % COUNT), number)));
    let faults = judge(&thrice);
    println!("{}", told(&faults));
    assert_eq!(axes(&faults), [Axis::Loops]);
    let allowed = GateLimits { loops_max: 3.25, ..GateLimits::default() };
    assert_eq!(told(&gate(recording(), &thrice, &allowed)), "");
}

#[test]
fn a_template_with_fresh_ids_is_refused() {
    let template = body(1, 7);
    let fresh = sent((0..COUNT).map(|number| with_fresh_id(&template, number)));
    let found = axes(&judge(&fresh));
    for axis in [Axis::EffectiveCombinations, Axis::TopCombination, Axis::Squeezed] {
        assert!(found.contains(&axis), "{axis:?} of {found:?}");
    }
    // an address of its own for each makes the bodies distinct, and nothing better
    let addressed = sent((0..COUNT).map(|number| {
        let [.., high, low] = number.to_be_bytes();
        let address = format!(r#""ip":"198.18.{high}.{low}""#);
        let text = String::from_utf8(with_fresh_id(&template, number)).unwrap();
        let (head, rest) = text.split_once(r#""ip":""#).unwrap();
        let (_, rest) = rest.split_once('"').unwrap();
        format!("{head}{address}{rest}").into_bytes()
    }));
    let faults = judge(&addressed);
    println!("{}", told(&faults));
    let found = axes(&faults);
    for axis in [Axis::EffectiveCombinations, Axis::TopCombination, Axis::Squeezed] {
        assert!(found.contains(&axis), "{axis:?} of {found:?}");
    }
    assert!(!found.contains(&Axis::TopBody), "{found:?}");
}

#[test]
fn a_run_that_gets_dull_after_the_recording_is_refused() {
    let dull = sent((0..COUNT).chain((0..2 * COUNT).map(|_| 7)).map(|number| body(1, number)));
    let faults = judge(&dull);
    println!("{}", told(&faults));
    let found = axes(&faults);
    assert!(found.contains(&Axis::TopBody) && found.contains(&Axis::Loops), "{found:?}");
}

#[test]
fn every_second_of_a_recording_passes_and_so_does_its_beginning() {
    let half = sent((0..COUNT).step_by(2).map(|number| body(1, number)));
    assert_eq!(told(&judge(&half)), "");
    let beginning = sent((0..500).map(|number| body(1, number)));
    assert_eq!(told(&judge(&beginning)), "");
    let other = sent((0..COUNT).map(|number| body(2, number)));
    assert_eq!(told(&judge(&other)), "", "other requests of the same traffic");
}

#[test]
fn a_recording_that_is_one_request_lets_nothing_pass() {
    let one = || (0..COUNT).map(|_| body(1, 7));
    let (recorded, one) = (taken(one(), FingerprintSettings::default()), sent(one()));
    let limits = GateLimits::default();
    let faults = gate(&recorded, &one, &limits);
    println!("{}", told(&faults));
    let expected = [
        Axis::EffectiveCombinations,
        Axis::Bodies,
        Axis::Agents,
        Axis::TopCombination,
        Axis::TopBody,
        Axis::Squeezed,
    ];
    assert_eq!(axes(&faults), expected);
    assert_eq!(axes(&floor(&recorded, &limits)), expected);
    assert_eq!(floor(recording(), &limits), []);
}

#[test]
fn a_recording_that_is_a_template_or_a_few_scripted_requests_is_told() {
    let few = taken((0..COUNT).map(|number| body(1, number % 10)), FingerprintSettings::default());
    let found = axes(&floor(&few, &GateLimits::default()));
    assert!(found.contains(&Axis::Bodies), "{found:?}");
    let template = body(1, 7);
    let fresh = taken(
        (0..COUNT).map(|number| with_fresh_id(&template, number)),
        FingerprintSettings::default(),
    );
    let found = axes(&floor(&fresh, &GateLimits::default()));
    assert!(found.contains(&Axis::EffectiveCombinations), "{found:?}");
}

/// Scripted requests with all that a tool draws anew: ids, address, floor.
fn scripted(templates: u64, number: u64) -> Vec<u8> {
    let mut request: Value = serde_json::from_slice(&body(1, 100 + number % templates)).unwrap();
    let mut random = Random::for_item(9, number);
    request["id"] = format!("fresh-{number}").into();
    let [.., high, low] = random.below(65_536).to_be_bytes();
    request["device"]["ip"] = format!("198.18.{high}.{low}").into();
    request["device"]["ifa"] = format!("{:032x}", random.bits()).into();
    for imp in request["imp"].as_array_mut().unwrap() {
        imp["bidfloor"] = (random.unit() * 5.0).into();
    }
    request.to_string().into_bytes()
}

/// One template in three sizes, each on a page of its own.
fn sized(number: u64) -> Vec<u8> {
    let mut request: Value = serde_json::from_slice(&scripted(1, number)).unwrap();
    let mut random = Random::for_item(5, number);
    let (w, h) = [(300, 250), (728, 90), (320, 50)][random.index(3)];
    request["imp"] = json!([{"id": "1", "tagid": "top", "banner": {"w": w, "h": h}}]);
    let page = format!("https://site.example/{:x}", random.bits());
    request["site"] = json!({"id": "1", "domain": "site.example", "page": page});
    request.as_object_mut().unwrap().remove("app");
    request.to_string().into_bytes()
}

#[test]
fn scripted_requests_are_refused_though_they_are_their_own_recording() {
    type Make = fn(u64) -> Vec<u8>;
    let ten: Make = |number| scripted(10, number);
    let cases: [(Make, &[Axis]); 2] =
        [(ten, &[Axis::Agents]), (sized, &[Axis::EffectiveCombinations, Axis::Agents])];
    for (make, expected) in cases {
        let recorded = taken((0..COUNT).map(make), FingerprintSettings::default());
        let faults = gate(&recorded, &sent((0..COUNT).map(make)), &GateLimits::default());
        let found = axes(&faults);
        println!("{}", told(&faults));
        for axis in expected {
            assert!(found.contains(axis), "{axis:?} of {found:?}");
        }
    }
}

#[test]
fn the_traffic_of_one_site_with_one_placement_is_traffic() {
    let of_one_site = |number: u64| {
        let mut request: Value = serde_json::from_slice(&body(1, number)).unwrap();
        for other in ["app", "dooh"] {
            request.as_object_mut().unwrap().remove(other);
        }
        request["site"] = json!({"id": "1", "domain": "site.example"});
        for imp in request["imp"].as_array_mut().unwrap() {
            imp["tagid"] = "top".into();
        }
        request.to_string().into_bytes()
    };
    let recorded = taken((0..COUNT).map(of_one_site), FingerprintSettings::default());
    let faults = gate(&recorded, &sent((0..COUNT).map(of_one_site)), &GateLimits::default());
    assert_eq!(told(&faults), "");
}

#[test]
fn every_recording_of_the_project_is_diverse_enough_whole_and_in_its_beginning() {
    for name in ["prebid", "synthetic", "gate"] {
        let path = format!("{}/recordings/{name}.capture", env!("CARGO_MANIFEST_DIR"));
        let mut reader = gavel::capture::read::open(path.as_ref()).unwrap();
        let (mut record, mut bodies) = (Record::default(), Vec::new());
        while reader.next(&mut record).unwrap() {
            bodies.push(record.body.to_vec());
        }
        for count in [64, 200, bodies.len()] {
            let part = taken(bodies[..count].iter().cloned(), FingerprintSettings::default());
            let faults = gate(&part, &part, &GateLimits::default());
            assert_eq!(told(&faults), "", "{name}, {count}");
        }
    }
}

#[test]
fn what_cannot_be_judged_does_not_pass() {
    let (recorded, limits) = (recording(), GateLimits::default());
    let few = sent((0..63).map(|number| body(1, number)));
    assert_eq!(axes(&gate(recorded, &few, &limits)), [Axis::Requests]);
    let nothing = sent(std::iter::empty());
    assert_eq!(axes(&gate(recorded, &nothing, &limits)), [Axis::Requests]);
    assert_eq!(axes(&gate(&nothing, recorded, &limits)), [Axis::Requests]);
    assert_eq!(axes(&floor(&nothing, &limits)), [Axis::Requests]);
    let other = FingerprintSettings { window_log: 20, ..FingerprintSettings::default() };
    let other = taken((0..100).map(|number| body(1, number)), other);
    assert_eq!(axes(&gate(recorded, &other, &limits)), [Axis::Measure]);
}

#[test]
fn bodies_that_are_no_json_are_counted_and_judged() {
    let noise = |number: u64| number.to_string().repeat(50).into_bytes();
    let broken = sent((0..COUNT).map(noise).map(|mut body| {
        body.insert(0, b'x');
        body
    }));
    assert_eq!(broken.unreadable, COUNT);
    assert!(axes(&judge(&broken)).contains(&Axis::EffectiveCombinations));
}

#[test]
fn a_summary_is_the_same_again_and_survives_its_file() {
    let first = measured();
    assert_eq!(&first, recording());
    let text = serde_json::to_string(&first).unwrap();
    assert!(text.len() < 32 << 10, "{} bytes", text.len());
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), first);
}

#[test]
fn what_was_planned_and_not_sent_does_not_count() {
    let mut fingerprint = Fingerprint::new(FingerprintSettings::default());
    let request = body(1, 0);
    let planned = Exchange {
        number: 0,
        round: 0,
        connection: 0,
        planned: Duration::ZERO,
        sent: Some(Duration::from_millis(1)),
        latency: Duration::ZERO,
        partner: "p",
        path: "/openrtb2/p",
        request: &request,
        end: End::Answered(204),
        answer: b"",
        announces: false,
        recorded_status: None,
    };
    fingerprint.exchange(&planned);
    fingerprint.exchange(&Exchange { sent: None, end: End::Shed, ..planned });
    fingerprint.exchange(&Exchange { end: End::Unfinished, ..planned });
    assert_eq!(fingerprint.summary().requests, 2);
}
