//! Parcels at the end of their time.

use super::*;
use crate::broker::feed::Receipt;

/// One that was taken before, and whose time is over.
fn late(bidder: &str, now_us: u64) -> Parcel {
    Parcel {
        kind: EventType::Billing,
        bidder: bidder.to_owned(),
        url: format!("https://{bidder}.example/late"),
        first_us: now_us - micros(RetrySettings::default().span),
        taken: 9,
        receipt: Receipt::nobodys(),
    }
}

#[test]
fn a_parcel_whose_time_is_over_is_tried_a_last_time_unless_its_bidder_is_left_alone() {
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.down.borrow_mut().push("gone");
        let (tally, deliver) = (Arc::new(Tally::default()), deliver(&world));
        let mut sender = Sender::new(quick(), deliver, Arc::clone(&tally), None, 7);
        let count = |result: &str| {
            let counts = tally.results();
            counts.iter().find(|one| one.0 == "billing" && one.1 == result).map_or(0, |one| one.2)
        };
        let now = clock::timer();
        for _ in 0..5 {
            sender.lane("gone").starts();
            sender.lane("gone").ended(Err(Failure::Connect), (now, 0), 0);
        }
        let now_us = sender.now_us();
        sender.take(late("gone", now_us));
        assert_eq!((world.tries.get(), count("dead")), (0, 1));
        sender.take(late("back", now_us));
        sender.start();
        let ended = sender.flights.join_next_with_id().await.unwrap();
        sender.land(ended);
        assert_eq!((count("delivered"), count("dead")), (1, 1));
    });
}
