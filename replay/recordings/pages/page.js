// What runs on every page: the page's consent manager, and its auctions with Prebid.js.
// `visit` is written into the page by its server; see visits.mjs.
(() => {
  const { visit } = window;
  window.auctions = { started: 0, ended: 0, bids: 0, failures: 0 };

  // A consent manager by the interfaces of IAB: TCF 2 (`__tcfapi`), US Privacy, GPP 1.1.
  const { tcf, usp, gpp } = visit.consent;
  if (tcf) {
    const said = (eventStatus) => ({
      tcString: tcf.text, gdprApplies: tcf.applies, eventStatus, cmpStatus: 'loaded',
      tcfPolicyVersion: 4, purpose: { consents: tcf.purposes, legitimateInterests: {} },
      vendor: { consents: {}, legitimateInterests: {} }, listenerId: 1,
    });
    window.__tcfapi = (command, _version, callback) => {
      if (command === 'addEventListener') callback(said('tcloaded'), true);
      else callback(command === 'ping' ? { cmpLoaded: true } : true, true);
    };
  }
  if (usp) {
    window.__uspapi = (command, _version, callback) =>
      callback(command === 'getUSPData' ? { version: 1, uspString: usp } : null, true);
  }
  if (gpp) {
    const pingData = {
      gppVersion: '1.1', cmpStatus: 'loaded', signalStatus: 'ready', gppString: gpp.text,
      applicableSections: gpp.sections, parsedSections: {},
    };
    window.__gpp = (command, callback) => {
      if (command === 'addEventListener') {
        callback({ eventName: 'signalStatus', data: 'ready', pingData }, true);
      } else callback(command === 'ping' ? pingData : null, true);
    };
  }

  const { pbjs } = window;
  pbjs.onEvent('bidderError', () => { window.auctions.failures += 1; });
  pbjs.setConfig(visit.config);

  const run = (units) => {
    window.auctions.started += 1;
    pbjs.requestBids({
      adUnits: units,
      timeout: visit.config.bidderTimeout,
      bidsBackHandler: (bids) => {
        const kept = Object.values(bids ?? {}).flatMap((of) => of.bids ?? []);
        window.auctions.bids += kept.length;
        window.auctions.ended += 1;
      },
    });
  };
  // One auction after the other: what is seen at once, then what comes into view, then refreshes.
  const next = (index) => {
    if (index >= visit.auctions.length) {
      window.auctions.done = true;
      return;
    }
    run(visit.auctions[index]);
    const wait = () => {
      if (window.auctions.ended > index) setTimeout(next, visit.pauses[index], index + 1);
      else setTimeout(wait, 10);
    };
    wait();
  };
  next(0);
})();
