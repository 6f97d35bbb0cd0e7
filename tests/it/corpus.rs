//! Public bid requests through a running exchange: never a 5xx, never a hang, and a table.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::Client;
use crate::harness::server::Server;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Beside the checkout, or where `GAVEL_CORPUS` says.
fn folder() -> PathBuf {
    std::env::var_os("GAVEL_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        PathBuf::from,
    )
}

/// The request of each line, as it stands there.
fn requests() -> Option<Vec<String>> {
    let mut found = Vec::new();
    for name in ["requests-rtb4free.jsonl", "requests-iab-converter.jsonl"] {
        let text = std::fs::read_to_string(folder().join(name)).ok()?;
        for line in text.lines() {
            let at =
                line.find("\"request\":").expect("a line has a request") + "\"request\":".len();
            found.push(line[at..line.len() - 1].to_owned());
        }
    }
    Some(found)
}

#[test]
fn the_public_corpus_passes_through_a_running_exchange() {
    let Some(requests) = requests() else {
        println!("SKIPPED: no corpus in {}; set GAVEL_CORPUS", folder().display());
        return;
    };
    let bidder = Bidder::start(Script { status: 204, ..Script::default() });
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("gavel.toml");
    let text = format!(
        "{PATIENT}[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n[rates.per_base]\nEUR = 0.9\n\
         [[partners]]\nname = 'pub'\nopen = true\ntmax_default = '2s'\ntmax_max = '5s'\nblock = {{ bots = false }}\n\
         [[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\n",
        bidder.address
    );
    std::fs::write(&config, text).unwrap();
    let server = Server::ready(&config);
    let mut client = Client::connect(server.public.unwrap());
    let mut table: BTreeMap<String, u32> = BTreeMap::new();
    for request in &requests {
        let reply = client.post("/openrtb2/pub", &[], request.as_bytes()).expect("an answer");
        assert!(reply.status < 500, "{}: {request}", reply.status);
        let reason = reply.header("x-gavel-reason").unwrap_or("auctioned");
        *table.entry(format!("{} {reason}", reply.status)).or_default() += 1;
        if reply.header("connection") == Some("close") {
            client = Client::connect(server.public.unwrap());
        }
    }
    for (outcome, count) in &table {
        println!("{count:>6}  {outcome}");
    }
    let auctioned = table.get("204 auctioned").copied().unwrap_or(0);
    assert!(auctioned > 1000, "{table:?}");
    let late = table.get("204 no_time_left").copied().unwrap_or(0);
    let seen = bidder.seen();
    let silent = usize::try_from(auctioned).unwrap().saturating_sub(seen.len());
    // Requests whose seats, imps or time leave the bidder out.
    assert!(silent < 40, "{silent} auctions without a call, {late} late");
    for message in seen {
        serde_json::from_slice::<serde_json::Value>(&message.body).expect("JSON out");
    }
}
