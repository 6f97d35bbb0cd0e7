//! Whether a creative fits what the imp offers for its media.
//!
//! Owns: attributes, sizes, durations and expiry. Never: markup, a price.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::bid::{Bid, BidAnswer};
use crate::negatives::rejection::Rejection;
use crate::openrtb::ids::Media;
use crate::request::stream::Stream;
use crate::request::{Banner, Imp, Ratio, Size, ValidRequest};

/// Attributes, size, duration, expiry.
pub fn judge(
    request: &ValidRequest,
    imp: &Imp,
    media: Media,
    answer: &BidAnswer,
    bid: &Bid,
) -> Result<(), Rejection> {
    let stream = imp.stream(media);
    let battr = match (media, stream) {
        (_, Some(stream)) => stream.battr,
        (Media::Native, None) => imp.native.battr,
        (_, None) => imp.banner.battr,
    };
    let blocked = request.numbers(battr);
    if answer.numbers(bid.attr).iter().any(|attr| blocked.contains(attr)) {
        return Err(Rejection::AttributeBlocked);
    }
    if media == Media::Banner && (bid.unreadable.size || !fits_banner(request, imp, bid)) {
        return Err(Rejection::SizeMismatch);
    }
    if stream.is_some() && bid.unreadable.dur {
        return Err(Rejection::DurationMismatch);
    }
    if let (Some(stream), Some(dur)) = (stream, bid.dur.filter(|dur| *dur > 0)) {
        let exact = request.numbers(stream.rqddurs);
        let is_offered = if exact.is_empty() {
            stream.minduration.is_none_or(|min| min <= dur)
                && longest(stream).is_none_or(|max| dur <= max)
        } else {
            exact.iter().any(|seconds| i64::from(*seconds) == i64::from(dur))
                && longest(stream).is_none_or(|max| dur <= max)
        };
        if !is_offered {
            return Err(Rejection::DurationMismatch);
        }
    }
    match (bid.exp, imp.exp) {
        (Some(bid), Some(needed)) if bid < needed => Err(Rejection::ExpiryTooShort),
        (None, Some(_)) if bid.unreadable.exp => Err(Rejection::ExpiryTooShort),
        _ => Ok(()),
    }
}

/// The longest ad that may be shown, in seconds: `maxduration`, and as far beyond it as
/// `maxextended` allows (-1: any length; 3.2.7, 3.2.8); never longer than the pod that it is in
/// (`poddur`). `None`: any length.
pub fn longest(stream: &Stream) -> Option<u32> {
    let own = match stream.maxextended {
        -1 => None,
        more => stream.maxduration.map(|max| max.saturating_add_signed(more.max(0))),
    };
    let pod = stream.pod.map(|pod| pod.seconds).filter(|seconds| *seconds > 0);
    own.into_iter().chain(pod).min()
}

/// A banner's size: its own, else the only one that the imp offers. Other media have none.
pub fn size(request: &ValidRequest, imp: &Imp, media: Media, bid: &Bid) -> Option<Size> {
    if media != Media::Banner {
        return None;
    }
    let of = |dimension: Option<u32>| dimension.filter(|pixels| *pixels > 0);
    let own = of(bid.w).zip(of(bid.h)).map(|(w, h)| Size { w, h });
    own.or(match request.sizes(imp.banner.sizes) {
        [only] => Some(*only),
        _ => None,
    })
}

/// Whether the size is one of the banner's.
///
/// Anything fits an interstitial and a banner without sizes. Where the banner names a range (before
/// 2.6), each dimension that the bid has is in it. Otherwise it has one of the sizes, or one of the ratios. A dimension that the bid leaves out
/// (or gives as 0) counts as the offered one where only one offer fits the other dimension.
fn fits_banner(request: &ValidRequest, imp: &Imp, bid: &Bid) -> bool {
    let (sizes, ratios) = (request.sizes(imp.banner.sizes), request.ratios(imp.banner.ratios));
    let has_any = sizes.is_empty() && ratios.is_empty();
    let size = Size { w: bid.w.unwrap_or(0), h: bid.h.unwrap_or(0) };
    if imp.is_interstitial {
        return true;
    }
    if imp.banner.is_ranged {
        let Banner { least, most, .. } = imp.banner;
        let is_within = |own: u32, least: u32, most: u32| {
            own == 0 || (least <= own && (most == 0 || own <= most))
        };
        return sizes.contains(&size)
            || (is_within(size.w, least.w, most.w) && is_within(size.h, least.h, most.h));
    }
    if has_any {
        return true;
    }
    let shape = (bid.wratio.unwrap_or(0), bid.hratio.unwrap_or(0));
    let is_whole = size.w != 0 && size.h != 0;
    if is_whole || (shape.0 != 0 && shape.1 != 0) {
        return (is_whole && sizes.contains(&size))
            || ratios.iter().any(|ratio| fits_ratio(*ratio, size, shape));
    }
    let mut fitting = sizes
        .iter()
        .filter(|one| (size.w == 0 || size.w == one.w) && (size.h == 0 || size.h == one.h));
    let mut shapes = ratios.iter().filter(|one| size.w == 0 || size.w >= one.wmin);
    match (fitting.next(), shapes.next()) {
        (Some(first), None) => fitting.all(|other| other == first),
        (None, Some(first)) => shapes.all(|other| other == first),
        _ => false,
    }
}

/// Whether a bid has an offered ratio (3.2.10): its `wratio` and `hratio` where it has both, which are
/// equal to it, and its size where it has one, to the pixel. Its width, where it names one, is not
/// below the least that is offered.
fn fits_ratio(ratio: Ratio, size: Size, shape: (u32, u32)) -> bool {
    let product = |one: u32, other: u32| u64::from(one).saturating_mul(u64::from(other));
    let has_shape =
        shape.0 == 0 || shape.1 == 0 || product(shape.0, ratio.h) == product(shape.1, ratio.w);
    // less than one pixel off, in width or in height
    let off = product(size.w, ratio.h).abs_diff(product(size.h, ratio.w));
    let has_size = size.w == 0 || size.h == 0 || off < u64::from(ratio.w.max(ratio.h));
    has_shape && has_size && (size.w == 0 || size.w >= ratio.wmin)
}
