// What a publisher builds: Prebid.js with the modules that its pages need.
import pbjs from 'prebid.js';
import 'prebid.js/modules/prebidServerBidAdapter';
import 'prebid.js/modules/consentManagementTcf';
import 'prebid.js/modules/consentManagementUsp';
import 'prebid.js/modules/consentManagementGpp';
import 'prebid.js/modules/userId';
import 'prebid.js/modules/sharedIdSystem';
import 'prebid.js/modules/pubProvidedIdSystem';
import 'prebid.js/modules/priceFloors';
import 'prebid.js/modules/schain';
import 'prebid.js/modules/currency';

window.pbjs = pbjs;
pbjs.processQueue();
