//! What a capture of synthetic requests costs on disk.

use crate::script::header;
use gavel::capture::Record;
use gavel::capture::read::Reader;
use gavel::capture::write::{Writer, WriterSettings};
use replay::generate::{GenerateSettings, Generator};
use std::time::Duration;

const COUNT: u64 = 20_000;

fn record(number: u64, body: &[u8]) -> Record {
    Record {
        at: Duration::from_micros(number * 97),
        connection: number % 64,
        partner: "demo".to_owned(),
        method: "POST".to_owned(),
        path: "/openrtb2/demo".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_vec().into(),
        ..Record::default()
    }
}

#[test]
fn a_synthetic_request_takes_a_fifth_of_its_size_on_disk() {
    let set = Generator::new(GenerateSettings::default()).set(COUNT);
    let mut writer = Writer::new(Vec::new(), &header(), WriterSettings::default()).unwrap();
    let mut bodies = 0;
    for (number, body) in (0..).zip(set.iter()) {
        writer.push(&record(number, body)).unwrap();
        bodies += body.len() as u64;
    }
    let file = writer.finish().unwrap();
    let total = file.len() as u64;
    println!("a request: {} B of body, {} B of file", bodies / COUNT, total / COUNT);
    assert!(total * 5 < bodies, "{total} B for {bodies} B of bodies");

    let mut reader = Reader::new(&file[..]).unwrap();
    let mut found = Record::default();
    for (number, body) in (0..).zip(set.iter()) {
        assert!(reader.next(&mut found).unwrap());
        assert_eq!(found, record(number, body));
    }
    assert!(!reader.next(&mut found).unwrap());
}
