//! Bytes that nobody meant.

use super::{Scratch, admit, partner, rates};
use crate::admit::limits::Limits;
use crate::arrival::Body;
use proptest::prelude::*;

/// A request that uses most of what is read.
const SEED: &str = r#"{ "id":"8f1c","at":1,"tmax":120,"test":0,"cur":["USD","EUR"],"bcat":["IAB25"],"badv":["a.example"],
 "imp":[{"id":"1","instl":0,"secure":1,"bidfloor":0.25,"bidfloorcur":"USD","exp":300,"qty":{"multiplier":14.2},"ext":{"rwdd":1},
   "banner":{"format":[{"w":300,"h":250},{"wratio":16,"hratio":9}],"battr":[1,2],"mimes":["text/html"]},
   "video":{"mimes":["video/mp4"],"minduration":5,"maxduration":30,"w":640,"h":360,"protocols":[2,3],"plcmt":1},
   "pmp":{"private_auction":1,"deals":[{"id":"d1","bidfloor":1.5,"at":3,"wseat":["s"]},{"id":"d2"}]}},
  {"id":"2","native":{"request":"{\"ver\":\"1.2\",\"assets\":[{\"id\":1}]}"}},{"id":"3"}],
 "app":{"id":"a","bundle":"com.example.game","publisher":{"id":"p"},"cat":["IAB9"]},
 "device":{"ua":"Mozilla\/5.0 \u00e9","ip":"192.0.2.7","ipv6":"2001:db8::7","lmt":0,"geo":{"country":"USA","type":2},
   "sua":{"platform":{"brand":"Android","version":["13"]},"browsers":[{"brand":"Chromium","version":["120"]}],"mobile":1}},
 "user":{"id":"u","consent":"C","ext":{"eids":[{"source":"id.example","uids":[{"id":"x"}]}]}},
 "regs":{"coppa":0,"gdpr":0,"ext":{"us_privacy":"1YNN"},"gpp_sid":[7]},
 "source":{"tid":"t","ext":{"schain":{"complete":1,"nodes":[{"asi":"e.example","sid":"1"}],"ver":"1.0"}}} }"#;

fn read(scratch: &mut Scratch, body: &[u8]) {
    let body = Body(bytes::Bytes::copy_from_slice(body));
    if let Ok(admitted) = admit(body, &partner(), &Limits::default(), &rates(), scratch) {
        super::corpus::check_spans(&admitted.request);
        scratch.recycle(admitted.request);
    }
}

#[test]
fn the_seed_is_admitted_without_its_third_imp() {
    let admitted = super::admit_text(SEED).unwrap();
    assert_eq!(admitted.request.view.imps.len(), 2);
    assert!(admitted.leniencies.is_empty());
    super::corpus::check_spans(&admitted.request);
}

#[test]
fn every_truncation_is_refused() {
    for end in 0..SEED.len() {
        if SEED.is_char_boundary(end) {
            assert!(super::admit_text(&SEED[..end]).is_err(), "{end}");
        }
    }
}

#[test]
fn a_request_leaves_nothing_behind_in_its_buffers() {
    let mut scratch = Scratch::new(&Limits::default());
    read(&mut scratch, SEED.as_bytes());
    assert_eq!(scratch.spares.len(), 1);
    let empty = crate::request::View::default();
    assert_eq!(format!("{:?}", scratch.spares[0]), format!("{:?}", (Vec::<u8>::new(), empty)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        read(&mut Scratch::new(&Limits::default()), &body);
    }

    #[test]
    fn no_mutation_of_a_request_makes_it_panic(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..40_usize, prop::sample::select(TOKENS.to_vec())), 1..6),
    ) {
        let mut scratch = Scratch::new(&Limits::default());
        let mut body = SEED.as_bytes().to_vec();
        for (at, len, token) in edits {
            let at = at.index(body.len());
            let end = (at + len).min(body.len());
            body.splice(at..end, token.bytes());
            read(&mut scratch, &body);
        }
    }

    #[test]
    fn no_value_in_any_place_makes_it_panic(
        place in any::<prop::sample::Index>(),
        token in prop::sample::select(TOKENS.to_vec()),
    ) {
        // Behind a colon there stands a value: another one is put before it, as a member of its own.
        let colons: Vec<_> = SEED.match_indices("\":").map(|(at, _)| at + 2).collect();
        let at = colons[place.index(colons.len())];
        let body = format!("{}{token},\"x{at}\":{}", &SEED[..at], &SEED[at..]);
        read(&mut Scratch::new(&Limits::default()), body.as_bytes());
    }
}

const TOKENS: [&str; 24] = [
    "",
    "null",
    "true",
    "-1",
    "0",
    "1e308",
    "18446744073709551616",
    "0.5",
    "\"\"",
    "\"a\\u0000\"",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "{\"id\":1}",
    "{\"id\":1,\"id\":2}",
    "[{\"id\":\"1\"}]",
    "\"1\"",
    "\"USD\"",
    ",",
    "}",
    "]",
    "\\",
    "\u{e9}",
];
