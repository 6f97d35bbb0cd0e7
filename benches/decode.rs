//! Reading and checking a request: what every auction pays before anything else.
//!
//! `tape`: the copy, the tape and the places of its nodes. `admit`: that, the view and every
//! rule, with buffers that come back after each request, as on the road.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gavel::admit::limits::Limits;
use gavel::admit::{Scratch, admit};
use gavel::arrival::Body;
use gavel::json;
use gavel::money::{Currency, Rates};
use gavel::partner::Partner;
use std::hint::black_box;

/// A display impression in an app: about 2 KB.
const APP: &str = r#"{"id":"7979d0c7-8074-4d3c-a9b1-2c6ff6a6b0c4","at":1,"tmax":180,"cur":["USD"],"imp":[{"id":"1","displaymanager":"example-sdk","displaymanagerver":"8.4.1","instl":0,"tagid":"home-bottom-320","bidfloor":0.35,"bidfloorcur":"USD","secure":1,"exp":3600,"banner":{"w":320,"h":50,"pos":3,"battr":[1,3,5,8,9],"btype":[4],"mimes":["image/jpeg","image/png","text/html"],"api":[3,5,6,7],"format":[{"w":320,"h":50},{"w":300,"h":50}]},"ext":{"skadn":{"version":"4.0","sourceapp":"880047117","skadnetids":["cstr6suwn9.skadnetwork","4fzdc2evr5.skadnetwork","2fnua5tdw4.skadnetwork","ydx93a7ass.skadnetwork","p78axxw29g.skadnetwork"]}}}],"app":{"id":"a-20931","name":"Pocket Weather","bundle":"com.example.pocketweather","storeurl":"https://store.example.com/apps/com.example.pocketweather","cat":["IAB15","IAB15-10"],"ver":"5.2.0","privacypolicy":1,"publisher":{"id":"p-5512","name":"Example Weather GmbH","domain":"weather.example.com"}},"device":{"ua":"Mozilla/5.0 (Linux; Android 13; SM-A536B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/119.0.6045.66 Mobile Safari/537.36","ip":"192.0.2.44","geo":{"lat":52.5163,"lon":13.3777,"type":2,"ipservice":3,"country":"DEU","region":"BE","city":"Berlin","zip":"10117","utcoffset":60},"dnt":0,"lmt":0,"devicetype":4,"make":"Samsung","model":"SM-A536B","os":"Android","osv":"13","h":2400,"w":1080,"ppi":405,"pxratio":2.8125,"js":1,"language":"de","carrier":"Example Mobil","mccmnc":"262-01","connectiontype":6,"ifa":"38400000-8cf0-11bd-b23e-10b96e40000d"},"user":{"id":"u-88a1f20c","data":[{"id":"d1","name":"segments.example","segment":[{"id":"511"},{"id":"733"},{"id":"1204"}]}],"ext":{"consent":"CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"}},"regs":{"coppa":0,"gdpr":1,"ext":{"us_privacy":"1---"}},"bcat":["IAB25","IAB26","IAB7-39"],"badv":["casino.example","loans.example"],"source":{"fd":0,"tid":"c2b3b8b4-6a47-4a6e-a8f1-0a1a7b7f6f57","ext":{"schain":{"complete":1,"ver":"1.0","nodes":[{"asi":"exchange.example","sid":"5512","hp":1}]}}}}"#;

/// A web page with display, video and a deal, by the book of 2.6: about 2.8 KB.
const SITE: &str = r#"{"id":"b0c2c5a0-58d0-4f0e-9f57-3a2f1f1f9a11","at":2,"tmax":250,"test":0,"cur":["USD","EUR"],"allimps":0,"imp":[{"id":"slot-1","tagid":"/1234/news/article-top","bidfloor":0.8,"bidfloorcur":"EUR","secure":1,"banner":{"format":[{"w":728,"h":90},{"w":970,"h":250},{"w":970,"h":90}],"pos":1,"battr":[1,2,6,7,13,14],"topframe":1,"mimes":["text/html","application/javascript","image/gif","image/jpeg"]},"pmp":{"private_auction":0,"deals":[{"id":"deal-7781","bidfloor":2.4,"bidfloorcur":"EUR","at":1,"wseat":["agency-12","agency-14"],"wadomain":["cars.example"]},{"id":"deal-9923","bidfloor":3.1,"bidfloorcur":"EUR","at":3}]},"ext":{"gpid":"/1234/news/article-top#slot-1","data":{"pbadslot":"/1234/news/article-top"}}},{"id":"slot-2","tagid":"/1234/news/article-video","bidfloor":4.5,"bidfloorcur":"EUR","secure":1,"video":{"mimes":["video/mp4","video/webm","application/javascript"],"minduration":5,"maxduration":30,"startdelay":0,"protocols":[2,3,5,6,7,8],"w":640,"h":360,"plcmt":2,"linearity":1,"skip":1,"skipafter":5,"playbackmethod":[2],"delivery":[2],"api":[2,7],"battr":[8,9,10]}}],"site":{"id":"s-4410","name":"Example Daily","domain":"daily.example","cat":["IAB12","IAB12-2"],"cattax":1,"sectioncat":["IAB12-2"],"page":"https://www.daily.example/politics/2024/05/a-rather-long-headline-about-nothing-in-particular-12345.html","ref":"https://search.example/","mobile":1,"publisher":{"id":"pub-90","name":"Example Media","domain":"media.example"},"content":{"language":"de","title":"A rather long headline about nothing in particular","keywords":"politics,europe,parliament"}},"device":{"ua":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36","sua":{"browsers":[{"brand":"Chromium","version":["124","0","6367","60"]},{"brand":"Google Chrome","version":["124","0","6367","60"]},{"brand":"Not-A.Brand","version":["99"]}],"platform":{"brand":"Windows","version":["10","0","0"]},"mobile":0,"source":2},"ip":"198.51.100.27","language":"de","devicetype":2,"w":1920,"h":1080,"js":1,"dnt":0,"lmt":0,"geo":{"country":"DEU","region":"HH","type":2}},"user":{"id":"c7d1e5b2a9","buyeruid":"x-2290177","consent":"CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA","eids":[{"source":"id.example","uids":[{"id":"AQEB-9a8d7c6b","atype":1}]},{"source":"other.example","uids":[{"id":"5f0c1c2e","atype":1}]}]},"regs":{"coppa":0,"gdpr":1,"gpp":"DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA","gpp_sid":[2]},"bcat":["IAB7-39","IAB8-5","IAB25","IAB26"],"badv":["bets.example"],"source":{"fd":1,"tid":"0f9f4a5e-bd0f-4a2e-8d2c-7c1f2f7f1f4a","schain":{"ver":"1.0","complete":1,"nodes":[{"asi":"media.example","sid":"90","hp":1},{"asi":"exchange.example","sid":"pub-90","hp":1}]}}}"#;

fn partner() -> Partner {
    Partner { is_strict: true, ..Partner::new("bench") }
}

fn decode(criterion: &mut Criterion) {
    let (partner, limits) = (partner(), Limits::default());
    let euro = Currency::parse("EUR").map(|euro| (euro, 0.9));
    let rates = Rates::new(Currency::USD, euro).unwrap_or_default();
    let mut group = criterion.benchmark_group("decode");
    for (name, text) in [("app_2k", APP), ("site_2k8", SITE)] {
        let body = Bytes::from_static(text.as_bytes());
        group.throughput(Throughput::Bytes(body.len() as u64));
        let (mut scratch, mut copy) = (json::scratch::Scratch::new(64), Vec::new());
        group.bench_function(format!("tape/{name}"), |bencher| {
            bencher.iter(|| {
                let document = scratch.read(black_box(&body), &mut copy);
                document.is_ok_and(|document| document.root().is_null())
            });
        });
        let mut scratch = Scratch::new(&limits);
        group.bench_function(format!("admit/{name}"), |bencher| {
            bencher.iter(|| {
                let body = Body(black_box(&body).clone());
                match admit(body, &partner, &limits, &rates, &mut scratch) {
                    Ok(admitted) => scratch.recycle(admitted.request),
                    Err(refusal) => unreachable!("the bench's own request: {refusal:?}"),
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
