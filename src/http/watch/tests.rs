//! Connections and their ledger, swept by hand.

use super::*;
use crate::http::reply::Reply;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;

fn ledger() -> Ledger {
    let settings = HttpSettings { age_jitter_percent: 0, ..HttpSettings::default() };
    Ledger::new(&settings, Rc::default())
}

/// A connection of which a request has been authorised.
fn known(ledger: &Ledger) -> Rc<Watch> {
    let watch = ledger.add(1);
    watch.was_authorised();
    watch
}

/// One that speaks HTTP/2.
fn known_h2(ledger: &Ledger) -> Rc<Watch> {
    let watch = known(ledger);
    watch.speaks_h2();
    watch
}

fn answer(bytes: &'static [u8]) -> Reply {
    Response::new(Full::new(Bytes::from_static(bytes)))
}

fn at(ledger: &Ledger, ms: u64, phase: Phase) {
    ledger.sweep(Duration::from_millis(ms), phase);
}

#[test]
fn a_head_that_dribbles_is_cut_after_its_time_however_many_bytes_come() {
    let ledger = ledger();
    let watch = ledger.add(1);
    for ms in (0..5000).step_by(100) {
        at(&ledger, ms, Phase::Ready);
        watch.has_read(b"P");
    }
    assert_eq!(watch.order(), Order::Serve);
    at(&ledger, 5000, Phase::Ready);
    assert_eq!((watch.order(), ledger.take_cuts(ConnectionCut::SlowHead)), (Order::Cut, 1));
}

#[test]
fn an_idle_connection_is_closed_and_one_that_starts_a_head_gets_the_time_of_a_head() {
    let ledger = ledger();
    let (idle, started) = (known(&ledger), known(&ledger));
    drop((idle.open(), started.open()));
    at(&ledger, 59_900, Phase::Ready);
    started.has_read(b"P");
    at(&ledger, 60_000, Phase::Ready);
    assert_eq!((idle.order(), started.order()), (Order::Close, Order::Serve));
    at(&ledger, 64_900, Phase::Ready);
    assert_eq!(started.order(), Order::Cut);
    at(&ledger, 65_000, Phase::Ready);
    assert_eq!(idle.order(), Order::Cut, "told to close, and still there after the grace");
}

#[test]
fn a_busy_connection_is_not_cut_but_a_peer_that_does_not_read_is() {
    let ledger = ledger();
    let watch = ledger.add(1);
    let open = watch.open();
    at(&ledger, 200_000, Phase::Ready);
    assert_eq!(watch.order(), Order::Serve);
    watch.write_blocked();
    at(&ledger, 201_000, Phase::Ready);
    watch.write_done();
    watch.write_blocked();
    at(&ledger, 202_900, Phase::Ready);
    assert_eq!(watch.order(), Order::Serve);
    at(&ledger, 203_000, Phase::Ready);
    assert_eq!((watch.order(), ledger.take_cuts(ConnectionCut::SlowReader)), (Order::Cut, 1));
    drop(open);
}

#[test]
fn age_and_drain_make_answers_the_last_and_closing_ends_the_idle() {
    let ledger = ledger();
    let (aged, h2) = (known(&ledger), known(&ledger));
    h2.speaks_h2();
    let opens = (aged.open(), h2.open());
    at(&ledger, 300_000, Phase::Ready);
    assert_eq!((aged.order(), h2.order()), (Order::LastOne, Order::LastOne));
    drop(opens);
    at(&ledger, 305_000, Phase::Ready);
    assert_eq!((aged.order(), h2.order()), (Order::LastOne, Order::Cut));
    let late = ledger.add(3);
    at(&ledger, 305_100, Phase::Draining);
    assert_eq!(late.order(), Order::LastOne);
    at(&ledger, 305_200, Phase::Closing);
    assert_eq!((late.order(), aged.order()), (Order::Close, Order::Close));
}

#[test]
fn the_connection_nearest_to_the_wanted_share_is_let_go() {
    for (share, picked) in [(500, Some(2)), (250, Some(1)), (60, Some(0)), (20, None)] {
        let ledger = ledger();
        // 5 %, 25 %, 70 % of the requests, and an idle one
        let watches: Vec<_> = [5, 25, 70, 0]
            .into_iter()
            .map(|requests| {
                let watch = ledger.add(1);
                (0..requests).for_each(|_| drop(watch.open()));
                watch
            })
            .collect();
        at(&ledger, 100, Phase::Ready);
        ledger.let_go(share);
        let told = watches.iter().position(|watch| watch.order() == Order::LastOne);
        assert_eq!(told, picked, "{share}");
    }
}

#[test]
fn ended_connections_leave_the_ledger_and_ages_stay_within_the_jitter() {
    let ledger = Ledger::new(&HttpSettings::default(), Rc::default());
    let ages: Vec<_> = (0..1000).map(|seed| ledger.add(seed).age_due).collect();
    let (least, most) = (*ages.iter().min().unwrap(), *ages.iter().max().unwrap());
    assert!((270_000..273_000).contains(&least) && (327_000..=330_000).contains(&most));
    for watch in ledger.watches.borrow().iter().skip(1) {
        watch.over();
    }
    at(&ledger, 100, Phase::Ready);
    assert_eq!((ledger.watches.borrow().len(), ledger.strangers.borrow().len()), (1, 1));
    assert_eq!(ledger.clockwork.load.strangers.get(), 1);
}

#[test]
fn who_has_shown_no_right_to_be_here_may_idle_for_a_short_time_only() {
    let ledger = ledger();
    let (stranger, lapsed, partner) = (ledger.add(1), known(&ledger), known(&ledger));
    let back = known(&ledger);
    lapsed.turned_away();
    back.turned_away();
    back.was_authorised();
    for watch in [&stranger, &lapsed, &partner, &back] {
        drop(watch.open());
    }
    at(&ledger, 4900, Phase::Ready);
    assert_eq!((stranger.order(), lapsed.order()), (Order::Serve, Order::Serve));
    at(&ledger, 5000, Phase::Ready);
    assert_eq!((stranger.order(), lapsed.order()), (Order::Close, Order::Close));
    assert_eq!((partner.order(), back.order()), (Order::Serve, Order::Serve));
}

#[test]
fn the_oldest_stranger_makes_room_then_the_longest_idle_and_nobody_who_is_served() {
    let ledger = ledger();
    let (partner, older, newer) = (known(&ledger), ledger.add(2), ledger.add(3));
    let (idle, busy) = (known(&ledger), known(&ledger));
    let gone = ledger.add(4);
    gone.over();
    let open = busy.open();
    drop(partner.open());
    at(&ledger, 100, Phase::Ready);
    drop(idle.open());
    for evicted in [&older, &newer, &partner, &idle] {
        assert_eq!(evicted.order(), Order::Serve);
        assert!(ledger.evict());
        assert_eq!(evicted.order(), Order::Cut);
    }
    assert!(!ledger.evict());
    assert_eq!((busy.order(), gone.order()), (Order::Serve, Order::Serve));
    drop(open);
}

#[test]
fn a_head_that_begins_behind_a_request_has_the_time_of_a_head() {
    let ledger = ledger();
    let (quiet, ahead) = (known(&ledger), known(&ledger));
    for (watch, behind) in [(&quiet, ""), (&ahead, "POST /")] {
        watch.has_read(format!("GET / HTTP/1.1\r\n\r\n{behind}").as_bytes());
        let open = watch.open();
        watch.done();
        drop(open);
    }
    at(&ledger, 4900, Phase::Ready);
    assert_eq!((quiet.order(), ahead.order()), (Order::Serve, Order::Serve));
    at(&ledger, 5000, Phase::Ready);
    assert_eq!((quiet.order(), ahead.order()), (Order::Serve, Order::Cut));
    assert_eq!(ledger.take_cuts(ConnectionCut::SlowHead), 1);
}

#[test]
fn a_head_is_not_due_while_the_answer_before_it_is_not_taken() {
    let times = (Duration::from_secs(1), Duration::from_secs(2));
    let settings = HttpSettings { header_time: times.0, write_time: times.1, ..Default::default() };
    let ledger = Ledger::new(&settings, Rc::default());
    let watch = known(&ledger);
    watch.has_read(b"GET / HTTP/1.1\r\n\r\nPOST /");
    let open = watch.open();
    watch.done();
    drop(open);
    watch.write_blocked();
    at(&ledger, 1900, Phase::Ready);
    assert_eq!(watch.order(), Order::Serve);
    at(&ledger, 2000, Phase::Ready);
    assert_eq!((watch.order(), ledger.take_cuts(ConnectionCut::SlowReader)), (Order::Cut, 1));
}

#[test]
fn an_answer_that_flow_control_holds_back_costs_its_connection_whatever_else_is_taken() {
    let ledger = ledger();
    let (slow, quick, h1) = (known_h2(&ledger), known_h2(&ledger), known(&ledger));
    at(&ledger, 100, Phase::Ready);
    let watches = [&slow, &quick, &h1];
    let [held, taken, with_socket] = watches.map(|watch| ledger.hand(answer(b"1"), watch, 0));
    drop(taken);
    at(&ledger, 2000, Phase::Ready);
    drop(ledger.hand(answer(b"22"), &slow, 0));
    slow.write_done();
    assert_eq!(watches.map(|watch| watch.order()), [Order::Serve; 3]);
    at(&ledger, 2100, Phase::Ready);
    let orders = [Order::Cut, Order::Serve, Order::Serve];
    assert_eq!(watches.map(|watch| watch.order()), orders);
    assert_eq!(ledger.take_cuts(ConnectionCut::SlowReader), 1);
    drop((held, with_socket));
}

#[test]
fn while_memory_is_short_an_answer_waits_for_a_quarter_of_the_time() {
    let ledger = ledger();
    let slow = known_h2(&ledger);
    let held = ledger.hand(answer(b"1"), &slow, 0);
    at(&ledger, 600, Phase::Ready);
    assert_eq!(slow.order(), Order::Serve);
    ledger.clockwork.load.pressure.set(Pressure::Shed);
    at(&ledger, 700, Phase::Ready);
    assert_eq!((slow.order(), ledger.take_cuts(ConnectionCut::SlowReader)), (Order::Cut, 1));
    drop(held);
}

#[test]
fn where_answers_that_nobody_takes_have_no_room_who_has_the_most_goes() {
    let ledger = ledger();
    let (some, most, next) = (known_h2(&ledger), known_h2(&ledger), known_h2(&ledger));
    let held = (ledger.hand(answer(b"333"), &some, 10), ledger.hand(answer(b"55555"), &most, 10));
    let fits = ledger.hand(answer(b"22"), &next, 10);
    assert_eq!(most.order(), Order::Serve);
    let too_much = ledger.hand(answer(b"1"), &next, 10);
    let orders = [&some, &most, &next].map(|watch| watch.order());
    assert_eq!(orders, [Order::Serve, Order::Cut, Order::Serve]);
    assert_eq!(ledger.take_cuts(ConnectionCut::SlowReader), 1);
    drop((held, fits, too_much));
    let alone = ledger.hand(answer(b"more than ten"), &next, 10);
    assert_eq!(next.order(), Order::Serve, "one alone has room");
    let other = ledger.hand(answer(b"1"), &some, 10);
    assert_eq!((next.order(), some.order()), (Order::Cut, Order::Serve));
    drop((alone, other));
}

#[test]
fn after_the_grace_no_stream_is_taken_and_what_is_served_is_the_last() {
    let ledger = ledger();
    let h2 = known_h2(&ledger);
    let open = h2.open();
    at(&ledger, 300_000, Phase::Ready);
    assert_eq!((h2.order(), h2.takes_streams()), (Order::LastOne, true));
    at(&ledger, 304_900, Phase::Closing);
    assert_eq!((h2.order(), h2.takes_streams()), (Order::Close, true));
    at(&ledger, 305_000, Phase::Closing);
    assert_eq!((h2.order(), h2.takes_streams()), (Order::Close, false));
    drop(open);
    at(&ledger, 305_100, Phase::Closing);
    assert_eq!((h2.order(), ledger.take_cuts(ConnectionCut::Grace)), (Order::Cut, 1));
}

#[test]
fn after_the_idle_the_longest_begun_head_makes_room_and_none_that_has_just_begun() {
    let ledger = ledger();
    let watches = [known(&ledger), known(&ledger), known(&ledger), known(&ledger)];
    let [older, newer, fresh, idle] = &watches;
    for watch in &watches {
        drop(watch.open());
    }
    for (ms, watch) in [(100, older), (200, newer), (300, fresh)] {
        at(&ledger, ms, Phase::Ready);
        watch.has_read(b"P");
    }
    for evicted in [idle, older, newer] {
        assert_eq!(evicted.order(), Order::Serve);
        assert!(ledger.evict());
        assert_eq!(evicted.order(), Order::Cut);
    }
    assert!(!ledger.evict());
    assert_eq!(fresh.order(), Order::Serve);
    assert_eq!(ledger.take_cuts(ConnectionCut::Evicted), 3);
}
