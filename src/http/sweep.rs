//! What a worker looks after every so often, beside its requests.
//!
//! Owns: the order of it. Never: a request.

use crate::clock;
use crate::http::Road;
use crate::http::gates::Gates;
use crate::http::tap::Tap;
use crate::http::watch::Ledger;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::load::Load;
use crate::lifecycle::pressure::Pressure;
use crate::snapshot::Latest;
use crate::telemetry::cells::ConnectionCut;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// What the sweep looks after.
pub struct Swept<R> {
    pub road: Rc<R>,
    pub tap: Rc<Tap>,
    pub ledger: Rc<Ledger>,
    pub load: Rc<Load>,
    pub latest: Rc<Latest>,
    pub gates: Rc<Gates>,
}

/// Looks after them for as long as the worker lives.
pub async fn sweep<R: Road>(swept: Swept<R>, lifecycle: Arc<Lifecycle>, every: Duration) {
    let Swept { road, tap, ledger, load, latest, gates } = swept;
    let mut was_short = false;
    let began = clock::monotonic();
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        ledger.sweep(clock::monotonic().saturating_duration_since(began), lifecycle.phase());
        for why in ConnectionCut::ALL {
            gates.cells().connections_cut(why, ledger.take_cuts(why));
        }
        let share = load.let_go.take();
        if share > 0 {
            ledger.let_go(share);
        }
        let pressure = load.pressure.get();
        let is_short = pressure >= Pressure::Shrink;
        if std::mem::replace(&mut was_short, is_short) != is_short {
            road.remember(is_short);
        }
        if pressure == Pressure::Close {
            ledger.close_idle();
        }
        // A worker without requests lets go of a replaced snapshot here.
        if let Some(snapshot) = latest.take() {
            tap.follow(&snapshot);
        }
        tap.sweep(clock::monotonic());
    }
}
