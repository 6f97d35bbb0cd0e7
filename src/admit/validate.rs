//! Rules over what was read.
//!
//! Owns: every rule of `exchange.md` that needs more than one field; rules of one field stand
//! where it is read. Never: bytes. Pure: the same view and partner, the same answer.

use crate::admit::decode::Root;
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::{Channel, Media};
use crate::partner::Partner;
use crate::request::stream::Stream;
use crate::request::{Imp, View};

/// The rules that cost a whole request.
pub fn request(view: &View, root: &Root<'_>, partner: &Partner) -> Result<(), Refusal> {
    if view.id.is_empty() {
        return Err(Refusal::IdMissing);
    }
    if root.imp.is_none() {
        return Err(Refusal::ImpMissing);
    }
    match root.channels {
        0 if !partner.allows_unknown_channel => return Err(Refusal::InventoryMissing),
        0 => {}
        1 => {
            let sent = Channel::ALL.iter().zip(partner.channels);
            if !sent.into_iter().any(|(channel, may)| *channel == view.channel && may) {
                return Err(Refusal::ChannelNotAllowed);
            }
        }
        _ => return Err(Refusal::InventoryConflict),
    }
    Ok(())
}

/// The rules that cost an imp. What the partner may not send is taken out of `imp.media`;
/// what it says of its inventory is put into `imp.is_secure`.
pub fn imp(view: &View, imp: &mut Imp, partner: &Partner) -> Result<(), Refusal> {
    if imp.id.is_empty() {
        return Err(Refusal::ImpIdMissing);
    }
    if imp.media.is_empty() {
        return Err(Refusal::ImpNoMedia);
    }
    let banner = &imp.banner;
    let has_size = !banner.sizes.is_empty() || !banner.ratios.is_empty();
    let has_size = has_size || banner.is_ranged || imp.is_interstitial;
    if imp.media.contains(Media::Banner) && !has_size {
        return Err(Refusal::BannerSize);
    }
    if imp.media.contains(Media::Video) {
        if imp.video.mimes.is_empty() {
            return Err(Refusal::VideoMimes);
        }
        if !is_coherent(view, &imp.video) {
            return Err(Refusal::VideoDuration);
        }
    }
    if imp.media.contains(Media::Audio) {
        if imp.audio.mimes.is_empty() {
            return Err(Refusal::AudioMimes);
        }
        if !is_coherent(view, &imp.audio) {
            return Err(Refusal::AudioDuration);
        }
    }
    if partner.is_secure && imp.is_secure.is_none() {
        imp.is_secure = Some(true);
    }
    imp.media = imp.media.and(partner.media);
    if imp.media.is_empty() { Err(Refusal::MediaNotAllowed) } else { Ok(()) }
}

/// `rqddurs` excludes `minduration` and `maxduration`, and names seconds; the shortest is not
/// longer than the longest (3.2.7, 3.2.8).
fn is_coherent(view: &View, stream: &Stream) -> bool {
    let exact = view.numbers.get(stream.rqddurs.range()).unwrap_or_default();
    if !exact.is_empty() {
        let has_range = stream.minduration.is_some() || stream.maxduration.is_some();
        return !has_range && exact.iter().all(|seconds| *seconds > 0);
    }
    match (stream.minduration, stream.maxduration) {
        (Some(least), Some(most)) => least <= most,
        _ => true,
    }
}
