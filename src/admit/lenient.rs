//! The fields in which a leniency may be met, and the set of those that a request met.
//!
//! Owns: [`LenientField`] with its labels, [`Leniencies`]. Never: what is lenient where (`read`).
//!
//! `byte_order_mark` is before the document. `inventory` stands for site, app and dooh, `stream` for video and audio.

/// A field that is read leniently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[rustfmt::skip]
pub enum LenientField {
    Id, Test, At, Tmax, Cur, Wseat, Bseat, Acat, Bcat, Badv, Bapp, Cattax, Imp, Site, App, Dooh,
    InventoryId, InventoryName, InventoryDomain, InventoryPage, InventoryBundle, InventoryStoreurl,
    InventoryCat, Publisher, PublisherId, Device, DeviceUa, DeviceIp, DeviceIpv6, DeviceType,
    DeviceMake, DeviceModel, DeviceOs, DeviceOsv, DeviceLanguage, DeviceIfa, DeviceLmt, DeviceDnt,
    DeviceConnectiontype, DeviceExt, DeviceAtts, Geo, GeoCountry, GeoRegion, GeoType, Sua, SuaPlatform,
    SuaBrowsers, SuaMobile, SuaModel, User, UserId, UserBuyeruid, UserConsent, UserEids, UserExt,
    Regs, RegsCoppa, RegsGpc, RegsGdpr, RegsUsPrivacy, RegsGpp, RegsGppSid, RegsExt, Source, SourceExt,
    Schain, ImpId, ImpInstl, ImpSecure, ImpExp, ImpBidfloor, ImpBidfloorcur, ImpQty, ImpExt, Banner,
    BannerFormat, BannerSize, BannerBattr, Video, Audio, StreamMimes, StreamMinduration,
    StreamMaxduration, StreamMaxextended, StreamPod, StreamRqddurs, StreamBattr, Mincpmpersec, Durfloors,
    Native, NativeRequest, NativeBattr, Pmp, PmpPrivateAuction, PmpDeals, DealId, DealBidfloor,
    DealBidfloorcur, DealAt, DealWseat, DealWadomain, ByteOrderMark,
}

/// Every field with its label, in the order of their discriminants.
#[rustfmt::skip]
/// Labels in the order of [`LenientField::ALL`].
pub static LABELS: [&str; LenientField::ALL.len()] = [
    "id", "test", "at", "tmax", "cur", "wseat", "bseat", "acat", "bcat", "badv", "bapp", "cattax",
    "imp", "site", "app", "dooh", "inventory.id", "inventory.name", "inventory.domain",
    "inventory.page", "inventory.bundle", "inventory.storeurl", "inventory.cat", "publisher",
    "publisher.id", "device", "device.ua", "device.ip", "device.ipv6", "device.devicetype",
    "device.make", "device.model", "device.os", "device.osv", "device.language", "device.ifa",
    "device.lmt", "device.dnt", "device.connectiontype", "device.ext", "device.ext.atts", "geo", "geo.country",
    "geo.region", "geo.type", "device.sua", "device.sua.platform", "device.sua.browsers",
    "device.sua.mobile", "device.sua.model", "user", "user.id", "user.buyeruid", "user.consent",
    "user.eids", "user.ext", "regs", "regs.coppa", "regs.gpc", "regs.gdpr", "regs.us_privacy", "regs.gpp",
    "regs.gpp_sid", "regs.ext", "source", "source.ext", "source.schain", "imp.id", "imp.instl",
    "imp.secure", "imp.exp", "imp.bidfloor", "imp.bidfloorcur", "imp.qty", "imp.ext", "banner",
    "banner.format", "banner.size", "banner.battr", "video", "audio", "stream.mimes",
    "stream.minduration", "stream.maxduration", "stream.maxextended", "stream.pod", "stream.rqddurs",
    "stream.battr", "mincpmpersec", "durfloors", "native", "native.request", "native.battr", "pmp",
    "pmp.private_auction", "pmp.deals", "deal.id", "deal.bidfloor", "deal.bidfloorcur", "deal.at",
    "deal.wseat", "deal.wadomain", "byte_order_mark",
];

impl LenientField {
    /// All, in the order of their discriminants.
    #[rustfmt::skip]
    pub const ALL: [Self; 103] = [
        Self::Id, Self::Test, Self::At, Self::Tmax, Self::Cur, Self::Wseat, Self::Bseat, Self::Acat,
        Self::Bcat, Self::Badv, Self::Bapp, Self::Cattax, Self::Imp, Self::Site, Self::App,
        Self::Dooh, Self::InventoryId, Self::InventoryName, Self::InventoryDomain,
        Self::InventoryPage, Self::InventoryBundle, Self::InventoryStoreurl, Self::InventoryCat,
        Self::Publisher, Self::PublisherId, Self::Device, Self::DeviceUa, Self::DeviceIp,
        Self::DeviceIpv6, Self::DeviceType, Self::DeviceMake, Self::DeviceModel, Self::DeviceOs,
        Self::DeviceOsv, Self::DeviceLanguage, Self::DeviceIfa, Self::DeviceLmt, Self::DeviceDnt,
        Self::DeviceConnectiontype, Self::DeviceExt, Self::DeviceAtts, Self::Geo, Self::GeoCountry, Self::GeoRegion,
        Self::GeoType, Self::Sua, Self::SuaPlatform, Self::SuaBrowsers, Self::SuaMobile,
        Self::SuaModel, Self::User, Self::UserId, Self::UserBuyeruid, Self::UserConsent,
        Self::UserEids, Self::UserExt, Self::Regs, Self::RegsCoppa, Self::RegsGpc, Self::RegsGdpr,
        Self::RegsUsPrivacy, Self::RegsGpp, Self::RegsGppSid, Self::RegsExt, Self::Source,
        Self::SourceExt, Self::Schain, Self::ImpId, Self::ImpInstl, Self::ImpSecure, Self::ImpExp,
        Self::ImpBidfloor, Self::ImpBidfloorcur, Self::ImpQty, Self::ImpExt, Self::Banner, Self::BannerFormat,
        Self::BannerSize, Self::BannerBattr, Self::Video, Self::Audio, Self::StreamMimes,
        Self::StreamMinduration, Self::StreamMaxduration, Self::StreamMaxextended, Self::StreamPod,
        Self::StreamRqddurs, Self::StreamBattr, Self::Mincpmpersec, Self::Durfloors, Self::Native,
        Self::NativeRequest, Self::NativeBattr, Self::Pmp, Self::PmpPrivateAuction, Self::PmpDeals,
        Self::DealId, Self::DealBidfloor, Self::DealBidfloorcur, Self::DealAt, Self::DealWseat,
        Self::DealWadomain, Self::ByteOrderMark,
    ];

    /// Position in [`Self::ALL`], for tables by field.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Short stable name: metric label.
    pub fn label(self) -> &'static str {
        LABELS.get(self.index()).copied().unwrap_or_default()
    }
}

/// The fields of one request that were read leniently; each counts once a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniencies(u128);

impl Leniencies {
    /// Adds one.
    pub fn note(&mut self, field: LenientField) {
        self.0 |= 1_u128 << (field as u8 & 127);
    }

    /// Whether it is in.
    pub fn contains(self, field: LenientField) -> bool {
        self.0 & (1_u128 << (field as u8 & 127)) != 0
    }

    /// Whether there is none: the common case.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in.
    pub fn iter(self) -> impl Iterator<Item = LenientField> {
        LenientField::ALL.into_iter().filter(move |field| self.contains(*field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_own_bit_and_label() {
        assert!(LenientField::ALL.len() <= 128);
        let mut all = Leniencies::default();
        for (index, field) in LenientField::ALL.into_iter().enumerate() {
            assert_eq!(field.index(), index);
            assert_eq!(LABELS.iter().filter(|label| **label == field.label()).count(), 1);
            assert!(!all.contains(field));
            all.note(field);
            assert!(all.contains(field));
        }
        assert_eq!(all.iter().count(), LenientField::ALL.len());
    }
}
