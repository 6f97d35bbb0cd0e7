//! The bytes of a simulated bidder's answer.
//!
//! Owns: a bid response of realistic shape and size (500 to 700 bytes with one bid), markup of the
//! right kind for the imp. Never: a draw. Invariant: what is written is valid JSON if the ids of
//! the request were.

use super::model::{Act, BRANDS, Bid};
use super::read::{Imp, Offer, Wanted};
use super::spec::BidderSpec;
use std::io::Write;

/// The body of `Act::Huge`: over the 512 KiB that gavel takes from a bidder.
pub(super) const HUGE_BYTES: usize = 1 << 20;

/// An answer, ready to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Bytes of its head.
    pub head: usize,
    pub bids: usize,
}

/// Writes head and body of an answer. `Act::Reset` and `Act::Hang` have none.
pub(super) fn write(
    out: &mut Vec<u8>,
    body: &mut Vec<u8>,
    spec: &BidderSpec,
    wanted: &Wanted,
    act: &Act,
) -> Written {
    body.clear();
    let mut bids = 0;
    let status = match act {
        Act::NoBid => "204 No Content",
        Act::Status(500) => "500 Internal Server Error",
        Act::Status(502) => "502 Bad Gateway",
        Act::Status(_) => "503 Service Unavailable",
        Act::Garbage => {
            body.extend_from_slice(b"<!doctype html><title>It works</title>");
            "200 OK"
        }
        Act::Huge => {
            body.resize(HUGE_BYTES, b' ');
            "200 OK"
        }
        Act::Bids(list) | Act::Drip(list) => {
            bids = write_response(body, spec, wanted, list);
            "200 OK"
        }
        Act::Reset | Act::Hang => return Written { head: 0, bids },
    };
    let start = out.len();
    // writing to a Vec cannot fail, here and below
    let _ = match act {
        Act::NoBid => write!(out, "HTTP/1.1 {status}\r\n\r\n"),
        _ => write!(
            out,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ),
    };
    let head = out.len() - start;
    out.extend_from_slice(body);
    Written { head, bids }
}

fn write_response(out: &mut Vec<u8>, spec: &BidderSpec, wanted: &Wanted, bids: &[Bid]) -> usize {
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(wanted.id);
    let _ = write!(out, "\",\"cur\":\"{}\",\"seatbid\":[", wanted.currency(&spec.currency));
    let mut written = 0;
    for bid in bids {
        let Some(imp) = wanted.imps.get(bid.imp) else { continue };
        if written > 0 {
            out.push(b',');
        }
        write_seat(out, spec, imp, bid);
        written += 1;
    }
    out.extend_from_slice(b"]}");
    written
}

/// One `seatbid` with one bid: a deal may ask for a seat of its own.
fn write_seat(out: &mut Vec<u8>, spec: &BidderSpec, imp: &Imp, bid: &Bid) {
    let (creative, brand) = (bid.creative, bid.creative % BRANDS);
    let name = &spec.name;
    let deal = imp.deal.filter(|_| bid.takes_deal);
    out.extend_from_slice(b"{\"seat\":\"");
    match deal.and_then(|deal| deal.seat) {
        Some(seat) => out.extend_from_slice(seat),
        None => out.extend_from_slice(name.as_bytes()),
    }
    let _ = write!(out, "\",\"bid\":[{{\"id\":\"{name}-{creative:04}-{}\",\"impid\":\"", bid.imp);
    out.extend_from_slice(imp.id);
    let _ = write!(
        out,
        "\",\"price\":{:.4},\"adomain\":[\"brand-{brand}.example\"],\"cid\":\"c{}\",\
         \"crid\":\"{name}-{creative:04}\",\"cat\":[\"IAB{}\"]",
        bid.price,
        creative / 10,
        1 + brand % 22,
    );
    if let Some(deal) = deal {
        out.extend_from_slice(b",\"dealid\":\"");
        out.extend_from_slice(deal.id);
        out.push(b'"');
    }
    write_markup(out, name, imp.offer, creative);
    out.extend_from_slice(b"}]}");
}

fn write_markup(out: &mut Vec<u8>, name: &str, offer: Offer, creative: u64) {
    let _ = match offer {
        Offer::Banner(w, h) => write!(
            out,
            ",\"mtype\":1,\"w\":{w},\"h\":{h},\"adm\":\"<a href=\\\"https://{name}.example/click?c=\
             {creative}&p=${{AUCTION_PRICE}}\\\" target=\\\"_blank\\\" rel=\\\"noopener\\\"><img \
             src=\\\"https://cdn.{name}.example/creatives/{creative:04}/{w}x{h}.webp\\\" \
             width=\\\"{w}\\\" height=\\\"{h}\\\" alt=\\\"\\\" style=\\\"border:0\\\"></a><img \
             src=\\\"https://{name}.example/i?a=${{AUCTION_ID}}&c={creative}\\\" width=\\\"1\\\" \
             height=\\\"1\\\" alt=\\\"\\\">\""
        ),
        Offer::Video => write_vast(out, name, creative, 2, "video/mp4", "mp4"),
        Offer::Audio => write_vast(out, name, creative, 3, "audio/mpeg", "mp3"),
        Offer::Native => write!(
            out,
            ",\"mtype\":4,\"adm\":\"{{\\\"native\\\":{{\\\"ver\\\":\\\"1.2\\\",\\\"assets\\\":[{{\
             \\\"id\\\":1,\\\"title\\\":{{\\\"text\\\":\\\"Offer {creative}\\\"}}}},{{\\\"id\\\":2,\
             \\\"img\\\":{{\\\"url\\\":\\\"https://cdn.{name}.example/{creative}.webp\\\",\\\"w\\\":\
             1200,\\\"h\\\":627}}}}],\\\"link\\\":{{\\\"url\\\":\\\"https://{name}.example/click?c=\
             {creative}\\\"}},\\\"eventtrackers\\\":[{{\\\"event\\\":1,\\\"method\\\":1,\\\"url\\\":\
             \\\"https://{name}.example/i?c={creative}\\\"}}]}}}}\""
        ),
        Offer::Nothing => Ok(()),
    };
}

fn write_vast(
    out: &mut Vec<u8>,
    name: &str,
    creative: u64,
    mtype: u8,
    mime: &str,
    suffix: &str,
) -> std::io::Result<()> {
    write!(
        out,
        ",\"mtype\":{mtype},\"dur\":15,\"adm\":\"<VAST version=\\\"4.0\\\"><Ad id=\\\"{creative}\\\">\
         <InLine><AdSystem>{name}</AdSystem><AdTitle>{creative}</AdTitle><Impression><![CDATA[https:\
         //{name}.example/i?c={creative}]]></Impression><Creatives><Creative><Linear><Duration>00:00\
         :15</Duration><MediaFiles><MediaFile delivery=\\\"progressive\\\" type=\\\"{mime}\\\" \
         width=\\\"640\\\" height=\\\"360\\\"><![CDATA[https://cdn.{name}.example/{creative:04}.\
         {suffix}]]></MediaFile></MediaFiles></Linear></Creative></Creatives></InLine></Ad></VAST>\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_valid_json_of_realistic_size() {
        let request = br#"{"id":"r","imp":[{"id":"1","banner":{"w":300,"h":250}},{"id":"2",
            "video":{}},{"id":"3","audio":{}},{"id":"4","native":{},"pmp":{"deals":[{"id":"d",
            "wseat":["s"]}]}}]}"#;
        let wanted = super::super::read::read(request).unwrap();
        let spec = BidderSpec::default();
        for imp in 0..4 {
            let bid = Bid { imp, price: 1.25, takes_deal: imp == 3, creative: 77 };
            let (mut out, mut body) = (Vec::new(), Vec::new());
            let written = write(&mut out, &mut body, &spec, &wanted, &Act::Bids(vec![bid]));
            assert_eq!((written.bids, out.len()), (1, written.head + body.len()));
            assert!((450..900).contains(&body.len()), "{} bytes", body.len());
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let bid = &json["seatbid"][0]["bid"][0];
            assert_eq!(bid["impid"], (imp + 1).to_string());
            assert_eq!(bid["mtype"], imp + 1);
            if imp == 3 {
                assert_eq!(
                    (&bid["dealid"], &json["seatbid"][0]["seat"]),
                    (&"d".into(), &"s".into())
                );
                serde_json::from_str::<serde_json::Value>(bid["adm"].as_str().unwrap()).unwrap();
            }
        }
    }
}
